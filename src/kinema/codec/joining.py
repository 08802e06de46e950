"""`.kin` files one after the other in one file: packets copied, times going on without a gap."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from kinema.bitstream.bits import U32_MAX
from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.headers import AudioTrackHeader, SequenceHeader
from kinema.codec.copying import (
    Copier,
    EditReport,
    Move,
    check_editable,
    common_time_base,
    end_of,
    packets_in,
)
from kinema.codec.description import model_of
from kinema.codec.excerpt import WHOLE, Span
from kinema.codec.paths import KIN_SUFFIXES, check_free, check_target
from kinema.codec.structure import structure_name
from kinema.errors import ConfigError
from kinema.video.frame import Note, log_note

COLOR = ("matrix", "primaries", "transfer", "full_range", "chroma_location")
TRACK = ("codec", "sample_rate", "layout", "extradata")


def concat_files(
    sources: Sequence[Path], target: Path, *, overwrite: bool = False, note: Note = log_note
) -> EditReport:
    """Put files one after the other; the target appears complete or not at all.

    The first file keeps its times; every other one begins when the last frame before it is over.
    Sound after a file's last picture is left out, and so is sound that would be heard twice.

    Args:
        sources: `.kin` files of one model, size, structure and colour, with alike audio tracks.
        target: the file to be made.
        overwrite: whether it may be replaced.
        note: told what differs without harm.

    Raises:
        ConfigError: the files do not fit together.
        KinemaError: one is damaged, or the target cannot be written.
    """
    if not sources:
        raise ConfigError("no file to begin with")
    for source in sources:
        check_target(str(source), str(target), KIN_SUFFIXES)
    check_free(target, overwrite=overwrite)
    header = _common_header(sources, [_read_header(source) for source in sources], note)
    with ContainerWriter(target, header, overwrite=overwrite) as writer:
        joint = _Joint(header, Copier(writer, len(header.audio_tracks)))
        for number, source in enumerate(sources, 1):
            with ContainerReader(source) as reader:
                joint.append(source, reader, is_last=number == len(sources))
    return joint.report(target.stat().st_size)


def _read_header(source: Path) -> SequenceHeader:
    with ContainerReader(source) as reader:
        check_editable(source, reader)
        return reader.header


class _Joint:
    """The file in the making: how far it has come."""

    def __init__(self, header: SequenceHeader, copier: Copier) -> None:
        self._header, self._copier = header, copier
        self._end_pts: int | None = None  # of the last frame so far

    def append(self, source: Path, reader: ContainerReader, *, is_last: bool) -> None:
        """Copy a whole file."""
        header, index = reader.header, reader.index
        first, last_pts = index[0], index.times[-1]
        scale = round(header.time_base / self._header.time_base)
        begin = first.pts * scale if self._end_pts is None else self._end_pts
        is_first = self._end_pts is None
        end_pts = end_of(source, reader, last_pts)
        move = Move(
            header,
            self._header,
            self._copier.num_frames - first.display_index,
            first.pts,
            begin,
        )
        span = Span(
            WHOLE.begin_pts if is_first else first.pts, None if is_last else last_pts, end_pts
        )
        self._copier.begin_file()
        for packet in packets_in(source, reader, span, first.display_index):
            self._copier.write(packet, move)
        self._end_pts = move.time(end_pts)

    def report(self, size_bytes: int) -> EditReport:
        length = (self._end_pts or 0) - self._header.start_pts
        return EditReport(
            num_frames=self._copier.num_frames,
            num_audio_packets=self._copier.num_audio_packets,
            begin_s=0.0,
            seconds=float(length * self._header.time_base),
            size_bytes=size_bytes,
        )


def _common_header(
    sources: Sequence[Path], headers: Sequence[SequenceHeader], note: Note
) -> SequenceHeader:
    """What holds for all files; the first one's word where they may differ."""
    first = headers[0]
    for source, header in zip(sources, headers, strict=True):
        mine, others = _features(header), _features(first)
        different = [name for name in others if mine.get(name) != others[name]]
        if different:
            name = different[0]
            raise ConfigError(f"{source}: {name} {mine[name]}, but {sources[0]} has {others[name]}")
        if header.frame_rate != first.frame_rate:
            note(
                f"{source}: {header.frame_rate} frames/s, but {sources[0]} has "
                f"{first.frame_rate}: every frame keeps its duration"
            )
    time_base = _time_base("the pictures", [header.time_base for header in headers])
    scale = round(first.time_base / time_base)
    return replace(
        first,
        time_base=time_base,
        start_pts=first.start_pts * scale,
        usual_duration=first.usual_duration * scale,
        intra_period=_intra_period([header.intra_period for header in headers]),
        audio_tracks=tuple(
            _common_track(number, tracks)
            for number, tracks in enumerate(zip(*(h.audio_tracks for h in headers), strict=True))
        ),
    )


def _features(header: SequenceHeader) -> dict[str, object]:
    """What must be alike, by the names that a user reads."""
    features: dict[str, object] = {
        "size": f"{header.width}x{header.height}",
        "pixel format": header.pixel_format,
        "model": model_of(header),
        "weights": header.weights_fingerprint.hex(),
        "numeric profile": header.numeric_profile,
        "structure": structure_name(header.structure),
        "sample aspect ratio": header.sample_aspect_ratio,
        "rotation": header.rotation,
        "number of audio tracks": len(header.audio_tracks),
    }
    features.update({name.replace("_", " "): getattr(header, name) for name in COLOR})
    for number, track in enumerate(header.audio_tracks):
        for name in TRACK:
            value = getattr(track, name)
            shown = value.hex() if isinstance(value, bytes) else value
            features[f"audio track {number}: {name.replace('_', ' ')}"] = shown
    return features


def _common_track(number: int, tracks: Sequence[AudioTrackHeader]) -> AudioTrackHeader:
    time_base = _time_base(f"audio track {number}", [track.time_base for track in tracks])
    return replace(tracks[0], time_base=time_base)


def _time_base(what: str, bases: Sequence[Fraction]) -> Fraction:
    """The time base in which all times are whole numbers.

    Raises:
        ConfigError: the format has no room for it.
    """
    common = common_time_base(list(bases))
    if max(common.numerator, common.denominator) > U32_MAX:
        different = " and ".join(str(base) for base in dict.fromkeys(bases))
        raise ConfigError(f"time bases of {what}, {different} s, have none in common")
    return common


def _intra_period(periods: Sequence[int]) -> int:
    """No fewer frames than the longest one; -1 stands for one intra frame per file."""
    return -1 if -1 in periods else max(periods)
