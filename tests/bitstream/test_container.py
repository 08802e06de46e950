import errno
import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.framing import seal_packet
from kinema.bitstream.headers import AudioTrackHeader, FrameHeader, FrameType, SequenceHeader
from kinema.bitstream.limits import DEFAULT_LIMITS, Limits
from kinema.bitstream.packets import AudioPacketData, DamagedPacket, FramePacket
from kinema.errors import (
    BitstreamError,
    ChecksumError,
    FileError,
    LimitError,
    TruncatedError,
    UnsupportedVersionError,
)

TRACK = AudioTrackHeader(codec="opus", layout="mono", time_base=Fraction(1, 1000), sample_rate=8000)
SEQUENCE = SequenceHeader(
    width=64,
    height=48,
    frame_rate=Fraction(25),
    time_base=Fraction(1, 25),
    model_number=1,
    weights_fingerprint=bytes(8),
    audio_tracks=(TRACK,),
)
NUM_FRAMES = 9


def frame_header(i):
    return FrameHeader(
        frame_type=FrameType.P if i % 3 else FrameType.I,
        display_index=i,
        pts=i,
        quality=0,
        references=(-1,) if i % 3 else (),
        picture_hash=i,
    )


def payload(i):
    return bytes([i]) * (50 + i)


def write_sample(path, **options):
    with ContainerWriter(path, SEQUENCE, **options) as writer:
        for i in range(NUM_FRAMES):
            writer.write_frame(frame_header(i), payload(i))
            writer.write_audio(AudioPacketData(0, 40 * i, 40 * i, 40, True, b"sound"))


@pytest.fixture
def path(tmp_path):
    write_sample(tmp_path / "sample.kin")
    return tmp_path / "sample.kin"


@pytest.fixture
def data(path):
    return path.read_bytes()


def reader_of(data, **options):
    return ContainerReader(io.BytesIO(data), **options)


def contents(reader, start_offset=None):
    """Frames by display index and damage reports, in order; audio is left out."""
    packets = list(reader.packets(start_offset))
    frames = [p.header.display_index for p in packets if isinstance(p, FramePacket)]
    return frames, [p for p in packets if isinstance(p, DamagedPacket)]


def offsets(data):
    return [entry.offset for entry in reader_of(data).index]


def flip(data, offset):
    return data[:offset] + bytes([data[offset] ^ 0x10]) + data[offset + 1 :]


def test_everything_comes_back_in_order(path):
    with ContainerReader(path) as reader:
        assert reader.header == SEQUENCE
        assert reader.size_bytes == path.stat().st_size
        packets = list(reader.packets())
        assert len(packets) == 2 * NUM_FRAMES
        for i in range(NUM_FRAMES):
            assert packets[2 * i].header == frame_header(i)
            assert packets[2 * i].payload == payload(i)
            assert packets[2 * i + 1].data == b"sound"


def test_index_and_seek(path):
    with ContainerReader(str(path)) as reader:
        assert reader.stored_index is not None
        assert [e.display_index for e in reader.index] == list(range(NUM_FRAMES))
        assert [e.is_intra for e in reader.index] == [True, False, False] * 3
        start = reader.seek_offset(5)
        assert contents(reader, start) == ([3, 4, 5, 6, 7, 8], [])
        assert reader.seek_offset(-1) == reader.first_packet_offset


def test_a_file_without_frames_is_a_file(tmp_path):
    with ContainerWriter(tmp_path / "empty.kin", SEQUENCE):
        pass
    with ContainerReader(tmp_path / "empty.kin") as reader:
        assert contents(reader) == ([], [])
        assert reader.seek_offset(0) == reader.first_packet_offset


def test_index_is_rebuilt_when_the_end_is_missing_or_damaged(data):
    expected = list(reader_of(data).index)
    for broken in (data[:-1], data[:-15], flip(data, len(data) - 5), flip(data, len(data) - 20)):
        reader = reader_of(broken)
        assert reader.stored_index is None
        assert list(reader.index) == expected


def test_damage_costs_one_frame_and_names_it(data):
    for i, offset in enumerate(offsets(data)):
        for where in (0, 1, 2, 3, 7, 30, 59):  # sync, type, size, header, payload, CRC
            frames, damage = contents(reader_of(flip(data, offset + where)))
            assert frames == [n for n in range(NUM_FRAMES) if n != i]
            assert [report.lost_frames for report in damage] == [(i,)]
            assert damage[0].offset == offset
            assert damage[0].length_bytes == 50 + i + 12
            assert str(damage[0].error).startswith(f"packet at byte {offset}: ")


def test_without_an_index_nobody_knows_which_frame_was_lost(data):
    frames, damage = contents(reader_of(flip(data, offsets(data)[4] + 20)[:-1]))
    assert frames == [0, 1, 2, 3, 5, 6, 7, 8]
    assert damage[0].lost_frames is None


def test_neighbouring_damage_is_one_report(data):
    third, fourth = offsets(data)[3:5]
    frames, damage = contents(
        reader_of(data[:third] + bytes(fourth + 9 - third) + data[fourth + 9 :])
    )
    assert frames == [0, 1, 2, 5, 6, 7, 8]
    assert [report.lost_frames for report in damage] == [(3, 4)]


def test_inserted_and_removed_bytes_cost_only_what_they_touch(data):
    offset = offsets(data)[4]
    for broken in (
        data[:offset] + b"inserted" + data[offset:],
        data[: offset - 1] + data[offset:],  # the last byte of an audio packet
    ):
        frames, damage = contents(reader_of(broken))
        assert frames == list(range(NUM_FRAMES))
        assert len(damage) == 1


