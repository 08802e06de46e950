"""A stretch of a `.kin` file as a file of its own: packets copied, from an intra frame on."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.codec.copying import (
    Copier,
    EditReport,
    Move,
    check_editable,
    closing_pts,
    end_of,
    frame_at,
    packets_in,
)
from kinema.codec.excerpt import WHOLE, Span, check_range, find_shown
from kinema.codec.paths import KIN_SUFFIXES, check_free, check_target
from kinema.errors import ConfigError
from kinema.video.frame import Note, log_note
from kinema.video.reading import TIME_TOLERANCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSettings:
    """What a user decides about a cut; times in seconds after the first frame."""

    start_s: float = 0.0  # the cut begins at the intra frame at or before the frame shown then
    end_s: float | None = None  # it ends after the frame that is shown until then; None: the last
    exact: bool = False  # refuse a start that is not at an intra frame
    overwrite: bool = False

    def check(self) -> None:
        """Refuse times that cannot be.

        Raises:
            ConfigError: with what was expected.
        """
        check_range(self.start_s, None)
        if self.end_s is not None and not self.end_s > self.start_s:
            raise ConfigError(f"end {self.end_s:g} s, expected later than {self.start_s:g} s")


def cut_file(
    source: Path, target: Path, settings: CutSettings, *, note: Note = log_note
) -> EditReport:
    """Copy a stretch of a file; times begin at 0, the target appears complete or not at all.

    In random access the stretch ends with an I or P frame: frames before refer to it. Else a frame
    that begins only at the end is left out: cuts from 0 to 2 and from 2 to 4 s have no
    frame in common where an intra frame begins at 2 s.

    Args:
        source: the `.kin` file.
        target: the one to be made.
        settings: what to copy.
        note: told where the stretch begins if that is earlier than asked for.

    Raises:
        KinemaError: settings that cannot be, a stretch that is damaged, a target that cannot be
            written; with `exact`, a start that is not at an intra frame.
    """
    settings.check()
    check_target(str(source), str(target), KIN_SUFFIXES)
    check_free(target, overwrite=settings.overwrite)
    with ContainerReader(source) as reader:
        check_editable(source, reader)
        span = _find_stretch(source, reader, settings, note)
        header = replace(reader.header, start_pts=0)
        first = frame_at(source, reader, reader.seek_offset(span.begin_pts))
        move = Move(reader.header, header, -first.display_index, first.pts, 0)
        with ContainerWriter(target, header, overwrite=settings.overwrite) as writer:
            copier = Copier(writer, len(header.audio_tracks))
            for packet in packets_in(source, reader, span, first.display_index):
                copier.write(packet, move)
    time_base = header.time_base
    return EditReport(
        num_frames=copier.num_frames,
        num_audio_packets=copier.num_audio_packets,
        begin_s=float((first.pts - reader.header.start_pts) * time_base),
        seconds=float((span.end_pts - first.pts) * time_base),
        size_bytes=target.stat().st_size,
    )


def _find_stretch(source: Path, reader: ContainerReader, settings: CutSettings, note: Note) -> Span:
    """Choose the frames; the first one is an intra frame."""
    header, index = reader.header, reader.index
    end_pts = end_of(source, reader, index.times[-1])
    length_s = (end_pts - header.start_pts) * header.time_base
    asked = find_shown(index, header, settings.start_s)
    begin = None if asked is None else index.seek(asked.begin_pts)
    if asked is None or begin is None or settings.start_s >= length_s:
        raise ConfigError(
            f"{source}: ends at {float(length_s):.3f} s, before the start at {settings.start_s:g} s"
        )
    if begin.pts < asked.begin_pts:
        _tell_early(source, reader, (begin.pts, asked.begin_pts), settings, note)
    begin_pts = begin.pts if begin.offset > index[0].offset else WHOLE.begin_pts
    if settings.end_s is None:
        return Span(begin_pts, None, end_pts)
    limit = (Fraction(settings.end_s) - TIME_TOLERANCE_S) / header.time_base + header.start_pts
    asked_pts = max((pts for pts in index.times if begin.pts <= pts < limit), default=begin.pts)
    last_pts = closing_pts(reader, asked_pts)
    if last_pts > asked_pts:
        extra = index.count_from(asked_pts, last_pts) - 1
        note(f"{source}: the cut ends {extra} frame(s) later, since frames before refer to there")
    is_last = last_pts == index.times[-1]
    return Span(begin_pts, None if is_last else last_pts, end_of(source, reader, last_pts))


def _tell_early(
    source: Path,
    reader: ContainerReader,
    times: tuple[int, int],
    settings: CutSettings,
    note: Note,
) -> None:
    """Say, or refuse, that a cut begins at an earlier frame than asked for."""
    header = reader.header
    begin_s = float((times[0] - header.start_pts) * header.time_base)
    if not settings.exact:
        extra = reader.index.count_from(*times) - 1
        note(
            f"{source}: no intra frame at {settings.start_s:g} s; the cut begins at "
            f"{begin_s:.3f} s, {extra} frame(s) earlier"
        )
        return
    later = next((e.pts for e in reader.index if e.is_intra and e.pts > times[1]), None)
    others = f"{begin_s:.3f} s"
    if later is not None:
        others += f" and {float((later - header.start_pts) * header.time_base):.3f} s"
    raise ConfigError(f"{source}: no intra frame at {settings.start_s:g} s; the nearest: {others}")
