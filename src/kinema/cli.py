"""The command line: arguments in, messages out; the work is done in the rooms below."""

import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from kinema import __version__
from kinema.codec.target import Target, parse_amount
from kinema.errors import BitstreamError, ConfigError, KinemaError

if TYPE_CHECKING:
    from kinema.codec.decoding import DecodeReport
    from kinema.codec.encode_report import EncodeReport
    from kinema.codec.encoding import EncodeSettings
    from kinema.eval.bench import BenchProgress

app = typer.Typer(
    name="kinema",
    help="A learned video codec that decodes bit-exactly on every machine.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
INTERRUPTED = 130  # what typer makes of Ctrl-C
MAX_REASONS = 3  # places of damage that a message spells out

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing target.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads.")]
Start = Annotated[float, typer.Option(help="Begin here, in seconds after the first frame.")]
Frames = Annotated[int | None, typer.Option(help="Stop after this many frames.")]


@app.callback(invoke_without_command=True)
def kinema(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """A learned video codec that decodes bit-exactly on every machine."""
    if version:
        print(f"kinema {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def encode(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Video, or - for Y4M.")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT.kin")],
    crf: Annotated[float | None, typer.Option(help="Quality: 0 (best) to 63. Usual: 28.")] = None,
    bitrate: Annotated[str | None, typer.Option(help="Of the video: 300k, 2.5M.")] = None,
    target_size: Annotated[str | None, typer.Option(help="Of the file, in bytes: 2M.")] = None,
    target_psnr: Annotated[float | None, typer.Option(help="(6Y+U+V)/8 in dB.")] = None,
    passes: Annotated[int | None, typer.Option(help="1: hold the bitrate; 2: search.")] = None,
    buffer: Annotated[float | None, typer.Option(help="In seconds, for one pass: 1.")] = None,
    lookahead: Annotated[int | None, typer.Option(help="In frames, for one pass: 8.")] = None,
    model: Annotated[str, typer.Option(help="See `kinema models`.")] = "intra",
    structure: Annotated[
        str | None, typer.Option(help="all-intra or low-delay; by default the model's first.")
    ] = None,
    intra_period: Annotated[
        int | None,
        typer.Option(help="Frames per intra frame; -1: one only. By default 1 or, low-delay, 32."),
    ] = None,
    refresh: Annotated[
        int, typer.Option(help="An additional intra frame every N frames; 0: none.")
    ] = 0,
    no_scene_cut: Annotated[
        bool, typer.Option("--no-scene-cut", help="No intra frames at scene cuts.")
    ] = False,
    start: Start = 0.0,
    frames: Frames = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave audio out.")] = False,
    device: Device = "cpu",
    threads: Threads = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compress a video."""
    if sum(goal is not None for goal in (crf, bitrate, target_size, target_psnr)) > 1:
        raise ConfigError("choose one of --crf, --bitrate, --target-size and --target-psnr")
    _refuse_terminal(source, sys.stdin)
    from kinema.codec.encoding import DEFAULT_CRF, EncodeSettings

    settings = EncodeSettings(
        crf=DEFAULT_CRF if crf is None else crf,
        model=model,
        structure=structure,
        intra_period=intra_period,
        refresh=refresh,
        scene_cuts=not no_scene_cut,
        start_s=start,
        num_frames=frames,
        with_audio=not no_audio,
        device=device,
        threads=threads,
        overwrite=overwrite,
    )
    goal = Target(
        rate_kbps=None if bitrate is None else parse_amount(bitrate, "--bitrate") / 1000,
        size_bytes=None if target_size is None else int(parse_amount(target_size, "--target-size")),
        psnr_db=target_psnr,
        passes=passes,
        buffer_s=buffer,
        look_ahead=lookahead,
    )
    started = time.perf_counter()
    report = _encode(source, target, settings, goal)
    figures = {**report.figures(), "seconds": round(time.perf_counter() - started, 3)}
    print(json.dumps(figures) if as_json else f"{target}: {_summary(figures)}")


def _encode(source: str, target: Path, settings: "EncodeSettings", goal: Target) -> "EncodeReport":
    from kinema.codec.encoding import encode_file
    from kinema.codec.rate_control import encode_to_target

    with _progress("encoding") as progress:
        if goal == Target():
            return encode_file(source, target, settings, progress=progress, note=_note)
        return encode_to_target(source, target, settings, goal, progress=progress, note=_note)


def _summary(figures: dict[str, float]) -> str:
    speed = figures["frames"] / max(figures["seconds"], 1e-3)
    return (
        f"{figures['frames']} frames, {figures['size_bytes']} bytes, "
        f"{figures['rate_kbps']:.1f} kbit/s ({figures['bpp']:.4f} bit/pixel), "
        f"PSNR {figures['psnr_yuv_611']:.2f} dB at crf {figures['crf']:g}, {speed:.1f} frames/s"
    )


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(metavar="INPUT.kin")],
    target: Annotated[
        str, typer.Argument(metavar="OUTPUT", help=".mp4 .mkv .y4m .yuv frames-%04d.png or -")
    ],
    start: Start = 0.0,
    frames: Frames = None,
    device: Device = "cpu",
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Decompress to a video file, pictures, or Y4M on standard output."""
    _refuse_terminal(target, sys.stdout)
    from kinema.codec.decoding import decode_file
    from kinema.codec.reader import DecodeSettings

    settings = DecodeSettings(
        start_s=start, num_frames=frames, device=device, threads=threads, overwrite=overwrite
    )
    with _progress("decoding") as progress:
        report = decode_file(source, target, settings, progress=progress, note=_note)
    _refuse_damage(source, report, f"{report.num_frames} others are in {target}")


@app.command()
def info(
    source: Annotated[Path, typer.Argument(metavar="INPUT.kin")], as_json: Json = False
) -> None:
    """Tell what is in a file, without decoding it."""
    from kinema.codec.description import describe

    facts = describe(source)
    if as_json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' ')}: {value}")