def test_truncation_keeps_every_complete_packet(data):
    starts = offsets(data)
    for length in range(reader_of(data).first_packet_offset, len(data)):
        frames, damage = contents(reader_of(data[:length]))
        complete = [i for i, start in enumerate(starts) if start + 62 + i <= length]
        assert frames == complete
        assert [type(report.error) for report in damage] == [TruncatedError]
        assert damage[0].offset + damage[0].length_bytes == length


def test_truncation_inside_the_opening_is_an_error(data):
    for length in range(reader_of(data).first_packet_offset):
        with pytest.raises(TruncatedError):
            reader_of(data[:length])


def test_damage_inside_the_opening_is_an_error(data):
    for offset in range(reader_of(data).first_packet_offset):
        with pytest.raises(BitstreamError) as raised:
            reader_of(flip(data, offset))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("offset", "value", "error", "message"),
    [
        (0, b"RIFF", BitstreamError, "starts with 52 49 46 46"),
        (8, b"\2", UnsupportedVersionError, "format version 2 at byte 8"),
        (9, b"\xff\xff\xff\xff", LimitError, "is 4294967295, the limit is 1048576"),
        (9, b"\xff\xff\0\0", TruncatedError, "the file ends"),
        (20, b"\xee", ChecksumError, "sequence header: CRC-32"),
    ],
)
def test_each_kind_of_bad_opening_has_its_error(data, offset, value, error, message):
    with pytest.raises(error, match=message) as raised:
        reader_of(data[:offset] + value + data[offset + len(value) :])
    assert type(raised.value) is error


def test_unknown_optional_packets_are_skipped(data):
    offset = offsets(data)[4]
    optional = seal_packet(15, b"anything", DEFAULT_LIMITS)
    assert contents(reader_of(data[:offset] + optional + data[offset:])) == (list(range(9)), [])


def test_bytes_after_the_end_are_ignored(data):
    assert contents(reader_of(data + bytes(1000))) == (list(range(9)), [])


def test_a_lower_limit_turns_packets_into_reports(data):
    frames, damage = contents(reader_of(data, limits=Limits(max_packet_bytes=60)))
    assert frames == [0, 1, 2, 3, 4, 5]
    assert {type(report.error) for report in damage} == {LimitError}
    with pytest.raises(LimitError):
        reader_of(data, limits=Limits(max_width=63))
    with pytest.raises(LimitError):
        reader_of(data, limits=Limits(max_index_entries=8)).seek_offset(0)


@pytest.mark.parametrize("start_offset", [0, 10**9, -1])
def test_reading_starts_inside_the_packets(data, start_offset):
    with pytest.raises(BitstreamError, match="start_offset"):
        list(reader_of(data).packets(start_offset))


def test_reading_needs_a_file_that_exists_and_seeks(tmp_path):
    with pytest.raises(FileError, match="cannot open"):
        ContainerReader(tmp_path / "nothing.kin")
    with pytest.raises(FileError, match="cannot open"):
        ContainerReader(tmp_path)
    pipe = io.BufferedReader(Pipe())
    with pytest.raises(FileError, match="seekable"):
        ContainerReader(pipe)


class Pipe(io.RawIOBase):
    def readable(self):
        return True


def test_an_existing_target_stays_unless_overwriting_is_asked_for(path):
    before = path.read_bytes()
    with pytest.raises(FileError, match="exists"):
        ContainerWriter(path, SEQUENCE)
    with ContainerWriter(path, SEQUENCE, overwrite=True):
        assert path.read_bytes() == before
    assert path.read_bytes() != before


def test_a_target_that_appears_meanwhile_stays(tmp_path):
    path = tmp_path / "late.kin"
    with pytest.raises(FileError, match="exists"), ContainerWriter(path, SEQUENCE):
        path.write_bytes(b"somebody else's")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"somebody else's"]


def write_then_raise(path, error):
    with ContainerWriter(path, SEQUENCE) as writer:
        writer.write_frame(frame_header(0), b"")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_behind(tmp_path, error):
    with pytest.raises(error):
        write_then_raise(tmp_path / "new.kin", error)
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        ContainerWriter(tmp_path, SEQUENCE)
    with pytest.raises(FileError, match="cannot create"):
        ContainerWriter(tmp_path / "missing" / "new.kin", SEQUENCE)


def test_writer_keeps_to_its_limits(tmp_path):
    path = tmp_path / "new.kin"
    for limits in (Limits(max_width=32), Limits(max_text_bytes=3), Limits(max_header_bytes=50)):
        with pytest.raises(LimitError):
            ContainerWriter(path, SEQUENCE, limits=limits)
    many = replace(frame_header(4), references=(-1, -2))
    for limits, header in (
        (Limits(max_references=1), many),
        (Limits(max_packet_bytes=20), frame_header(0)),
    ):
        with (
            pytest.raises(LimitError),
            ContainerWriter(path, SEQUENCE, limits=limits) as writer,
        ):
            writer.write_frame(header, payload(0))
    with pytest.raises(LimitError):
        write_sample(path, limits=Limits(max_index_entries=8))
    assert list(tmp_path.iterdir()) == []


class FullDisk(io.BytesIO):
    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_a_file_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "open", lambda path, mode: path.touch() or FullDisk())
    with pytest.raises(FileError, match=r"cannot write .*: No space left"):
        write_sample(tmp_path / "new.kin")
    assert list(tmp_path.iterdir()) == []
