"""Packets of one `.kin` file, moved in time and put into another one without coding anew."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.headers import FrameHeader, SequenceHeader
from kinema.bitstream.packets import AudioPacketData, DamagedPacket, FramePacket, Packet
from kinema.codec.excerpt import Span, find_offsets
from kinema.codec.losses import LossLog
from kinema.codec.stretch import Stretch
from kinema.codec.structure import STRUCTURES, structure_name
from kinema.errors import BitstreamError


@dataclass(frozen=True, slots=True)
class EditReport:
    """What came of a cut or a concatenation."""

    num_frames: int
    num_audio_packets: int
    begin_s: (
        float  # where the result begins, in seconds after the first frame of the (first) source
    )
    seconds: float  # duration of the pictures
    size_bytes: int

    def line(self, target: Path) -> str:
        """Tell it to a user."""
        return f"{target}: {self.num_frames} frames, {self.seconds:.3f} s, {self.size_bytes} bytes"

    def figures(self) -> dict[str, float]:
        """Everything of interest, ready for JSON."""
        return {
            "frames": self.num_frames,
            "audio_packets": self.num_audio_packets,
            "begin_s": round(self.begin_s, 6),
            "duration_s": round(self.seconds, 6),
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True, slots=True)
class Move:
    """From places and times of one file to those of another.

    Attributes:
        source: header of the file that packets come from.
        target: header of the file that they go to.
        display_index: added to that of every frame.
        begin_pts: the moment of the source, in its time base, that becomes `target_pts`.
        target_pts: in the target's time base.
    """

    source: SequenceHeader
    target: SequenceHeader
    display_index: int
    begin_pts: int
    target_pts: int

    def time(self, pts: int) -> int:
        """Move a time of the pictures; exact, since the target's time base divides the source's."""
        return self._scaled(pts - self.begin_pts) + self.target_pts

    def frame(self, header: FrameHeader) -> FrameHeader:
        """Move a frame; references are distances, which stay as they are."""
        return replace(
            header,
            display_index=header.display_index + self.display_index,
            pts=self.time(header.pts),
            duration=self._scaled(header.duration),
        )

    def audio(self, packet: AudioPacketData) -> AudioPacketData:
        """Move an audio packet, by whole units of its track."""
        old = self.source.audio_tracks[packet.track].time_base
        new = self.target.audio_tracks[packet.track].time_base
        begin, end = self.begin_pts * self.source.time_base, self.target_pts * self.target.time_base
        by, scale = round((end - begin) / new), round(old / new)
        return replace(
            packet,
            pts=packet.pts * scale + by,
            dts=packet.dts * scale + by,
            duration=packet.duration * scale,
        )

    def _scaled(self, span: int) -> int:
        return span * round(self.source.time_base / self.target.time_base)


def check_editable(path: Path, reader: ContainerReader) -> None:
    """Refuse files that cannot be taken apart at intra frames.

    Raises:
        BitstreamError: there is no intra frame that it begins with.
    """
    if not len(reader.index):
        raise BitstreamError(f"{path}: the file holds no frame")
    if not reader.index[0].is_intra:
        raise BitstreamError(f"{path}: does not begin with an intra frame")


def frame_at(path: Path, reader: ContainerReader, offset: int) -> FrameHeader:
    """Read the header of the frame whose packet starts at `offset`.

    Raises:
        BitstreamError: it is damaged.
    """
    packet = next(reader.packets(offset))
    if not isinstance(packet, FramePacket):
        raise BitstreamError(f"{path}: {getattr(packet, 'error', 'found audio, expected a frame')}")
    return packet.header


def usual_step(header: SequenceHeader) -> int:
    """How long a frame of unknown duration lasts, in units of the time base."""
    return header.usual_duration or max(1, round(1 / (header.frame_rate * header.time_base)))


def end_of(path: Path, reader: ContainerReader, pts: int) -> int:
    """When the frame that is shown at `pts` is over: when the next one begins, if there is one.

    Raises:
        BitstreamError: the frame is damaged.
    """
    later = next(reader.index.pts_from(pts + 1), None)
    if later is not None:
        return later
    entry = next(entry for entry in reader.index if entry.pts == pts)
    return pts + (frame_at(path, reader, entry.offset).duration or usual_step(reader.header))


def closing_pts(reader: ContainerReader, pts: int) -> int:
    """When the first frame at or after `pts` begins that frames up to there can do with.

    In random access, that is the I or P frame that closes a group.
    """
    newest = -1
    for entry in reader.index:
        if entry.display_index > newest:
            newest = entry.display_index
            if entry.pts >= pts:
                return entry.pts
    return reader.index.times[-1]


def packets_in(
    path: Path, reader: ContainerReader, span: Span, first_index: int
) -> Iterator[Packet]:
    """The packets of a stretch that begins with an intra frame, in file order.

    Args:
        path: of the file, for messages.
        reader: of the file.
        span: pictures, and the sound that is heard while they are shown; it ends where
            `closing_pts` says that it can.
        first_index: display index of the first frame.

    Raises:
        BitstreamError: something in the stretch is damaged or missing.
    """
    header = reader.header
    losses = LossLog(STRUCTURES[structure_name(header.structure)])
    losses.begin(first_index)
    begin, first = find_offsets(reader, span)
    ends_file = span.has_frame(reader.index.times[-1])
    stretch = Stretch(span, header, losses, first)
    for packet in reader.packets(begin):
        is_part = stretch.has(packet, to_the_end=ends_file)
        if is_part and not isinstance(packet, DamagedPacket):
            yield packet
        if losses.lines or stretch.is_over:
            break
    else:
        losses.end()
    if losses.lines:
        raise BitstreamError(f"{path}: damaged, which copying cannot mend: {losses.lines[0]}")


class Copier:
    """Puts moved packets into a file; counts them, and keeps the sound of each track in order."""

    def __init__(self, writer: ContainerWriter, num_tracks: int) -> None:
        self._writer = writer
        self._audio_end: list[int | None] = [None] * num_tracks  # in units of the track
        self._last_dts = [0] * num_tracks
        self._is_joined = [True] * num_tracks
        self.num_frames = self.num_audio_packets = 0

    def begin_file(self) -> None:
        """Expect the packets of another file, whose sound may overlap with what was written."""
        self._is_joined = [False] * len(self._is_joined)

    def write(self, packet: Packet, move: Move) -> None:
        """Write one packet, or leave out audio most of which has been heard already."""
        if isinstance(packet, FramePacket):
            self._writer.write_frame(move.frame(packet.header), packet.payload)
            self.num_frames += 1
            return
        moved = move.audio(packet)
        if self._follows(moved):
            self._writer.write_audio(moved)
            self.num_audio_packets += 1
            self._audio_end[moved.track] = moved.pts + moved.duration
            self._last_dts[moved.track] = moved.dts

    def _follows(self, packet: AudioPacketData) -> bool:
        end = self._audio_end[packet.track]
        if not self._is_joined[packet.track] and end is not None:
            is_heard = 2 * packet.pts + packet.duration < 2 * end
            if is_heard or packet.dts <= self._last_dts[packet.track]:
                return False
        self._is_joined[packet.track] = True
        return True


def common_time_base(bases: list[Fraction]) -> Fraction:
    """The longest time of which all are whole multiples."""
    numerator = math.gcd(*(base.numerator for base in bases))
    return Fraction(numerator, math.lcm(*(base.denominator for base in bases)))