@app.command()
def verify(source: Annotated[Path, typer.Argument(metavar="INPUT.kin")]) -> None:
    """Decode everything and compare every picture with its hash."""
    from kinema.codec.decoding import verify_file

    report = verify_file(source)
    _refuse_damage(source, report, f"{report.num_frames} others are good")
    print(f"{source}: {report.num_frames} frames, all as the encoder saw them")


@app.command()
def models(as_json: Json = False) -> None:
    """List the models that are installed."""
    from kinema.models.registry import MODELS, read_card

    cards = {name: read_card(name) for name in MODELS}
    if as_json:
        print(json.dumps(cards))
        return
    for name, card in cards.items():
        print(f"{name}: {MODELS[name].summary} (number {card['number']}, {card['fingerprint']})")


@app.command()
def bench(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP...")],
    models: Annotated[str | None, typer.Option(help="Names, comma-separated; '' for none.")] = None,
    anchors: Annotated[
        str | None, typer.Option(help="x264,x265-slow,svtav1-6,vvenc-medium ...; '' for none.")
    ] = None,
    preset: Annotated[str, typer.Option(help="modern or paper.")] = "modern",
    structure: Annotated[str, typer.Option(help="Delay class of all codecs.")] = "all-intra",
    intra_period: Annotated[int | None, typer.Option(help="-1: one intra frame.")] = None,
    frames: Annotated[int, typer.Option(help="Of each clip, at most.")] = 96,
    crf_points: Annotated[str | None, typer.Option(help="Of our models, comma-separated.")] = None,
    metrics: Annotated[str, typer.Option(help="Extra: psnr_rgb,ms_ssim_y,vmaf.")] = "",
    reference: Annotated[str | None, typer.Option(help="The codec compared with.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of every codec.")] = 2,
    device: Device = "cpu",
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not use cached anchors.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Results.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Curves, .png .pdf .svg.")] = None,
    export: Annotated[
        Path | None, typer.Option(help="Folder for CSV and for CompressAI's and DCVC's layouts.")
    ] = None,
) -> None:
    """Compare with x264, x265, SVT-AV1 and VVenC; scores come from decoded files."""
    from kinema.eval.bench import DEFAULT_CRFS, BenchConfig, run_bench
    from kinema.eval.reports import format_report

    points = _names(crf_points)
    result = run_bench(
        BenchConfig(
            clips=tuple(clips),
            models=_names(models),
            anchors=_names(anchors),
            preset=preset,
            structure=structure,
            intra_period=intra_period,
            num_frames=frames,
            num_threads=threads,
            crfs=tuple(parse_amount(p, "--crf-points") for p in points) if points else DEFAULT_CRFS,
            reference=reference,
            extra_metrics=_names(metrics) or (),
            device=device,
            use_cache=not fresh,
            json_path=json_file,
            plot_path=plot,
            export_dir=export,
        ),
        _show_point,
    )
    print(format_report(result))


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A recipe: intra-small, ...")],
    data: Annotated[list[Path] | None, typer.Option(help="Folder of videos or frames.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run.")] = False,
    budget: Annotated[float | None, typer.Option(help="Stop after this many minutes.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    start_from: Annotated[Path | None, typer.Option(help="parameters.safetensors.")] = None,
    scale: Annotated[float, typer.Option(help="Times the steps of every stage.")] = 1.0,
    batch: Annotated[int, typer.Option(help="Times the batch of every stage; for GPUs.")] = 1,
    seed: Annotated[int, typer.Option(help="Source of chance.")] = 0,
    export: Annotated[Path | None, typer.Option(help="Write weights here at the end.")] = None,
) -> None:
    """Train a model; stop and resume as you like."""
    from kinema.train.loop import TrainConfig, Trainer

    run_dir = run or Path("runs") / config
    trainer = Trainer(
        TrainConfig(
            recipe=config,
            data=tuple(data or ()),
            run_dir=run_dir,
            resume=resume,
            start_from=start_from,
            budget_minutes=math.inf if budget is None else budget,
            scale=scale,
            batch=batch,
            seed=seed,
        ),
        lambda line: print(line, flush=True),
    )
    trainer.run()
    if export is not None and trainer.group.is_first:
        from kinema.models.release import export_run  # here: training needs no entropy coder

        network = trainer.recipe.build()
        print(f"{export}: {export_run(network, trainer.path, export, {'recipe': config})}")


def _show_point(progress: "BenchProgress") -> None:
    if sys.stderr.isatty():
        print(f"{progress.num_done}/{progress.num_total} {progress.what}", file=sys.stderr)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name for name in text.split(",") if name)


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


