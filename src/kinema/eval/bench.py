"""The benchmark: clips x codecs x rate points under one set of conditions."""

import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kinema.errors import ConfigError
from kinema.eval.anchor_runs import AnchorCache, run_anchor
from kinema.eval.anchors import Anchor, default_qualities, select_anchors
from kinema.eval.bd_rate import MIN_POINTS
from kinema.eval.clips import PreparedClip, check_clips, prepare_clip
from kinema.eval.compare import compare_with_reference
from kinema.eval.conditions import ALL_INTRA, Conditions
from kinema.eval.exports import export_layouts
from kinema.eval.metrics import EXTRA_METRICS
from kinema.eval.model_runs import ModelRunner
from kinema.eval.plots import plot_result
from kinema.eval.processes import ffmpeg_version, import_extra
from kinema.eval.results import BenchResult, Curve, RatePoint, save_result

DEFAULT_CRFS = (8.0, 16.0, 24.0, 32.0, 40.0, 48.0)
_DEFAULT_INTRA_PERIOD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """What to run, under which conditions, and where to put it.

    Attributes:
        clips: video files; at least one, with different names.
        models: names for `--model`; None = the codec's own choice, () = anchors only.
        anchors: "x265-medium", "x265" (its standard presets) ...; None = the standard ones of the
            delay class, () = none.
        preset: "modern" or "paper".
        structure: delay class; everything in one run has the same.
        intra_period: None = 1 in all-intra, else 32; -1 = one intra frame.
        num_frames: at most this many from the start of each clip.
        num_threads: for every encoder and decoder.
        crfs: rate points of our models, at least 4.
        anchor_qualities: QP or crf points of all anchors; None = the standard ones of each.
        reference: the codec that counts as 0 %; None = the first anchor.
        extra_metrics: of "psnr_rgb", "ms_ssim_y", "vmaf".
        device: "cpu" or "cuda", for our models.
        effort: of our encoders.
        use_cache: take anchors measured before; False measures all again, so that the speeds
            come from one run.
        cache_dir: None = KINEMA_CACHE or ~/.cache/kinema.
        json_path, plot_path: files to write, or None.
        export_dir: folder for CSV and the layouts of CompressAI and DCVC, or None.
    """

    clips: tuple[Path, ...]
    models: tuple[str, ...] | None = None
    anchors: tuple[str, ...] | None = None
    preset: str = "modern"
    structure: str = ALL_INTRA
    intra_period: int | None = None
    num_frames: int = 96
    num_threads: int = 2
    crfs: tuple[float, ...] = DEFAULT_CRFS
    anchor_qualities: tuple[float, ...] | None = None
    reference: str | None = None
    extra_metrics: tuple[str, ...] = ()
    device: str = "cpu"
    effort: int = 0
    use_cache: bool = True
    cache_dir: Path | None = None
    json_path: Path | None = None
    plot_path: Path | None = None
    export_dir: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what would fail after hours."""
        check_clips(self.clips)
        for kind, points in (("crf", self.crfs), ("anchor", self.anchor_qualities)):
            if points is not None and len(set(points)) < MIN_POINTS:
                raise ConfigError(f"found {kind} points {points}, expected {MIN_POINTS} or more")
        for metric in self.extra_metrics:
            if metric not in EXTRA_METRICS:
                raise ConfigError(f"found metric {metric!r}, expected: {', '.join(EXTRA_METRICS)}")

    @property
    def conditions(self) -> Conditions:
        """The conditions of every curve of the run.

        Raises:
            ConfigError: they contradict each other.
        """
        period = 1 if self.structure == ALL_INTRA else _DEFAULT_INTRA_PERIOD
        return Conditions(
            preset=self.preset,
            structure=self.structure,
            intra_period=period if self.intra_period is None else self.intra_period,
            num_frames=self.num_frames,
            num_threads=self.num_threads,
        )

    @property
    def extras(self) -> frozenset[str]:
        """The scores to measure beside PSNR of the planes."""
        paper = ("psnr_rgb", "ms_ssim_y") if self.preset == "paper" else ()
        return frozenset(self.extra_metrics + paper)


@dataclass(frozen=True, slots=True)
class BenchProgress:
    """How far a run is: points finished, points in all, and what comes next ("" at the end)."""

    num_done: int
    num_total: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One codec with its rate points; `run` measures one point of one clip."""

    codec: str
    is_anchor: bool
    qualities: tuple[float, ...]
    run: Callable[[PreparedClip, float], RatePoint]


