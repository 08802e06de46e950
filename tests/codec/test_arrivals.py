"""Which frames can still come: what is settled, what is missing, what may be shown."""

import numpy as np
import pytest

from kinema.bitstream.headers import FrameHeader
from kinema.codec.arrivals import Arrivals
from kinema.codec.interleaving import Interleaving
from kinema.codec.order import plan_all
from kinema.codec.reordering import Reordering
from kinema.codec.structure import STRUCTURES, SequencePlan
from kinema.video.frame import AudioPacket, Frame

RANDOM_ACCESS = STRUCTURES["random-access"]


def headers(count, period=8, structure=RANDOM_ACCESS):
    return [
        FrameHeader(
            frame_type=plan.frame_type,
            display_index=plan.display_index,
            pts=10 * plan.display_index,
            quality=0,
            references=plan.references,
        )
        for plan in plan_all(SequencePlan(structure, period), count)
    ]


def picture(pts):
    plane = np.zeros((2, 2), np.uint8)
    return Frame(plane, plane[:1, :1], plane[:1, :1], pts, 10)


def test_what_has_come_is_settled_as_soon_as_it_can_be():
    arrivals, floors = Arrivals(RANDOM_ACCESS), []
    for header in headers(12):
        assert arrivals.take(header) == []
        floors.append(arrivals.floor)
    # coded as 0 8 4 2 1 3 6 5 7 11 9 10
    assert floors == [1, 1, 1, 1, 3, 5, 5, 7, 9, 9, 10, 12]
    assert arrivals.last_pts == 110


@pytest.mark.parametrize("lost", range(1, 25))
def test_a_missing_frame_is_found(lost):
    arrivals, missing = Arrivals(RANDOM_ACCESS), []
    for header in headers(25):
        if header.display_index != lost:
            assert arrivals.fits(header)
            missing += arrivals.take(header)
    missing += arrivals.settle_to(25)
    assert missing == [range(lost, lost + 1)]


def test_what_comes_late_or_twice_does_not_fit():
    arrivals, coded = Arrivals(RANDOM_ACCESS), headers(20)
    for header in coded[:12]:
        arrivals.take(header)
    assert not any(arrivals.fits(header) for header in coded[:12])
    assert all(arrivals.fits(header) for header in coded[12:])
    floor = arrivals.floor
    assert arrivals.take(coded[3]) == []
    assert arrivals.floor == floor


def test_a_pass_may_begin_anywhere():
    arrivals, coded = Arrivals(RANDOM_ACCESS, None), headers(20)
    begin = next(place for place, header in enumerate(coded) if header.display_index == 8)
    assert arrivals.take(coded[begin]) == []
    assert arrivals.floor == 9
    leading = [h.display_index for h in coded[begin + 1 :] if not arrivals.fits(h)]
    assert leading == [4, 2, 1, 3, 6, 5, 7]


def test_frames_are_shown_in_order_and_few_wait():
    reordering, shown, most = Reordering(RANDOM_ACCESS), [], 0
    for number, header in enumerate(headers(70, 32), 1):
        shown += [frame.pts for frame in reordering.take(header, picture(header.pts))]
        most = max(most, number - len(shown))
    shown += [frame.pts for frame in reordering.rest()]
    assert shown == [10 * index for index in range(70)]
    assert most <= 6


def test_frames_that_cannot_be_shown_hold_nothing_up():
    reordering, shown = Reordering(RANDOM_ACCESS), []
    for header in headers(9):
        frame = None if header.display_index in (2, 5) else picture(header.pts)
        shown += [frame.pts for frame in reordering.take(header, frame)]
    assert shown == [0, 10, 30, 40, 60, 70, 80]
    assert list(reordering.rest()) == []


def test_audio_follows_the_frames_before_it():
    queue, written = Interleaving(RANDOM_ACCESS), []
    for index in range(9):
        queue.add(picture(10 * index))
        queue.add(AudioPacket(0, 10 * index + 5, 0, 10, True, b""))
    for header in headers(9):
        assert queue.take(header).pts == header.pts
        written.append(header.display_index)
        written += [f"a{packet.pts}" for packet in queue.audio()]
    expected = "0 a5 8 4 2 1 a15 a25 3 a35 a45 6 5 a55 a65 7 a75 a85"
    assert " ".join(map(str, written)) == expected
