"""Encoding and decoding with more and more workers: frames/s, and that the bytes stay the same.

Usage: python benchmarks/workers.py CLIP [--workers 1,2] [--frames 256] [--model intra]
       [--nodes 2 | --ray ADDRESS]

The clip is repeated until it has so many frames. What is timed are the two command lines, their
start included, with one thread per worker. The first line is one process without workers. With
--ray the workers are those of a cluster; --nodes starts one on this machine, of so many nodes with
a processor each.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kinema.eval.processes import ffmpeg_command, run_measured

KINEMA = (sys.executable, "-m", "kinema.cli")


def repeated(clip: str, folder: Path, num_frames: int) -> str:
    """The first frames of a clip that begins again whenever it ends, without loss."""
    path = str(folder / "source.mkv")
    command = ["-stream_loop", "-1", "-i", clip, "-frames:v", str(num_frames), "-an"]
    command += ["-c:v", "ffv1", path]
    subprocess.run(ffmpeg_command(*command), check=True, capture_output=True)
    return path


@contextlib.contextmanager
def cluster(num_nodes: int) -> Iterator[str]:
    """A Ray cluster on this machine; gives its address."""
    from ray.cluster_utils import Cluster  # here: only this needs Ray

    node = {"num_cpus": 1, "object_store_memory": 200 << 20}
    head = {**node, "include_dashboard": False}
    local = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(num_nodes - 1):
            local.add_node(**node)
        yield local.address
    finally:
        local.shutdown()


def timed(arguments: list[str], what: str) -> float:
    """Seconds of one command."""
    return run_measured([*KINEMA, *arguments, "--threads", "1", "--overwrite"], what=what).seconds


def measure(clip: str, folder: Path, divided: list[str], model: str) -> tuple[float, ...]:
    """Seconds of encoding and of decoding; the files are left in the folder."""
    coded, decoded = str(folder / "coded.kin"), str(folder / "decoded.y4m")
    encoding = timed(["encode", clip, coded, *divided, "--model", model], "encoding")
    return encoding, timed(["decode", coded, decoded, *divided], "decoding")


def compare(clip: str, folder: Path, chosen: argparse.Namespace, address: str | None) -> None:
    """Print a line for one process, and one for each number of workers."""
    print("| workers | encoding, frames/s | times | decoding, frames/s | times | bytes |")
    print("|---|---|---|---|---|---|")
    first: tuple[float, ...] = ()
    for workers in ("none", *chosen.workers.split(",")):
        (folder / workers).mkdir()
        divided = [] if workers == "none" else ["--workers", workers]
        divided += ["--ray", address] if divided and address else []
        seconds = measure(clip, folder / workers, divided, chosen.model)
        first = first or seconds
        figures = " | ".join(
            f"{chosen.frames / now:.2f} | {one / now:.2f}"
            for one, now in zip(first, seconds, strict=True)
        )
        same = all(
            (folder / workers / file).read_bytes() == (folder / "none" / file).read_bytes()
            for file in ("coded.kin", "decoded.y4m")
        )
        print(f"| {workers} | {figures} | {'same' if same else 'DIFFERENT'} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--model", default="intra")
    parser.add_argument("--ray", default=None)
    parser.add_argument("--nodes", type=int, default=0)
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    started = cluster(chosen.nodes) if chosen.nodes else contextlib.nullcontext(chosen.ray)
    with tempfile.TemporaryDirectory() as name, started as address:
        folder = Path(name)
        compare(repeated(chosen.clip, folder, chosen.frames), folder, chosen, address)


if __name__ == "__main__":
    main()
