"""The commands that code: `encode` and `decode`."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema.cli.messages import (
    FAILED,
    explain,
    note,
    print_figures,
    progress_bar,
    refuse_damage,
    refuse_terminal,
    tell_failure,
)
from kinema.cli.options import Device, Frames, Json, Overwrite, Ray, Start, Threads, Workers
from kinema.cli.sources import pair_up
from kinema.codec.target import Target, parse_amount
from kinema.errors import ConfigError

if TYPE_CHECKING:
    from kinema.codec.encode_report import EncodeReport
    from kinema.codec.encoding import EncodeSettings


def encode(
    sources: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Videos, folders; or - for Y4M.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUTPUT.kin", help="For several inputs, a folder.")
    ],
    crf: Annotated[float | None, typer.Option(help="Quality: 0 (best) to 63. Usual: 28.")] = None,
    bitrate: Annotated[str | None, typer.Option(help="Of the video: 300k, 2.5M.")] = None,
    target_size: Annotated[str | None, typer.Option(help="Of the file, in bytes: 2M.")] = None,
    target_psnr: Annotated[float | None, typer.Option(help="(6Y+U+V)/8 in dB.")] = None,
    passes: Annotated[int | None, typer.Option(help="1: hold the bitrate; 2: search.")] = None,
    buffer: Annotated[float | None, typer.Option(help="In seconds, for one pass: 1.")] = None,
    lookahead: Annotated[int | None, typer.Option(help="In frames, for one pass: 8.")] = None,
    model: Annotated[str, typer.Option(help="See `kinema models`.")] = "intra",
    structure: Annotated[
        str | None, typer.Option(help="all-intra, low-delay, random-access; or the model's first.")
    ] = None,
    intra_period: Annotated[
        int | None,
        typer.Option(help="Frames per intra frame; -1: one only. By default 32; all-intra, 1."),
    ] = None,
    refresh: Annotated[
        int, typer.Option(help="An additional intra frame every N frames; 0: none.")
    ] = 0,
    no_scene_cut: Annotated[
        bool, typer.Option("--no-scene-cut", help="No intra frames at scene cuts.")
    ] = False,
    effort: Annotated[
        int, typer.Option(help="Passes that improve symbols: 0 (fast) to 100; 4 is a good deal.")
    ] = 0,
    start: Start = 0.0,
    frames: Frames = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave audio out.")] = False,
    device: Device = "cpu",
    threads: Threads = None,
    workers: Workers = None,
    ray: Ray = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier attempt was interrupted.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compress a video, or each of several into a file of its own."""
    if sum(goal is not None for goal in (crf, bitrate, target_size, target_psnr)) > 1:
        raise ConfigError("choose one of --crf, --bitrate, --target-size and --target-psnr")
    for source in sources:
        refuse_terminal(source, sys.stdin)
    from kinema.codec.encoding import DEFAULT_CRF, EncodeSettings

    settings = EncodeSettings(
        crf=DEFAULT_CRF if crf is None else crf,
        model=model,
        structure=structure,
        intra_period=intra_period,
        refresh=refresh,
        effort=effort,
        scene_cuts=not no_scene_cut,
        start_s=start,
        num_frames=frames,
        with_audio=not no_audio,
        device=device,
        threads=threads,
        workers=workers,
        ray=ray,
        resume=resume,
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
    jobs = pair_up(sources, target)
    if target.is_dir():
        _encode_all(jobs, settings, goal, as_json=as_json)
        return
    figures = _measured(sources[0], target, settings, goal)
    print_figures(figures, f"{target}: {_summary(figures)}", as_json=as_json)


def _encode_all(
    jobs: list[tuple[str, Path]], settings: "EncodeSettings", goal: Target, *, as_json: bool
) -> None:
    """Encode one video after the other; those that fail do not keep the others from it."""
    settings.check()
    settings = replace(settings, model=settings.load_model())  # once for all
    files = []
    for source, target in jobs:
        figures = _attempt(source, target, settings, goal)
        files.append({"source": source, "file": str(target), **figures})
        if not as_json and "error" not in figures:
            print(f"{target}: {_summary(figures)}", flush=True)
    num_failed = sum("error" in file for file in files)
    if as_json:
        print(json.dumps({"files": files, "failed": num_failed}))
    if num_failed:
        raise typer.Exit(FAILED)


def _attempt(source: str, target: Path, settings: "EncodeSettings", goal: Target) -> dict[str, Any]:
    """Encode; tell what went wrong, and give that in place of figures."""
    try:
        return _measured(source, target, settings, goal)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
    if source not in line and str(target) not in line:
        line = f"{source}: {line}"
    tell_failure(line)
    return {"error": line}


def _measured(
    source: str, target: Path, settings: "EncodeSettings", goal: Target
) -> dict[str, float]:
    """Encode; give the figures, with the seconds that it took."""
    started = time.perf_counter()
    report = _encode(source, target, settings, goal)
    return {**report.figures(), "seconds": round(time.perf_counter() - started, 3)}


def _encode(source: str, target: Path, settings: "EncodeSettings", goal: Target) -> "EncodeReport":
    from kinema.codec.encoding import encode_file
    from kinema.codec.rate_control import encode_to_target

    with progress_bar("encoding") as progress:
        if goal == Target():
            return encode_file(source, target, settings, progress=progress, note=note)
        return encode_to_target(source, target, settings, goal, progress=progress, note=note)


def _summary(figures: dict[str, float]) -> str:
    speed = figures["frames"] / max(figures["seconds"], 1e-3)
    return (
        f"{figures['frames']} frames, {figures['size_bytes']} bytes, "
        f"{figures['rate_kbps']:.1f} kbit/s ({figures['bpp']:.4f} bit/pixel), "
        f"PSNR {figures['psnr_yuv_611']:.2f} dB at crf {figures['crf']:g}, {speed:.1f} frames/s"
    )


def decode(
    source: Annotated[Path, typer.Argument(metavar="INPUT.kin")],
    target: Annotated[
        str, typer.Argument(metavar="OUTPUT", help=".mp4 .mkv .y4m .yuv frames-%04d.png or -")
    ],
    start: Start = 0.0,
    frames: Frames = None,
    device: Device = "cpu",
    threads: Threads = None,
    workers: Workers = None,
    ray: Ray = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Decompress to a video file, pictures, or Y4M on standard output."""
    refuse_terminal(target, sys.stdout)
    if as_json and target == "-":
        raise ConfigError("--json and - both want standard output")
    from kinema.codec.decoding import decode_file
    from kinema.codec.reader import DecodeSettings

    settings = DecodeSettings(
        start_s=start,
        num_frames=frames,
        device=device,
        threads=threads,
        workers=workers,
        ray=ray,
        overwrite=overwrite,
    )
    started = time.perf_counter()
    with progress_bar("decoding") as progress:
        report = decode_file(source, target, settings, progress=progress, note=note)
    if as_json:
        seconds = round(time.perf_counter() - started, 3)
        print(json.dumps({"file": target, **report.figures(), "seconds": seconds}))
    refuse_damage(source, report, f"{report.num_frames} others are in {target}")
