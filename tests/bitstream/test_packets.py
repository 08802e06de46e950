import io
import runpy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.bitstream.framing import Source, read_packet, seal_packet
from kinema.bitstream.headers import AudioTrackHeader, FrameHeader, FrameType, SequenceHeader
from kinema.bitstream.limits import DEFAULT_LIMITS, Limits
from kinema.bitstream.packets import AudioPacketData, pack_audio, pack_frame, read_content
from kinema.errors import BitstreamError, ChecksumError, LimitError, TruncatedError

STRATEGIES = runpy.run_path(str(Path(__file__).with_name("strategies.py")))
TRACK = AudioTrackHeader(codec="opus", layout="mono", time_base=Fraction(1, 1000), sample_rate=8000)
SEQUENCE = SequenceHeader(
    width=64,
    height=48,
    frame_rate=Fraction(25),
    time_base=Fraction(1, 12800),
    start_pts=1024,
    usual_duration=512,
    usual_quality=24 * 256,
    model_number=1,
    weights_fingerprint=bytes(8),
    audio_tracks=(TRACK, TRACK),
)
AUDIO = AudioPacketData(0, 5, 5, 20, is_keyframe=True, data=b"la")


def sealed_frame(header, payload=b"", limits=DEFAULT_LIMITS):
    type_code, fields = pack_frame(header, SEQUENCE)
    return seal_packet(type_code, fields + payload, limits)


def parsed(data, limits=DEFAULT_LIMITS):
    return read_content(read_packet(Source(io.BytesIO(data)), 0, limits), SEQUENCE, limits)


def usual_frame(frame_type, display_index):
    references = {FrameType.I: (), FrameType.P: (-1,), FrameType.B: (-1, 1)}[frame_type]
    return FrameHeader(
        frame_type=frame_type,
        display_index=display_index,
        pts=SEQUENCE.usual_pts(display_index),
        duration=512,
        quality=24 * 256,
        references=references,
        picture_hash=1,
    )


@settings(max_examples=100)
@given(STRATEGIES["frame_headers"](), st.binary(max_size=300))
def test_frame_comes_back(header, payload):
    packet = parsed(sealed_frame(header, payload))
    assert (packet.header, packet.payload, packet.offset) == (header, payload, 0)


@settings(max_examples=50)
@given(STRATEGIES["audio_packets"])
def test_audio_comes_back(packet):
    assert parsed(seal_packet(12, pack_audio(packet, SEQUENCE), DEFAULT_LIMITS)) == packet


@pytest.mark.parametrize("frame_type", FrameType)
@pytest.mark.parametrize(
    ("display_index", "size", "overhead"),
    [(9, 100, 12), (9, 1000, 13), (999, 1000, 14), (999, 100_000, 15), (99_999, 100_000, 16)],
)
def test_a_usual_frame_costs_at_most_16_bytes(frame_type, display_index, size, overhead):
    header = usual_frame(frame_type, display_index)
    assert len(sealed_frame(header, bytes(size))) - size == overhead
    with_own_quality = sealed_frame(replace(header, quality=7), bytes(size))
    assert len(with_own_quality) - size == overhead + 2


@pytest.mark.parametrize("field", ["pts", "duration", "quality", "flags", "picture_hash"])
def test_an_unusual_field_is_spelled_out(field):
    header = replace(usual_frame(FrameType.P, 9), **{field: 77})
    assert parsed(sealed_frame(header)).header == header


def test_a_frame_may_lack_its_hash():
    header = replace(usual_frame(FrameType.I, 9), picture_hash=None)
    assert parsed(sealed_frame(header)).header.picture_hash is None


def test_every_byte_of_a_packet_is_protected():
    data = sealed_frame(usual_frame(FrameType.I, 3), b"payload")
    for i in range(len(data)):
        for bit in range(8):
            damaged = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            with pytest.raises(BitstreamError):
                parsed(damaged)
        with pytest.raises(TruncatedError):
            parsed(data[:i])


def test_a_wrong_checksum_is_named():
    data = sealed_frame(usual_frame(FrameType.I, 3), b"payload")
    with pytest.raises(ChecksumError, match="CRC-32 is"):
        parsed(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("type_code", "body"),
    [
        (0, ""),  # no display index
        (0, "8100"),  # varint longer than needed
        (0, "05000000"),  # hash cut off
        (1, "10050201020304"),  # an intra frame with a reference
        (2, "05ffff01020304"),  # quality 65535
        (4, "0001020304"),  # P at display index 0 refers to the one before
        (1, "0105" + "fe" + "ff" * 7 + "7f" + "01020304"),  # pts beyond its range
        (12, "0400000061"),  # no such track
        (12, "00" + "ff" * 8 + "7f" + "fe" + "ff" * 7 + "7f" + "0061"),  # dts beyond its range
        (12, "0000"),
    ],
)
def test_a_sound_packet_with_a_bad_body_is_refused(type_code, body):
    with pytest.raises(BitstreamError):
        parsed(seal_packet(type_code, bytes.fromhex(body), DEFAULT_LIMITS))


def test_limits_hold_for_reading_and_writing():
    header = replace(usual_frame(FrameType.P, 9), references=(-1, -2, -3))
    data = sealed_frame(header, bytes(100))
    with pytest.raises(LimitError, match="references"):
        parsed(data, Limits(max_references=2))
    with pytest.raises(LimitError, match="size of the packet"):
        parsed(data, Limits(max_packet_bytes=100))
    with pytest.raises(LimitError, match="size of the packet"):
        sealed_frame(header, bytes(100), Limits(max_packet_bytes=100))


def test_a_huge_size_is_refused_before_anything_is_allocated():
    with pytest.raises(LimitError):
        parsed(bytes.fromhex("d5a0" + "ff" * 8 + "7f"))
    with pytest.raises(TruncatedError):
        parsed(bytes.fromhex("d5a0") + b"\xff\xff\xff\x1f")  # 64 MiB - 1, the file has none of them


def test_audio_needs_a_track():
    with pytest.raises(BitstreamError, match="audio track is 2"):
        pack_audio(replace(AUDIO, track=2), SEQUENCE)


@pytest.mark.parametrize(("name", "value"), [("pts", 2**62), ("dts", -(2**63)), ("duration", -1)])
def test_audio_refuses_a_field_outside_its_range(name, value):
    with pytest.raises(BitstreamError, match="expected"):
        replace(AUDIO, **{name: value})
