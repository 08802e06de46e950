"""Every item comes out, in order, in batches of a bounded size."""

import pytest

from kinema.codec.batches import MAX_LENGTH, MAX_WAITING, batch_length, in_batches


def test_batches_hold_four_small_pictures_and_one_large():
    assert batch_length(416, 240) == 4
    assert batch_length(1920, 1080) == 1
    assert batch_length(16384, 1024) == 1
    assert batch_length(16, 16) == MAX_LENGTH


@pytest.mark.parametrize("length", [1, 3])
def test_what_lies_between_frames_keeps_its_place(length):
    items = ["a", 0, "b", "c", 1, 2, 3, "d", 4, "e"]
    batches = list(in_batches(items, int, length))
    assert [item for batch in batches for item in batch] == items
    assert all(sum(isinstance(item, int) for item in batch) <= length for batch in batches)
    assert batches[0] == ["a"]


def test_no_batch_waits_for_ever():
    batches = in_batches([0, *"a" * 1000], int, 4)
    assert len(next(batches)) == MAX_WAITING
    assert [len(batch) for batch in batches] == [1] * (1001 - MAX_WAITING)
    assert list(in_batches([], int, 4)) == []
