"""What packets hold: frames, audio, and the report on bytes that are neither."""

from dataclasses import dataclass
from typing import TypeAlias

from kinema.bitstream.bits import SIGNED_MAX, VARINT_MAX, ByteReader, ByteWriter
from kinema.bitstream.framing import PacketType, RawPacket
from kinema.bitstream.headers import USUAL_REFERENCES, FrameHeader, FrameType, SequenceHeader
from kinema.bitstream.limits import Limits, check_limit, check_range
from kinema.errors import BitstreamError

# Type code of a frame: 4 * FrameType + these.
OWN_QUALITY = 2  # the quality is spelled out
OWN_FIELDS = 1  # a byte follows that tells which fields are spelled out:
OWN_PTS, OWN_DURATION, OWN_FLAGS, NO_HASH = 1, 2, 4, 8  # and 16 * number of references


@dataclass(frozen=True, slots=True)
class FramePacket:
    """One coded picture."""

    header: FrameHeader
    payload: bytes
    offset: int  # of the packet in the file


@dataclass(frozen=True, slots=True)
class AudioPacketData:
    """Coded audio as it stood in its file; times are in units of its track's time_base.

    Raises:
        BitstreamError: a field is outside its range.
    """

    track: int  # index into SequenceHeader.audio_tracks
    pts: int  # -2**62..2**62 - 1
    dts: int  # the same, and as close to pts
    duration: int  # 0..2**63 - 1; 0 unknown
    is_keyframe: bool
    data: bytes

    def __post_init__(self) -> None:
        check_range("pts", self.pts, -SIGNED_MAX - 1, SIGNED_MAX)
        check_range("dts", self.dts, -SIGNED_MAX - 1, SIGNED_MAX)
        check_range("duration", self.duration, 0, VARINT_MAX)


@dataclass(frozen=True, slots=True)
class DamagedPacket:
    """A stretch of the file that holds no readable packet."""

    offset: int
    length_bytes: int  # 0 where the file ends too early, between two packets
    error: BitstreamError  # what is wrong at `offset`
    lost_frames: tuple[int, ...] | None  # display indices, in file order; None: the index is gone


Packet: TypeAlias = FramePacket | AudioPacketData


def pack_frame(header: FrameHeader, sequence: SequenceHeader) -> tuple[int, bytes]:
    """Give the type code and the bytes of a frame header; what is usual is left out."""
    own = _own_fields(header, sequence)
    has_own_quality = header.quality != sequence.usual_quality
    type_code = 4 * header.frame_type + OWN_QUALITY * has_own_quality + OWN_FIELDS * (own != 0)
    writer = ByteWriter()
    if own:
        writer.write_uint(own, 1)
    writer.write_varint(header.display_index)
    if has_own_quality:
        writer.write_uint(header.quality, 2)
    if own & OWN_PTS:
        writer.write_signed(header.pts - sequence.usual_pts(header.display_index))
    if own & OWN_DURATION:
        writer.write_varint(header.duration)
    if own & OWN_FLAGS:
        writer.write_uint(header.flags, 1)
    for distance in header.references[: own >> 4]:
        writer.write_signed(distance)
    if header.picture_hash is not None:
        writer.write_uint(header.picture_hash, 4)
    return type_code, writer.to_bytes()


def _own_fields(header: FrameHeader, sequence: SequenceHeader) -> int:
    """Tell which fields of a frame are unusual."""
    own = 0
    if header.pts != sequence.usual_pts(header.display_index):
        own |= OWN_PTS
    if header.duration != sequence.usual_duration:
        own |= OWN_DURATION
    if header.flags != 0:
        own |= OWN_FLAGS
    if header.picture_hash is None:
        own |= NO_HASH
    if header.references != USUAL_REFERENCES[header.frame_type]:
        own |= len(header.references) << 4
    return own


def _read_frame(raw: RawPacket, sequence: SequenceHeader, limits: Limits) -> FramePacket:
    """Invert `pack_frame`, with the payload behind it."""
    reader = ByteReader(raw.body)
    frame_type = FrameType(raw.type_code >> 2)
    own = reader.read_uint(1) if raw.type_code & OWN_FIELDS else 0
    num_references = own >> 4
    check_limit("number of references", num_references, limits.max_references)
    display_index = reader.read_varint()
    quality = reader.read_uint(2) if raw.type_code & OWN_QUALITY else sequence.usual_quality
    pts_offset = reader.read_signed() if own & OWN_PTS else 0
    header = FrameHeader(
        frame_type=frame_type,
        display_index=display_index,
        quality=quality,
        pts=sequence.usual_pts(display_index) + pts_offset,
        duration=reader.read_varint() if own & OWN_DURATION else sequence.usual_duration,
        flags=reader.read_uint(1) if own & OWN_FLAGS else 0,
        references=tuple(reader.read_signed() for _ in range(num_references))
        or USUAL_REFERENCES[frame_type],
        picture_hash=None if own & NO_HASH else reader.read_uint(4),
    )
    return FramePacket(header, reader.read(reader.num_left), raw.offset)


def pack_audio(packet: AudioPacketData, sequence: SequenceHeader) -> bytes:
    """Give the body of an audio packet."""
    check_range("audio track", packet.track, 0, len(sequence.audio_tracks) - 1)
    writer = ByteWriter()
    writer.write_varint(2 * packet.track + packet.is_keyframe)
    writer.write_signed(packet.pts)
    writer.write_signed(packet.pts - packet.dts)
    writer.write_varint(packet.duration)
    writer.write(packet.data)
    return writer.to_bytes()


def _read_audio(raw: RawPacket, sequence: SequenceHeader) -> AudioPacketData:
    """Invert `pack_audio`."""
    reader = ByteReader(raw.body)
    track, is_keyframe = divmod(reader.read_varint(), 2)
    check_range("audio track", track, 0, len(sequence.audio_tracks) - 1)
    pts = reader.read_signed()
    dts = pts - reader.read_signed()
    duration = reader.read_varint()
    data = reader.read(reader.num_left)
    return AudioPacketData(track, pts, dts, duration, is_keyframe == 1, data)


def read_content(raw: RawPacket, sequence: SequenceHeader, limits: Limits) -> Packet | None:
    """Give what a packet holds; None for index, end and optional packets.

    Raises:
        BitstreamError: the body is not what the type promises.
    """
    if raw.type_code < PacketType.AUDIO:
        return _read_frame(raw, sequence, limits)
    if raw.type_code == PacketType.AUDIO:
        return _read_audio(raw, sequence)
    return None