def run_bench(
    config: BenchConfig, on_progress: Callable[[BenchProgress], None] = lambda _: None
) -> BenchResult:
    """Run the benchmark, write the files that `config` names, and return what was found.

    Args:
        config: clips, codecs, conditions, outputs.
        on_progress: called before every point and once at the end.

    Raises:
        ConfigError: settings that contradict each other, or the extra `bench` is missing.
        VideoError: a clip cannot be read, or an encoder or decoder failed.
        FileError: an output cannot be written.
    """
    conditions = config.conditions
    _require_extras(config)
    jobs = [*_anchor_jobs(config), *_model_jobs(config)]
    reference = _reference_of(config, jobs)
    with tempfile.TemporaryDirectory(prefix="kinema-bench-") as folder:
        clips = [prepare_clip(clip, Path(folder), config.num_frames) for clip in config.clips]
        curves = tuple(_measure(clips, jobs, on_progress))
    result = BenchResult(
        conditions=conditions,
        versions=_versions(),
        clips=tuple(clip.info for clip in clips),
        curves=curves,
        comparisons=compare_with_reference(curves, reference, conditions.quality_metric),
    )
    _write_outputs(result, config)
    return result


def _require_extras(config: BenchConfig) -> None:
    """Fail before the work, not after it."""
    import_extra("bjontegaard")
    ffmpeg_version()
    if config.plot_path:
        import_extra("matplotlib")


def _anchor_jobs(config: BenchConfig) -> Iterator[_Job]:
    conditions = config.conditions
    cache = AnchorCache(config.cache_dir) if config.use_cache else None

    def run(anchor: Anchor, clip: PreparedClip, quality: float) -> RatePoint:
        return run_anchor(clip, anchor, conditions, quality, extras=config.extras, cache=cache)

    for anchor in select_anchors(config.anchors, conditions):
        yield _Job(
            codec=anchor.name,
            is_anchor=True,
            qualities=config.anchor_qualities or default_qualities(anchor, conditions),
            run=partial(run, anchor),
        )


def _model_jobs(config: BenchConfig) -> Iterator[_Job]:
    conditions = config.conditions

    def run(runner: ModelRunner, clip: PreparedClip, crf: float) -> RatePoint:
        return runner.run(clip, conditions, crf, extras=config.extras)

    for model in (None,) if config.models is None else config.models:
        runner = ModelRunner(model=model, device=config.device, effort=config.effort)
        yield _Job(
            codec=runner.name, is_anchor=False, qualities=config.crfs, run=partial(run, runner)
        )


def _reference_of(config: BenchConfig, jobs: list[_Job]) -> str:
    names = [job.codec for job in jobs]
    if not names:
        raise ConfigError("found neither models nor anchors, expected at least one")
    if config.reference is not None and config.reference not in names:
        raise ConfigError(
            f"found reference {config.reference!r}, expected one of: {', '.join(names)}"
        )
    return config.reference or names[0]


def _measure(
    clips: list[PreparedClip], jobs: list[_Job], on_progress: Callable[[BenchProgress], None]
) -> Iterator[Curve]:
    """Run all jobs, clip by clip, best quality first."""
    total = len(clips) * sum(len(job.qualities) for job in jobs)
    done = 0
    for clip in clips:
        for job in jobs:
            points = []
            for quality in sorted(job.qualities):
                what = f"{clip.info.name} {job.codec} at {quality:g}"
                on_progress(BenchProgress(done, total, what))
                points.append(job.run(clip, quality))
                done += 1
            yield Curve(
                clip=clip.info.name,
                codec=job.codec,
                is_anchor=job.is_anchor,
                points=tuple(points),
            )
    on_progress(BenchProgress(done, total, ""))


def _versions() -> dict[str, str]:
    names = [(found.name, found.version) for found in importlib.metadata.distributions()]
    wanted = ("kinema", "torch", "bjontegaard")
    return {"ffmpeg": ffmpeg_version()} | {k: version for k, version in names if k in wanted}


def _write_outputs(result: BenchResult, config: BenchConfig) -> None:
    if config.json_path:
        save_result(result, config.json_path)
    if config.plot_path:
        plot_result(result, config.plot_path)
    if config.export_dir:
        export_layouts(result, config.export_dir)