def _refuse_damage(source: Path, report: "DecodeReport", rest: str) -> None:
    if report.lost:
        more = len(report.lost) - MAX_REASONS
        shown = report.lost[:MAX_REASONS] + [f"{more} more damaged places"] * (more > 0)
        raise BitstreamError(f"{source}: {'; '.join(shown)}; {rest}")


def _refuse_terminal(name: str, stream: TextIO) -> None:
    """Pictures are not for the eyes of a terminal, nor come from its keys."""
    if name == "-" and stream.isatty():
        raise ConfigError("- stands for Y4M through a pipe, but a terminal is at its other end")


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int | None, int], None]]:
    """A bar with frames/s, size and time left; nothing unless standard error is a terminal."""
    if not sys.stderr.isatty():
        from kinema.codec.encoding import no_progress

        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, figures="")
        started = time.perf_counter()

        def show(done: int, expected: int | None, size: int) -> None:
            speed = done / max(time.perf_counter() - started, 1e-9)
            figures = f"{done} frames, {speed:.1f} frames/s"
            if size:
                figures += f", {size / done / 1000:.2f} kB/frame"
            bar.update(task, completed=done, total=expected, figures=figures)

        yield show


def main() -> None:
    """Run a command; whatever a user can cause ends in one line and exit status 2."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = app(standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        if _is_broken_pipe(error):  # the reader of our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(2)
        line = _explain(error)
        if line is None:
            raise
        _fail(line)
    if status == INTERRUPTED:
        _fail("interrupted")
    sys.exit(status)


def _explain(error: Exception) -> str | None:
    """What to tell about an error; None for a bug of ours, which shows its traceback."""
    if isinstance(error, (KinemaError, OSError)):
        return str(error)
    is_torchs = isinstance(error, RuntimeError) and "allocate" in str(error)
    if is_torchs or isinstance(error, MemoryError):
        return f"out of memory: {error}"
    if type(error).__module__.partition(".")[0] not in ("click", "typer"):
        return None
    return str(error.format_message() if hasattr(error, "format_message") else error)


def _interrupt(*_: object) -> NoReturn:
    """Clean up after `kill` as after Ctrl-C."""
    raise KeyboardInterrupt


def _is_broken_pipe(error: BaseException | None) -> bool:
    return error is not None and (
        isinstance(error, BrokenPipeError) or _is_broken_pipe(error.__cause__)
    )


def _fail(message: str) -> NoReturn:
    print(f"kinema: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
