"""Parts of a video: which packets belong to them, and times that begin at 0."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from kinema.bitstream.bits import SIGNED_MAX
from kinema.bitstream.container import ContainerReader
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.index import Index
from kinema.bitstream.packets import AudioPacketData, FramePacket
from kinema.codec.arrivals import Arrivals
from kinema.errors import ConfigError
from kinema.video.frame import AudioPacket, AudioTrack, Frame
from kinema.video.reading import MAX_INTERLEAVING_S, TIME_TOLERANCE_S


def check_range(start_s: float, num_frames: int | None) -> None:
    """Refuse a start or a number of frames that cannot be.

    Raises:
        ConfigError: with what was expected.
    """
    if not 0 <= start_s < math.inf:
        raise ConfigError(f"start {start_s:g} s, expected 0 or later")
    if num_frames is not None and num_frames < 1:
        raise ConfigError(f"{num_frames} frames, expected 1 or more")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of frames of one file; times in units of the sequence's time_base."""

    begin_pts: int  # of the first frame
    last_pts: int | None = None  # of the last frame; None: to the end of the file
    end_pts: int = 0  # when the last frame is over

    def has_frame(self, pts: int) -> bool:
        """Whether a frame belongs to it."""
        return pts >= self.begin_pts and (self.last_pts is None or pts <= self.last_pts)

    def needs(self, packet: FramePacket, arrivals: Arrivals) -> bool:
        """Whether a frame belongs to it, or others that do may refer to it.

        Args:
            packet: of a frame that has just come.
            arrivals: of the pass.
        """
        header, index = packet.header, packet.header.display_index
        if len(header.references) > 1:  # frames between its references may refer to it
            first, last = (index + distance for distance in header.references)
            last_pts = arrivals.pts_of(last)
            if last_pts is not None and last_pts <= self.begin_pts:
                return False
        elif self.last_pts is None or header.pts <= self.last_pts:  # all later ones may
            return True
        else:  # those may that it encloses with an earlier frame
            first = index + header.references[0] if header.references else arrivals.newest
            if first + 1 == index:
                return False
        first_pts = arrivals.pts_of(first)
        return first_pts is None or self.last_pts is None or first_pts < self.last_pts

    def has_audio(self, packet: AudioPacketData, header: SequenceHeader) -> bool:
        """Whether some of an audio packet sounds while the frames are shown."""
        time_base = header.audio_tracks[packet.track].time_base
        begin, end = self.begin_pts * header.time_base, self.end_pts * header.time_base
        sounds_later = (packet.pts + packet.duration) * time_base > begin
        return sounds_later and (self.last_pts is None or packet.pts * time_base < end)

    def is_past(self, pts: int | None) -> bool:
        """Whether all that belongs to it has come, if all frames up to `pts` have."""
        return pts is not None and self.last_pts is not None and pts >= self.last_pts

    def is_far_past(self, pts: int | None, header: SequenceHeader) -> bool:
        """Whether even its audio has come, if all frames up to `pts` have."""
        if pts is None or self.last_pts is None:
            return False
        lead_s = MAX_INTERLEAVING_S if header.audio_tracks else 0
        return (pts - self.end_pts) * header.time_base > lead_s


WHOLE = Span(-SIGNED_MAX - 1)


def find_span(
    index: Index, header: SequenceHeader, start_s: float, num_frames: int | None
) -> Span | None:
    """Find the frames that begin at a time or later.

    Args:
        index: of the file.
        header: of the file.
        start_s: seconds after the first frame.
        num_frames: how many at most; None for all.

    Returns:
        None where there is no such frame.
    """
    earliest = (Fraction(start_s) - TIME_TOLERANCE_S) / header.time_base
    begin_pts = header.start_pts + math.ceil(earliest) if start_s else -math.inf
    all_pts = index.pts_from(begin_pts)
    first = next(all_pts, None)
    if first is None:
        return None
    last = first if num_frames == 1 else None
    if num_frames is not None and num_frames > 1:
        last = next(islice(all_pts, num_frames - 2, None), None)
    if last is None:
        return Span(first)
    usual = max(1, round(1 / (header.frame_rate * header.time_base)))
    return Span(first, last, next(all_pts, last + usual))


def find_shown(index: Index, header: SequenceHeader, time_s: float) -> Span | None:
    """Find the frame that is shown at a time, and all later ones; None where there is none."""
    latest = (Fraction(time_s) + TIME_TOLERANCE_S) / header.time_base
    shown = index.shown_at(header.start_pts + math.floor(latest))
    return find_span(index, header, 0.0, None) if shown is None else Span(shown)


def find_offsets(container: ContainerReader, span: Span) -> tuple[int, int]:
    """Find where to start reading, which may be earlier for the sake of audio, and the first frame.

    The first frame is the intra frame that decoding of the stretch starts at.
    """
    header = container.header
    first = container.seek_offset(span.begin_pts)
    if not header.audio_tracks:
        return first, first
    lead = math.ceil(MAX_INTERLEAVING_S / header.time_base)  # audio may come this early
    begin = container.seek_offset(span.begin_pts - lead)
    is_first = len(container.index) == 0 or begin <= container.index[0].offset
    return (container.first_packet_offset if is_first else begin), first


def count_frames(index: Index, span: Span) -> int:
    """How many frames of a file belong to a stretch."""
    return index.count_from(span.begin_pts, span.last_pts)


class Shift:
    """Moves times so that a chosen moment becomes 0."""

    def __init__(self, pts: int, time_base: Fraction, audio_tracks: tuple[AudioTrack, ...]) -> None:
        """Choose the moment.

        Args:
            pts: the moment, in units of `time_base`.
            time_base: of the frames.
            audio_tracks: whose packets will come; they move by whole units of their own.
        """
        self._pts = pts
        self._audio = [round(pts * time_base / track.time_base) for track in audio_tracks]

    def frame(self, frame: Frame) -> Frame:
        """Move a frame."""
        return replace(frame, pts=frame.pts - self._pts) if self._pts else frame

    def audio(self, packet: AudioPacket) -> AudioPacket:
        """Move an audio packet."""
        by = self._audio[packet.track]
        return replace(packet, pts=packet.pts - by, dts=packet.dts - by) if by else packet

    def items(self, items: Iterator[Frame | AudioPacket]) -> Iterator[Frame | AudioPacket]:
        """Move whatever comes."""
        for item in items:
            yield self.frame(item) if isinstance(item, Frame) else self.audio(item)
