"""Which frames and which sound a range holds, and times that begin at 0."""

from fractions import Fraction

import numpy as np
import pytest

from kinema.bitstream.headers import AudioTrackHeader, SequenceHeader
from kinema.bitstream.index import Index, IndexEntry
from kinema.bitstream.packets import AudioPacketData
from kinema.codec.excerpt import WHOLE, Shift, Span, count_frames, find_shown, find_span
from kinema.video.frame import AudioPacket, AudioTrack, Frame

TRACK = {"codec": "aac", "time_base": Fraction(1, 100), "sample_rate": 100, "layout": "mono"}
HEADER = SequenceHeader(
    width=2,
    height=2,
    frame_rate=Fraction(10),
    time_base=Fraction(1, 1000),
    model_number=1,
    weights_fingerprint=bytes(8),
    start_pts=500,
    audio_tracks=(AudioTrackHeader(**TRACK),),
)
PTS = (500, 600, 640, 900, 1000)  # a rate that varies


@pytest.fixture
def index():
    index = Index(100)
    for i, pts in enumerate(PTS):
        index.append(IndexEntry(i, pts, 100 + i, is_intra=True))
    return index


@pytest.mark.parametrize(
    ("start_s", "num_frames", "span"),
    [
        (0, None, Span(500)),
        (0, 1, Span(500, 500, 600)),
        (0.1, 2, Span(600, 640, 900)),
        (0.1004, 1, Span(600, 600, 640)),  # a time in decimals finds the frame that it means
        (0.11, 2, Span(640, 900, 1000)),
        (0.4, 2, Span(900, 1000, 1100)),
        (0.4, 3, Span(900)),
        (0.5, None, Span(1000)),
        (0.6, None, None),
        (1e30, 5, None),
    ],
)
def test_a_range_begins_at_the_first_frame_not_before_its_start(index, start_s, num_frames, span):
    assert find_span(index, HEADER, start_s, num_frames) == span
    if span is not None:
        assert count_frames(index, span) == sum(span.has_frame(pts) for pts in PTS)


@pytest.mark.parametrize(
    ("time_s", "pts"), [(0, 500), (0.099, 500), (0.1, 600), (0.3, 640), (9, 1000)]
)
def test_the_frame_that_is_shown_began_before(index, time_s, pts):
    assert find_shown(index, HEADER, time_s) == Span(pts)


def test_an_empty_file_has_no_ranges():
    assert find_span(Index(1), HEADER, 0, 3) is None
    assert find_shown(Index(1), HEADER, 1) is None
    assert count_frames(Index(1), WHOLE) == 0


@pytest.mark.parametrize(
    ("pts", "duration", "is_in"),
    [(58, 2, False), (59, 2, True), (60, 2, True), (89, 9, True), (90, 2, False)],
)
def test_sound_belongs_to_the_frames_that_it_is_heard_with(pts, duration, is_in):
    packet = AudioPacketData(0, pts, pts, duration, is_keyframe=True, data=b"")
    assert Span(600, 640, 900).has_audio(packet, HEADER) is is_in
    assert WHOLE.has_audio(packet, HEADER)


def test_reading_goes_on_for_a_second_of_sound():
    span = Span(600, 640, 900)
    assert [span.is_past(pts) for pts in (600, 640, 900)] == [False, True, True]
    assert not span.is_far_past(1900, HEADER)
    assert span.is_far_past(1901, HEADER)
    assert not WHOLE.is_far_past(10**9, HEADER)


def test_pictures_and_sound_move_together():
    shift = Shift(640, HEADER.time_base, (AudioTrack(**TRACK),))
    plane = np.zeros((1, 1), np.uint8)
    moved = list(
        shift.items(
            iter([Frame(plane, plane, plane, 640, 260), AudioPacket(0, 60, 59, 9, True, b"x")])
        )
    )
    assert (moved[0].pts, moved[0].duration) == (0, 260)
    assert (moved[1].pts, moved[1].dts, moved[1].duration) == (-4, -5, 9)
