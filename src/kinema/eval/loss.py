"""The loss benchmark: coded clips lose packets on their way; what does a receiver show?"""

import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from kinema.errors import ConfigError
from kinema.eval.bench import BenchProgress
from kinema.eval.clips import PreparedClip, check_clips, prepare_clip
from kinema.eval.loss_patterns import KINDS, PERCENTS, Losses, draw_losses
from kinema.eval.loss_plots import plot_losses
from kinema.eval.loss_results import LossResult, LossRun, export_losses, save_losses
from kinema.eval.loss_runs import Sender
from kinema.eval.loss_streams import Stream, anchor_streams, model_streams
from kinema.eval.processes import ffmpeg_version, import_extra

REFRESHES = (4, 8, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """What to send, what to lose, and where to put what is found.

    Attributes:
        clips: video files; at least one, with different names.
        models: names for `--model`; None = all of the library. Those that can do low delay are run
            at every refresh, the others all-intra. () = anchors only.
        anchors: "x265-medium" ...; None = x264 and x265 at medium, () = none.
        refreshes: frames from one intra frame to the next.
        percents: rates of loss.
        num_journeys: how often every coded clip is sent.
        seed: source of chance.
        crf: of our models. Anchors get a whole QP that brings their mean PSNR close to that of
            the first model; 30 where there is none.
        num_frames: at most this many from the start of each clip.
        num_threads: for every encoder and decoder of ours, every encoder of theirs.
        device: "cpu" or "cuda", for our models.
        json_path, plot_path: files to write, or None.
        export_dir: folder for CSV, or None.
    """

    clips: tuple[Path, ...]
    models: tuple[str, ...] | None = None
    anchors: tuple[str, ...] | None = None
    refreshes: tuple[int, ...] = REFRESHES
    percents: tuple[float, ...] = PERCENTS
    num_journeys: int = 4
    seed: int = 0
    crf: float = 30.0
    num_frames: int = 48
    num_threads: int = 2
    device: str = "cpu"
    json_path: Path | None = None
    plot_path: Path | None = None
    export_dir: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what would fail after hours."""
        check_clips(self.clips)
        if not self.refreshes or any(a >= b for a, b in pairwise((1, *self.refreshes))):
            raise ConfigError(f"found refreshes {self.refreshes}, expected 2 or more, growing")
        draw_losses(KINDS[0], self.percents, self.num_frames, self.num_journeys, self.seed)

    @property
    def description(self) -> str:
        """One line that belongs next to every number."""
        return (
            f"low-delay, one packet per frame, up to {self.num_frames} frames sent "
            f"{self.num_journeys} times, YUV 4:2:0 8-bit PSNR 6:1:1, crf {self.crf:g}, anchors at "
            f"a QP of about that PSNR, seed {self.seed}, {self.num_threads} threads"
        )


def run_losses(
    config: LossConfig, on_progress: Callable[[BenchProgress], None] = lambda _: None
) -> LossResult:
    """Run the loss benchmark, write the files that `config` names, return what was found.

    Raises:
        ConfigError: settings that contradict each other, or the extra `bench` is missing.
        VideoError: a clip cannot be read, or an encoder or decoder failed.
        FileError: a file cannot be written.
    """
    threads = config.num_threads
    models = model_streams(config.models, device=config.device, num_threads=threads)
    streams: list[Stream] = [*models, *anchor_streams(config.anchors, num_threads=threads)]
    if not streams:
        raise ConfigError("found neither models nor anchors, expected at least one")
    ffmpeg_version()
    if config.plot_path:
        import_extra("matplotlib")
    with tempfile.TemporaryDirectory(prefix="kinema-loss-") as folder:
        clips = [prepare_clip(clip, Path(folder), config.num_frames) for clip in config.clips]
        runs = tuple(_run_all(clips, streams, config, on_progress))
    wanted = ("kinema", "torch", "av")
    found = {d.name: d.version for d in importlib.metadata.distributions() if d.name in wanted}
    result = LossResult(
        description=config.description,
        seed=config.seed,
        versions={"ffmpeg": ffmpeg_version()} | found,
        clips=tuple(clip.info for clip in clips),
        runs=runs,
    )
    _write_outputs(result, config)
    return result


def _run_all(
    clips: list[PreparedClip],
    streams: list[Stream],
    config: LossConfig,
    on_progress: Callable[[BenchProgress], None],
) -> Iterator[LossRun]:
    """Send everything, clip by clip, codec by codec."""
    jobs = [(s, r) for s in streams for r in (config.refreshes if s.has_refresh else (1,))]
    losses = [_draw(clip, config) for clip in clips]  # all of them before any work
    for index, clip in enumerate(clips):
        wanted_psnr: float | None = None
        for done, (stream, refresh) in enumerate(jobs, index * len(jobs)):
            what = f"{clip.info.name} {stream.name} refresh {refresh}"
            on_progress(BenchProgress(done, len(clips) * len(jobs), what))
            sender = Sender(stream, clip, refresh)
            quality = sender.search(wanted_psnr) if stream.is_anchor else config.crf
            runs = sender.run(quality, losses[index])
            wanted_psnr = wanted_psnr or fmean(runs[0].sent.psnr)
            yield from runs
    on_progress(BenchProgress(len(clips) * len(jobs), len(clips) * len(jobs), ""))


def _draw(clip: PreparedClip, config: LossConfig) -> list[Losses]:
    num_packets, num_journeys = clip.info.num_frames, config.num_journeys
    return [
        losses
        for kind in KINDS
        for losses in draw_losses(kind, config.percents, num_packets, num_journeys, config.seed)
    ]


def _write_outputs(result: LossResult, config: LossConfig) -> None:
    if config.json_path:
        save_losses(result, config.json_path)
    if config.plot_path:
        plot_losses(result, config.plot_path)
    if config.export_dir:
        export_losses(result, config.export_dir)
