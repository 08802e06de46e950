"""Speed from file to file against x265 medium in the same run, and where the time goes.

Usage: python benchmarks/speed.py [CLIP ...] [--frames 96] [--threads 2] [--crf 28] [--no-profile]
       [--model dual-domain]

Without clips, camera rides over a photograph are made, 416x240 and 1280x720. Everything counts:
start of the program, loading of the model, reading, hashing, writing.
"""

import argparse
import cProfile
import importlib
import io
import pstats
import re
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from camera import write_camera_clip

from kinema.eval.anchor_runs import run_anchor
from kinema.eval.anchors import Anchor
from kinema.eval.clips import PreparedClip, prepare_clip
from kinema.eval.conditions import Conditions
from kinema.eval.model_runs import ModelRunner
from kinema.eval.results import RatePoint

SIZES = ((416, 240), (1280, 720))
MAX_SAMPLES = 2e7  # luma samples of a clip that are coded
ANCHOR, ANCHOR_QP = "x265-medium", 27
NUM_LINES = 16  # of a profile


def speeds(point: RatePoint, clip: PreparedClip) -> tuple[float, float]:
    """Frames per second of encoding and of decoding."""
    return (
        clip.info.num_frames / point.encode.seconds,
        clip.info.num_frames / point.decode.seconds,
    )


def without_start(
    runner: ModelRunner, clip: PreparedClip, conditions: Conditions, crf: float
) -> tuple[float, float]:
    """Frames per second between the first third of the clip and its end: no start-up in it."""
    third = max(1, clip.info.num_frames // 3)
    with tempfile.TemporaryDirectory(dir=clip.y4m.parent) as folder:
        part = prepare_clip(clip.y4m, Path(folder), third)
        whole = runner.run(clip, conditions, crf, extras=frozenset())
        short = runner.run(part, conditions, crf, extras=frozenset())
    frames = clip.info.num_frames - third
    return (
        frames / max(whole.encode.seconds - short.encode.seconds, 1e-9),
        frames / max(whole.decode.seconds - short.decode.seconds, 1e-9),
    )


def measure(runner: ModelRunner, clip: PreparedClip, conditions: Conditions, crf: float) -> None:
    """Print the rows of one clip."""
    ours = runner.run(clip, conditions, crf, extras=frozenset())
    encoder, _, speed = ANCHOR.partition("-")
    anchor = run_anchor(
        clip, Anchor(encoder, speed), conditions, ANCHOR_QP, extras=frozenset(), cache=None
    )
    steady = without_start(runner, clip, conditions, crf)
    size = f"{clip.info.width}x{clip.info.height}"
    rows = (("kinema", ours, speeds(ours, clip)), (ANCHOR, anchor, speeds(anchor, clip)))
    for name, point, (encode, decode) in rows:
        figures = f"{point.bpp:.3f} | {encode:.1f} | {decode:.1f}"
        print(f"| {size} | {name} | {figures} |", flush=True)
    print(
        f"| {size} | kinema, start left out | {ours.bpp:.3f} | {steady[0]:.1f} | {steady[1]:.1f} |"
    )
    ratios = [a / b for a, b in zip(speeds(ours, clip), speeds(anchor, clip), strict=True)]
    print(f"| {size} | kinema / {ANCHOR} | | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


def one_side_after_the_other() -> None:
    """Take the threads out of pipelines: a profiler sees one thread only."""
    for name in ("encoding", "decoding", "reader"):
        module = importlib.import_module(f"kinema.codec.{name}")
        if hasattr(module, "ahead"):
            module.ahead = lambda items, _depth: (item for item in items)


def profile(title: str, *arguments: str) -> None:
    """Run a command in this process under a profiler; print where its own time went."""
    from kinema.cli import app

    one_side_after_the_other()
    profiler = cProfile.Profile()
    with redirect_stdout(io.StringIO()):
        profiler.runcall(app, list(arguments), standalone_mode=False)
    stats = pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]  # not in its stubs
    total = sum(own for _, (_, _, own, _, _) in stats)
    rows = sorted(((own, calls, place) for place, (_, calls, own, _, _) in stats), reverse=True)
    print(f"\n{title}: {total:.2f} s in one process, pipelines in sequence, profiler included\n")
    print("| share | seconds | calls | where |\n|---|---|---|---|")
    for own, calls, place in rows[:NUM_LINES]:
        print(f"| {own / total:.1%} | {own:.2f} | {calls} | `{shown(place)}` |")


def shown(place: tuple[str, int, str]) -> str:
    """A function's name, with the file if it is ours."""
    file, line, name = place
    name = re.sub(r"^<built-in method (.*)>$", r"\1", name)
    name = re.sub(r"^<method '(\w+)' of '(.*)' objects>$", r"\2.\1", name)
    if "kinema" in Path(file).parts:
        return f"{Path(file).parent.name}/{Path(file).name}:{line} {name}"
    return name.split(" at 0x")[0]


def profile_clip(clip: PreparedClip, chosen: argparse.Namespace, folder: Path) -> None:
    coded, decoded = str(folder / "profile.kin"), str(folder / "profile.y4m")
    common = ("--threads", str(chosen.threads), "--overwrite")
    model = ("--model", chosen.model)
    size = f"{clip.info.width}x{clip.info.height}, {clip.info.num_frames} frames"
    # The first run pays for imports and for the model; the second shows the steady state.
    for title in ("encoding once, start included", "encoding again"):
        command = ("encode", str(clip.y4m), coded, "--crf", str(chosen.crf), *model, *common)
        profile(f"{title}, {size}", *command)
    profile(f"decoding, {size}", "decode", coded, decoded, *common)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--crf", type=float, default=28.0)
    parser.add_argument("--model", default="intra")
    parser.add_argument("--no-profile", action="store_true")
    chosen = parser.parse_args()
    inter = chosen.model != "intra"
    conditions = Conditions(
        structure="low-delay" if inter else "all-intra",
        intra_period=32 if inter else 1,
        num_frames=chosen.frames,
        num_threads=chosen.threads,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = chosen.clips
        for width, height in () if sources else SIZES:
            source = folder / f"camera{width}.mkv"
            num_frames = min(chosen.frames, int(MAX_SAMPLES / (width * height)))
            write_camera_clip(source, (width, height), num_frames)
            sources = [*sources, source]
        prepared = [prepare_clip(source, folder, chosen.frames) for source in sources]
        counts = ", ".join(f"{clip.info.name} {clip.info.num_frames}" for clip in prepared)
        print(f"{chosen.threads} threads, file to file, frames: {counts}\n", file=sys.stderr)
        print("| size | codec | bit/pixel | encoding, frames/s | decoding, frames/s |")
        print("|---|---|---|---|---|")
        for clip in prepared:
            measure(ModelRunner(model=chosen.model), clip, conditions, chosen.crf)
        if not chosen.no_profile:
            profile_clip(prepared[0], chosen, folder)


if __name__ == "__main__":
    main()
