"""A `.kin` file in, a video file out, or nothing but the knowledge that it is sound."""

from dataclasses import dataclass, field
from pathlib import Path

from kinema.codec.encoding import Progress, no_progress
from kinema.codec.excerpt import Shift
from kinema.codec.paths import check_target
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.errors import BitstreamError
from kinema.models.registry import LoadedModel
from kinema.video.frame import Frame, Note, log_note
from kinema.video.writing import SUFFIXES, create_video


@dataclass(slots=True)
class DecodeReport:
    """What came of a decoding."""

    num_frames: int = 0
    lost: list[str] = field(default_factory=list)  # one line per damaged stretch or frame

    def figures(self) -> dict[str, object]:
        """Everything of interest, ready for JSON."""
        return {"frames": self.num_frames, "lost": self.lost}


def decode_file(
    source: Path,
    target: str,
    settings: DecodeSettings,
    *,
    model: LoadedModel | None = None,
    progress: Progress = no_progress,
    note: Note = log_note,
) -> DecodeReport:
    """Decode to a video file; the target appears complete or not at all.

    With a start other than 0, times are moved so that the first frame is shown at 0.

    Args:
        source: the `.kin` file.
        target: as `create_video`; "-" writes Y4M to standard output.
        settings: what to do.
        model: instead of the shipped one, for files of own models.
        progress: called after every frame.
        note: told in one line what the target cannot hold.

    Raises:
        KinemaError: nothing could be decoded or written. Damaged frames are reported instead.
    """
    settings.check()
    check_target(str(source), target, SUFFIXES)
    with _open(source, target, settings, model, note) as reader:
        span = reader.span
        if span is None:
            last = f"{reader.num_frames} frames" if reader.num_frames else "no frame"
            raise BitstreamError(f"{source}: no frame in the chosen range; the file has {last}")
        begin = span.begin_pts if settings.start_s else 0
        shift = Shift(begin, reader.header.time_base, reader.audio_tracks)
        expected = reader.count(span)
        report = DecodeReport()
        writer = create_video(
            target, reader.format, reader.audio_tracks, overwrite=settings.overwrite, note=note
        )
        with writer:  # nets in a thread of their own measured a third slower
            for item in shift.items(reader.items(in_bulk=target != "-")):
                writer.write(item)
                if isinstance(item, Frame):
                    report.num_frames += 1
                    progress(report.num_frames, expected, 0)
            report.lost = reader.lost
            _check_found(source, report)
    return report


def _open(
    source: Path, target: str, settings: DecodeSettings, model: LoadedModel | None, note: Note
) -> KinReader:
    """Open a file so that those decode it who shall."""
    if settings.workers is None and settings.ray is None:
        return KinReader(source, settings=settings, model=model)
    from kinema.codec.chunked_decoding import ChunkedReader  # here: few need it

    folder = None if target == "-" else Path(target).parent
    return ChunkedReader(source, settings=settings, model=model, folder=folder, note=note)


def verify_file(
    source: Path, settings: DecodeSettings | None = None, *, model: LoadedModel | None = None
) -> DecodeReport:
    """Decode everything, compare every picture with its hash, write nothing.

    Raises:
        KinemaError: nothing could be decoded. Damaged frames are reported instead.
    """
    report = DecodeReport()
    with KinReader(source, settings=settings, model=model) as reader:
        for _ in reader.items(with_audio=False, in_bulk=True):
            report.num_frames += 1
        report.lost = reader.lost
    _check_found(source, report)
    return report


def _check_found(source: Path, report: DecodeReport) -> None:
    if not report.num_frames:
        what = report.lost[0] if report.lost else "the file holds no frame"
        raise BitstreamError(f"{source}: nothing to decode: {what}")
