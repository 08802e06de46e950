"""Missing frames get their names from the index, or else from the frames around them."""

import pytest

from kinema.bitstream.headers import FrameHeader, FrameType
from kinema.bitstream.packets import DamagedPacket, FramePacket
from kinema.codec.losses import LossLog
from kinema.codec.structure import STRUCTURES
from kinema.errors import BitstreamError, MissingReferenceError


def frame(index, pts=None):
    pts = index if pts is None else pts
    header = FrameHeader(frame_type=FrameType.I, display_index=index, pts=pts, quality=0)
    return FramePacket(header, b"", 100 * index)


def between(index, past, future, pts=None):
    header = FrameHeader(
        frame_type=FrameType.B,
        display_index=index,
        pts=index if pts is None else pts,
        quality=0,
        references=(past - index, future - index),
    )
    return FramePacket(header, b"", 100 * index)


def damage(what, lost_frames=None):
    return DamagedPacket(0, 1, BitstreamError(what), lost_frames)


@pytest.fixture
def log():
    log = LossLog()
    log.begin(0)
    return log


def test_nothing_is_lost_of_a_sound_file(log):
    assert all(log.is_in_order(frame(i)) for i in range(5))
    log.end()
    assert log.lines == []


def test_the_index_names_what_was_lost(log):
    log.is_in_order(frame(0))
    log.damage(damage("torn", (1, 2)))
    log.damage(damage("silent", ()))
    log.damage(damage("mixed", (3, 5)))
    log.is_in_order(frame(6))
    assert log.lines == [
        "frames 1 to 2 lost: torn", "no frame lost: silent", "2 frames from 3 to 5 lost: mixed"
    ]  # fmt: skip


def test_without_an_index_the_next_frame_tells(log):
    log.is_in_order(frame(0))
    log.damage(damage("torn"))
    log.damage(damage("burnt"))
    log.is_in_order(frame(2))
    log.damage(damage("audio"))
    log.is_in_order(frame(3))
    log.damage(damage("end"))
    log.end()
    assert log.lines == [
        "frame 1 lost: torn; burnt", "no frame lost: audio", "unknown frames lost: end"
    ]  # fmt: skip


def test_what_is_gone_without_a_trace_is_noticed(log):
    assert log.is_in_order(frame(2))
    assert log.lines == [
        "frames 0 to 1 lost: packet at byte 200: what should come before it is gone"
    ]


def test_what_is_out_of_order_is_left_out(log):
    assert log.is_in_order(frame(0))
    assert not log.is_in_order(frame(0))
    assert log.is_in_order(frame(1, pts=9))
    assert not log.is_in_order(frame(2, pts=9))
    assert log.is_in_order(frame(3, pts=10))
    assert [line.partition(":")[0] for line in log.lines] == [
        "frame 0 left out", "frame 2 left out"
    ]  # fmt: skip


def test_a_pass_in_the_middle_begins_anywhere_and_repeats_no_line(log):
    for _ in range(2):
        log.begin(None)
        assert log.is_in_order(frame(7))
        log.cannot_decode(frame(7), BitstreamError("nonsense"))
        log.end()
    assert log.lines == ["frame 7 lost: packet at byte 700: nonsense"]


def lose(log, index, missing):
    log.cannot_decode(frame(index), MissingReferenceError(index, missing))


def test_frames_that_fall_with_another_one_share_a_line(log):
    log.is_in_order(frame(0))
    log.damage(damage("torn", (1,)))
    for index in (2, 3, 4):
        assert log.is_in_order(frame(index))
        lose(log, index, index - 1)
    assert log.lines == [
        "frame 1 lost: torn",
        "frames 2 to 4 lost: they refer to frame 1, which is lost",
    ]


def test_every_loss_begins_a_chain_of_its_own(log):
    log.damage(damage("torn", (0,)))
    lose(log, 1, 0)
    log.cannot_decode(frame(2), BitstreamError("nonsense"))
    lose(log, 3, 2)
    lose(log, 4, 3)
    assert log.lines == [
        "frame 0 lost: torn",
        "frame 1 lost: it refers to frame 0, which is lost",
        "frame 2 lost: packet at byte 200: nonsense",
        "frames 3 to 4 lost: they refer to frame 2, which is lost",
    ]


def test_chains_need_not_be_without_gaps(log):
    """As where frames are not coded in display order."""
    lose(log, 8, 16)
    lose(log, 4, 8)
    lose(log, 6, 8)
    assert log.lines == ["3 frames from 4 to 8 lost: they refer to frame 16, which is lost"]


def test_a_chain_keeps_its_line_in_later_passes(log):
    lose(log, 5, 4)
    lose(log, 6, 5)
    log.begin(None)
    lose(log, 6, 5)
    lose(log, 5, 4)
    lose(log, 4, 3)
    lose(log, 5, 4)
    assert log.lines == [
        "frames 5 to 6 lost: they refer to frame 4, which is lost",
        "frame 4 lost: it refers to frame 3, which is lost",
    ]


@pytest.fixture
def reordered():
    log = LossLog(STRUCTURES["random-access"])
    log.begin(0)
    return log


def test_b_frames_may_come_before_earlier_ones(reordered):
    packets = [frame(0), frame(4), between(2, 0, 4), between(1, 0, 2), between(3, 2, 4), frame(8)]
    assert all(reordered.is_in_order(packet) for packet in packets)
    assert reordered.lines == []


def test_a_missing_b_frame_has_a_name_once_it_cannot_come(reordered):
    for packet in (frame(0), frame(4), between(2, 0, 4)):
        reordered.is_in_order(packet)
    reordered.damage(damage("torn"))
    assert reordered.is_in_order(between(3, 2, 4))
    assert reordered.lines == ["frame 1 lost: torn"]


def test_damage_without_frames_is_told_when_that_is_certain(reordered):
    reordered.is_in_order(frame(0))
    reordered.damage(damage("audio"))
    for index in range(8, 64, 8):
        reordered.is_in_order(frame(index))
    assert "no frame lost: audio" not in reordered.lines  # frames 1 to 7 have not come
    assert reordered.lines[0] == "frames 1 to 7 lost: audio"


def test_the_end_of_a_file_tells_what_did_not_come(reordered):
    reordered.is_in_order(frame(0))
    reordered.is_in_order(frame(4))
    reordered.is_in_order(between(2, 0, 4))
    reordered.end()
    assert reordered.lines == ["frame 1 lost: not in the file", "frame 3 lost: not in the file"]


def test_frames_before_the_start_are_no_part_of_a_pass(reordered):
    reordered.begin(None)
    assert reordered.is_in_order(frame(8))
    assert not reordered.is_in_order(between(6, 4, 8))
    reordered.damage(damage("torn", (5, 7)))
    assert reordered.lines == []


def test_times_must_lie_between_those_of_the_neighbours(reordered):
    assert reordered.is_in_order(frame(0))
    assert reordered.is_in_order(frame(4))
    assert not reordered.is_in_order(between(2, 0, 4, pts=4))
    assert not reordered.is_in_order(between(1, 0, 2, pts=0))
    assert [line.partition(": ")[2].partition(": ")[2] for line in reordered.lines] == [
        "time 4 is not before 4", "time 0 is not after 0"
    ]  # fmt: skip
