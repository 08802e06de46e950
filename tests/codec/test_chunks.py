"""Where chunks begin: at intra frames, and never inside a batch."""

import itertools

import pytest

from kinema.codec.batches import in_batches
from kinema.codec.chunks import (
    check_divisible,
    chunk_length,
    frames_named,
    in_chunks,
)
from kinema.codec.structure import make_plan
from kinema.errors import ConfigError


def chunks_of(items, length, batch, is_intra=lambda index, _: True):
    """Items of each chunk; frames are numbers, audio packets are strings."""
    chunks, firsts = [], []
    for piece in in_chunks(in_batches(items, int, batch), int, is_intra, length):
        if piece.is_first:
            chunks.append([])
            firsts.append(piece.first_frame)
        assert piece.chunk == len(chunks) - 1
        assert piece.first_frame == firsts[-1]
        chunks[-1] += piece.items
    return chunks, firsts


@pytest.mark.parametrize(("length", "batch"), [(1, 1), (4, 1), (4, 3), (5, 4), (32, 4)])
def test_all_intra_chunks_are_whole_batches(length, batch):
    chunks, firsts = chunks_of(list(range(23)), length, batch)
    assert [frame for chunk in chunks for frame in chunk] == list(range(23))
    assert all(first % batch == 0 for first in firsts)
    assert all(length <= len(chunk) < length + batch for chunk in chunks[:-1])


@pytest.mark.parametrize(("period", "refresh"), [(4, 0), (7, 3), (-1, 5), (1, 0)])
def test_low_delay_chunks_begin_with_intra_frames(period, refresh):
    plan = make_plan(("low-delay",), None, period, refresh)

    def is_intra(index, _):
        return not plan.frame(index).references

    chunks, firsts = chunks_of(list(range(40)), 5, 1, is_intra)
    assert len(chunks) > 2
    assert all(is_intra(first, None) for first in firsts)
    for first, end in itertools.pairwise(firsts):
        assert not any(is_intra(index, None) for index in range(first + 5, end))


def test_audio_stays_where_it_is():
    items = ["a", 0, "b", "c", 1, 2, "d", 3, "e", 4, "f", "g"]
    chunks, _ = chunks_of(items, 2, 1)
    assert [item for chunk in chunks for item in chunk] == items
    assert [chunk[0] for chunk in chunks[1:]] == [2, 4]
    assert chunks[0][0] == "a"


def test_chunks_of_large_pictures_are_short():
    assert chunk_length(416, 240) == 32
    assert chunk_length(1920, 1080) == 16
    assert chunk_length(7680, 4320) == 1


def test_one_intra_frame_cannot_be_divided():
    check_divisible(-1, 8)
    check_divisible(32, 0)
    with pytest.raises(ConfigError, match="only one"):
        check_divisible(-1, 0)


def test_frames_have_names():
    assert (frames_named(3, 1), frames_named(3, 2)) == ("frame 3", "frames 3 to 4")
