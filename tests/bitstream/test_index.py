from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.index import Index, IndexEntry
from kinema.errors import BitstreamError, LimitError, TruncatedError

SEQUENCE = SequenceHeader(
    width=16,
    height=16,
    frame_rate=Fraction(25),
    time_base=Fraction(1, 25),
    model_number=1,
    weights_fingerprint=bytes(8),
)
entries = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1),
        st.integers(-(2**61), 2**61),
        st.integers(1, 2**40),
        st.booleans(),
    ),
    max_size=20,
)


def index_of(*rows):
    index = Index(1000)
    for row in rows:
        index.append(IndexEntry(*row))
    return index


@settings(max_examples=60)
@given(entries)
def test_index_comes_back(rows):
    offset, grown = 0, []
    for display_index, pts, distance, is_intra in rows:
        offset += distance
        grown.append(IndexEntry(display_index, pts, offset, is_intra))
    index = Index.from_bytes(index_of(*grown).to_bytes(SEQUENCE), SEQUENCE, 20)
    assert list(index) == grown


def test_a_steady_frame_costs_two_bytes():
    index = index_of(*((i, i, 100 + 4000 * i, True) for i in range(1000)))
    assert len(index.to_bytes(SEQUENCE)) == 2 * 1000


def test_seek_finds_the_last_intra_frame_at_or_before():
    index = index_of(
        (0, 10, 100, True), (1, 11, 200, False), (2, 12, 300, True), (3, 13, 400, False)
    )
    assert [index.seek(pts).offset for pts in (-5, 10, 11, 12, 99)] == [100, 100, 100, 300, 300]
    assert index_of((0, 0, 1, False)).seek(0) is None


def test_times_come_in_the_order_in_which_frames_are_shown():
    index = index_of((0, 10, 100, True), (2, 12, 200, True), (1, 11, 300, False))
    assert list(index.times) == [10, 11, 12]
    assert list(index.pts_from(11)) == [11, 12]
    assert [index.shown_at(pts) for pts in (9, 11, 40)] == [None, 11, 12]
    assert [index.seek(pts).offset for pts in (9, 11, 12)] == [100, 100, 200]
    assert (index.count_from(11, None), index.count_from(10, 11)) == (2, 2)


def test_frames_between_are_named_by_where_their_packets_start():
    index = index_of((4, 0, 100, True), (6, 0, 200, False), (5, 0, 300, False))
    assert index.frames_between(101, 301) == (6, 5)
    assert index.frames_between(100, 100) == ()


def test_index_refuses_too_many_entries():
    data = index_of((0, 0, 1, True), (1, 1, 2, True)).to_bytes(SEQUENCE)
    with pytest.raises(LimitError, match="number of frames is 2, the limit is 1"):
        Index.from_bytes(data, SEQUENCE, 1)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("0600", BitstreamError),  # the second packet where the first is
        ("8080", TruncatedError),
        ("0700", TruncatedError),  # irregular, without its pts
        ("070100", BitstreamError),  # display index -2
        ("0702" + "fe" + "ff" * 7 + "7f", BitstreamError),  # pts beyond its range
        ("fe" + "ff" * 7 + "7f", BitstreamError),  # offset beyond any file
    ],
)
def test_index_refuses_bytes_that_make_no_sense(data, error):
    sequence = replace(SEQUENCE, start_pts=5)
    with pytest.raises(error):
        Index.from_bytes(bytes.fromhex(data), sequence, 10)
