"""Targets other than crf: bitrate, size and PSNR, in one pass or by search over the quality.

One pass holds a bitrate while it codes. For the search, a few frames, coded at several qualities,
give a first guess; whole encodings correct it. They go to files of their own, and the best of them
takes its name in the end.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from kinema.codec.chunk_store import folder_beside
from kinema.codec.encode_report import EncodeReport
from kinema.codec.encoding import EncodeSettings, Progress, encode_file, no_progress
from kinema.codec.one_pass import DEFAULT_BUFFER_S, DEFAULT_LOOK_AHEAD, Pace
from kinema.codec.paths import KIN_SUFFIXES, check_free, check_target
from kinema.codec.probes import Probes
from kinema.codec.search import Point, search_crf
from kinema.codec.target import Outcome, Target
from kinema.errors import ConfigError, FileError, KinemaError
from kinema.parts.quality import MAX_CRF
from kinema.video.frame import Note, log_note

PROBE_STEPS, PROBE_TOLERANCE = 6, 0.1  # the latter in crf
MAX_PASSES = 4  # whole encodings, and more only while all are too large
SLACK = 0.5  # crf by which a few frames may be wrong about what can be reached


def encode_to_target(
    source: str,
    path: Path,
    settings: EncodeSettings,
    target: Target,
    *,
    progress: Progress = no_progress,
    note: Note = log_note,
) -> EncodeReport:
    """Encode so that `target` is met; see `encode_file`.

    Raises:
        ConfigError: the target is not positive or cannot be reached, or the source cannot be read
            more than once.
    """
    target.check()
    if target.num_passes(source) == 1:
        paced = replace(settings, pace=_pace(target))
        return encode_file(source, path, paced, progress=progress, note=note)
    settings.check()
    if source == "-":
        raise ConfigError("a target needs a file that can be read more than once, not '-'")
    if settings.resume:
        raise ConfigError("--resume needs a crf; the search for a target begins from the start")
    check_target(source, str(path), KIN_SUFFIXES)
    check_free(path, overwrite=settings.overwrite)
    settings = replace(settings, model=settings.load_model())
    probes = Probes(source, settings)
    start = first_guess(probes, target)
    try:
        with tempfile.TemporaryDirectory(prefix=".kinema-", dir=path.parent) as folder:
            passes = _Passes(source, Path(folder) / "pass.kin", settings, target, progress)
            try:
                report = passes.run(start, note)
            except FileError as error:
                raise _about(path, passes.path, error) from error
            if report is None:
                raise target.unreachable(probes.outcome(0.0), probes.outcome(MAX_CRF))
            check_free(path, overwrite=settings.overwrite)
            passes.best_path.replace(path)
    except KinemaError:
        raise
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    return report


def _pace(target: Target) -> Pace:
    return Pace(
        rate_bps=1000 * (target.rate_kbps or 0.0),
        buffer_s=DEFAULT_BUFFER_S if target.buffer_s is None else target.buffer_s,
        look_ahead=DEFAULT_LOOK_AHEAD if target.look_ahead is None else target.look_ahead,
    )


def _about(path: Path, used: Path, error: FileError) -> FileError:
    """The same error, about the target instead of what only we know by its name."""
    line = str(error).replace(str(folder_beside(used)), str(path))
    return FileError(line.replace(str(used), str(path)))


def first_guess(probes: Probes, target: Target) -> float:
    """Find the crf that meets `target` on a few frames.

    Raises:
        ConfigError: it is far from what any crf leads to.
    """
    guess = search_crf(
        lambda crf: target.excess(probes.outcome(crf)),
        start=MAX_CRF / 2,
        tolerance=PROBE_TOLERANCE,
        max_steps=PROBE_STEPS,
    )[-1]
    is_stuck = guess.crf in (0.0, MAX_CRF) and not 0 <= guess.crf + guess.excess <= MAX_CRF
    if is_stuck and abs(guess.excess) > target.tolerance + SLACK:
        raise target.unreachable(probes.outcome(0.0), probes.outcome(MAX_CRF))
    return guess.crf


class _Passes:
    """Whole encodings of one source; only the best one stays on disk."""

    def __init__(
        self,
        source: str,
        path: Path,
        settings: EncodeSettings,
        target: Target,
        progress: Progress,
    ) -> None:
        self._source, self.path, self._target = source, path, target
        self._settings = replace(settings, overwrite=True, keep_chunks=False)
        self._progress = progress
        self.best_path = path.with_stem("best")
        self._best: Point | None = None
        self._report: EncodeReport | None = None

    def run(self, start: float, note: Note) -> EncodeReport | None:
        """Encode until the target is met, beginning with a crf; None if it cannot be met."""
        self._note = note
        tolerance = self._target.tolerance
        tried = search_crf(self._measure, start, tolerance, MAX_PASSES)
        while self._best and self._is_over(self._best) and self._best.crf < MAX_CRF:
            crf = min(max(p.crf for p in tried) + 0.5 * len(tried), MAX_CRF)  # make sure of it
            tried.append(Point(crf, self._measure(crf)))
        best = self._best
        if best is None or self._is_over(best):
            return None
        is_stuck = best.crf in (0.0, MAX_CRF) and abs(best.excess) > tolerance
        return None if is_stuck else self._report

    def _measure(self, crf: float) -> float:
        settings = replace(self._settings, crf=crf)
        report = encode_file(
            self._source, self.path, settings, progress=self._progress, note=self._note
        )
        self._note = lambda _: None  # once is enough
        audio_bytes = report.size_bytes - report.video_bytes
        outcome = Outcome(report.video_bytes, audio_bytes, report.seconds, report.psnr_yuv_611)
        point = Point(crf, self._target.excess(outcome))
        if self._best is None or self._rank(point) < self._rank(self._best):
            self._best, self._report = point, report
            self.path.replace(self.best_path)
        return point.excess

    def _rank(self, point: Point) -> tuple[bool, float]:
        return self._is_over(point), abs(point.excess)

    def _is_over(self, point: Point) -> bool:
        """Whether a size is above its target."""
        return self._target.psnr_db is None and point.excess > self._target.tolerance
