"""Encoding and decoding with more and more workers: frames/s, and that the bytes stay the same.

Usage: python benchmarks/workers.py CLIP [--workers 1,2] [--frames 256] [--model intra] [--ray auto]

What is timed are the two command lines, their start included, with one thread per worker. The
first line is one process without workers. With --ray the workers are those of a cluster.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from kinema.eval.processes import run_measured

KINEMA = (sys.executable, "-m", "kinema.cli")


def timed(arguments: list[str], what: str) -> float:
    """Seconds of one command."""
    return run_measured([*KINEMA, *arguments, "--threads", "1", "--overwrite"], what=what).seconds


def measure(clip: str, folder: Path, divided: list[str], options: list[str]) -> tuple[float, ...]:
    """Seconds of encoding and of decoding; the files are left in the folder."""
    coded, decoded = str(folder / "coded.kin"), str(folder / "decoded.y4m")
    encoding = timed(["encode", clip, coded, *divided, *options, "--no-audio"], "encoding")
    return encoding, timed(["decode", coded, decoded, *divided], "decoding")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--model", default="intra")
    parser.add_argument("--ray", default=None)
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options = ["--model", chosen.model, "--frames", str(chosen.frames)]
    print("| workers | encoding, frames/s | times | decoding, frames/s | times | bytes |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        first: tuple[float, ...] = ()
        for workers in ("none", *chosen.workers.split(",")):
            folder = Path(name) / workers
            folder.mkdir()
            divided = [] if workers == "none" else ["--workers", workers]
            divided += ["--ray", chosen.ray] if divided and chosen.ray else []
            seconds = measure(chosen.clip, folder, divided, options)
            first = first or seconds
            figures = " | ".join(
                f"{chosen.frames / now:.2f} | {one / now:.2f}"
                for one, now in zip(first, seconds, strict=True)
            )
            same = all(
                (folder / file).read_bytes() == (Path(name) / "none" / file).read_bytes()
                for file in ("coded.kin", "decoded.y4m")
            )
            print(f"| {workers} | {figures} | {'same' if same else 'DIFFERENT'} |", flush=True)


if __name__ == "__main__":
    main()
