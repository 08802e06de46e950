"""Time to the first frame, from the beginning, the middle and the end of short and long files.

Usage: python benchmarks/seeking.py [--minutes 1 60] [--size 416x240] [--model dual-domain]

The long files are short ones joined to themselves, which codes nothing anew. Measured on the clock,
in one process with one thread, after the model is loaded; "open" is opening the file and reading
its index. Each figure is the median of five, so run it on a machine that does nothing else.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

import kinema
from kinema.models.registry import LoadedModel
from kinema.video.frame import Frame, VideoFormat
from kinema.video.writing import create_video

RATE = 24  # frames per second
PART_FRAMES = 32
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
INTO_PERIOD = (0, PART_FRAMES // 2)  # frames after the intra frame
REPEATS = 5


@dataclass(frozen=True)
class Seek:
    """What one look at a place cost, in seconds on the clock."""

    open_s: float
    first_s: float


def moving_frames(width: int, height: int) -> Iterator[Frame]:
    """A texture that slides by."""
    down, right = np.indices((height, width + 4 * PART_FRAMES))
    wide = (128 + 60 * np.sin(down / 23) * np.cos(right / 9)).astype(np.uint8)
    chroma = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    for index in range(PART_FRAMES):
        yield Frame(wide[:, 4 * index : 4 * index + width].copy(), chroma, chroma, index, 1)


def make_part(folder: Path, size: str, model: LoadedModel) -> Path:
    """Code a second or so."""
    width, height = map(int, size.split("x"))
    rate = Fraction(RATE)
    video = VideoFormat(width=width, height=height, frame_rate=rate, time_base=1 / rate)
    with create_video(str(folder / "part.mkv"), video) as writer:
        for frame in moving_frames(width, height):
            writer.write(frame)
    kinema.encode(folder / "part.mkv", folder / "part.kin", model=model, crf=30)
    return folder / "part.kin"


def look(path: Path, place: float, into_period: int, model: LoadedModel) -> Seek:
    """Open a file and decode a frame near a place in it, 0 to 1."""
    started = time.perf_counter()
    with kinema.open(path, model=model, threads=1) as video:
        part = int(place * (video.num_frames // PART_FRAMES - 1))
        number = part * PART_FRAMES + into_period
        opened = time.perf_counter()
        next(video.seek_frame(number))
        return Seek(opened - started, time.perf_counter() - opened)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60])
    parser.add_argument("--size", default="416x240")
    parser.add_argument("--model", default="dual-domain")
    chosen = parser.parse_args()
    model = kinema.load_model(chosen.model)
    print("| file | place | after an intra frame | open, ms | first frame, ms |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="kinema-seeking-") as name:
        part = make_part(Path(name), chosen.size, model)
        for minutes in chosen.minutes:
            copies = max(1, round(minutes * 60 * RATE / PART_FRAMES))
            path = Path(name) / "long.kin"
            kinema.concat([part] * copies, path, overwrite=True)
            look(path, 0.0, 1, model)  # the first pass through the networks is slower
            for place, into_period in itertools.product(PLACES, INTO_PERIOD):
                seeks = [look(path, place, into_period, model) for _ in range(REPEATS)]
                open_ms = 1000 * statistics.median(seek.open_s for seek in seeks)
                first_ms = 1000 * statistics.median(seek.first_s for seek in seeks)
                where = f"{minutes:g} min | {place:.0%} | {into_period}"
                print(f"| {where} | {open_ms:.0f} | {first_ms:.0f} |", flush=True)


if __name__ == "__main__":
    main()
