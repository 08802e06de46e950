"""Peak memory of encoding and decoding a short and a long video: they should be alike.

Usage: python benchmarks/memory.py [--minutes 10] [--size 640x360] [--rate 24]

The videos are real files (H.264 in mp4, with moving synthetic content, made frame by frame); what
is measured are the two command lines, as the kernel counts their resident memory.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from kinema.eval.processes import ProcessCost, run_measured
from kinema.video.frame import Frame, VideoFormat
from kinema.video.writing import create_video

SHORT_S = 10
KINEMA = (sys.executable, "-m", "kinema.cli")


def moving_frames(video: VideoFormat, num_frames: int) -> Iterator[Frame]:
    """A texture that slides by, different in every frame, at next to no cost."""
    height, width = video.height, video.width
    down, right = np.indices((height, width + 256))
    wave = 128 + 60 * np.sin(down / 23) * np.cos(right * 2 * np.pi / 256 * 5)
    grain = np.random.default_rng(1).normal(0, 6, wave.shape)
    wide = np.clip(wave + grain, 16, 235).astype(np.uint8)
    chroma = np.full(video.chroma_shape, 128, np.uint8)
    for index in range(num_frames):
        start = index * 3 % 256
        tint = chroma + np.uint8(index % 16)
        yield Frame(wide[:, start : start + width].copy(), tint, chroma, index, 1)


def write_video(path: Path, video: VideoFormat, num_frames: int) -> None:
    with create_video(str(path), video, overwrite=True) as writer:
        for frame in moving_frames(video, num_frames):
            writer.write(frame)


def measure(source: Path, folder: Path, threads: int) -> tuple[ProcessCost, ProcessCost]:
    """Encode and decode; return what each cost."""
    coded, decoded = folder / "coded.kin", folder / "decoded.mp4"
    settings = ("--threads", str(threads), "--overwrite")
    encode = run_measured([*KINEMA, "encode", str(source), str(coded), *settings], what="encode")
    decode = run_measured([*KINEMA, "decode", str(coded), str(decoded), *settings], what="decode")
    return encode, decode


def megabytes(cost: ProcessCost) -> float:
    return (cost.peak_bytes or 0) / 1e6


def report(rows: list[tuple[float, ProcessCost, ProcessCost]]) -> None:
    print("| video | encoding, peak MB | decoding, peak MB | encoding, s | decoding, s |")
    print("|---|---|---|---|---|")
    for seconds, encode, decode in rows:
        peaks = f"{megabytes(encode):.0f} | {megabytes(decode):.0f}"
        print(f"| {seconds:g} s | {peaks} | {encode.seconds:.0f} | {decode.seconds:.0f} |")
    (_, *first), (_, *last) = rows[0], rows[-1]
    growth = [megabytes(b) / megabytes(a) - 1 for a, b in zip(first, last, strict=True)]
    print(f"\nlong against short: encoding {growth[0]:+.1%}, decoding {growth[1]:+.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of the long video")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--rate", type=int, default=24, help="frames per second")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    width, height = map(int, chosen.size.split("x"))
    video = VideoFormat(
        width=width,
        height=height,
        frame_rate=Fraction(chosen.rate),
        time_base=Fraction(1, chosen.rate),
    )
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seconds in (SHORT_S, chosen.minutes * 60):
            begin = time.perf_counter()
            source = folder / "source.mp4"
            write_video(source, video, round(seconds * chosen.rate))
            made = time.perf_counter() - begin
            print(f"{seconds:g} s of {chosen.size} made in {made:.0f} s", file=sys.stderr)
            rows.append((seconds, *measure(source, folder, chosen.threads)))
    report(rows)


if __name__ == "__main__":
    main()
