"""Decode one file under many kinds of arithmetic; every one must give the same MD5.

Usage: python benchmarks/exactness.py [FILE.kin | VIDEO] [--quick]

Each line is a process of its own: the instruction sets that oneDNN and torch may use, threads,
memory layout, fp32 or fp64, and CUDA where there is a device. A Markdown table and a verdict are
printed; the exit status is 1 if two MD5s differ.
"""

import argparse
import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

CODED_FRAMES = 8  # of a VIDEO
ISA = ("SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_AMX")
CAPABILITY = ("default", "avx2", "avx512")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One kind of arithmetic."""

    isa: str = "AVX2"  # ONEDNN_MAX_CPU_ISA
    capability: str = "avx2"  # ATEN_CPU_CAPABILITY
    threads: int = 2
    dtype: str = "fp32"
    layout: str = "channels-last"
    device: str = "cpu"

    def environment(self) -> dict[str, str]:
        """Variables that a process reads when torch starts."""
        names = {"ONEDNN_MAX_CPU_ISA": self.isa, "ATEN_CPU_CAPABILITY": self.capability}
        names["OMP_WAIT_POLICY"] = "PASSIVE"  # 2 threads beside other programs: many times faster
        return os.environ | names | {"OMP_NUM_THREADS": str(self.threads)}

    def row(self) -> tuple[str, ...]:
        """Cells of the table."""
        isa = (self.isa, self.capability) if self.device == "cpu" else ("-", "-")
        return (*isa, str(self.threads), self.dtype, self.layout, self.device)


QUICK = (
    Setting(isa="SSE41", capability="default", threads=1),
    Setting(isa="AVX512_CORE", capability="avx512", threads=2, layout="contiguous"),
    Setting(isa="AVX2", capability="avx2", threads=2, dtype="fp64"),
)


def full_matrix() -> Iterator[Setting]:
    for isa, capability, threads, dtype in itertools.product(
        ISA, CAPABILITY, (1, 2), ("fp32", "fp64")
    ):
        yield Setting(isa=isa, capability=capability, threads=threads, dtype=dtype)
    for dtype in ("fp32", "fp64"):
        yield Setting(layout="contiguous", dtype=dtype)
    if has_cuda():
        for dtype, layout in itertools.product(("fp32", "fp64"), ("channels-last", "contiguous")):
            yield Setting(dtype=dtype, layout=layout, device="cuda")


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def decode_here(path: Path, setting: Setting, tiny: str | None) -> str:
    """Decode in this process; return the MD5 of all planes."""
    import torch

    if setting.dtype == "fp64":  # whatever the decoder holds in fp32, it then holds in fp64
        torch.Tensor.float = torch.Tensor.double
    if setting.layout == "contiguous":
        torch.channels_last = torch.contiguous_format
    import kinema

    options = {"device": setting.device, "threads": setting.threads}
    digest = hashlib.md5(usedforsecurity=False)
    with kinema.open(path, model=load_tiny(tiny, path), **options) as reader:
        for frame in reader:
            for plane in frame.planes:
                digest.update(plane.tobytes())
        if reader.lost:
            return f"damaged: {reader.lost[0]}"
    return digest.hexdigest()


def load_tiny(folder: str | None, path: Path) -> object:
    """The tiny conformance model of a file, for tests; None is the shipped one that it names."""
    if folder is None:
        return None
    sys.path.insert(0, folder)
    from tiny import load_for

    return load_for(path)


def decode_apart(path: Path, setting: Setting, tiny: str | None = None) -> str:
    """Decode in a process of its own; return the MD5, or what went wrong."""
    fields = [f"{name}={value}" for name, value in vars(setting).items()]
    command = [sys.executable, __file__, str(path), "--child", *fields]
    command += ["--tiny", tiny] if tiny else []
    done = subprocess.run(
        command, env=setting.environment(), capture_output=True, text=True, check=False
    )
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return lines[-1] if lines else f"status {done.returncode}"


def print_matrix(path: Path, settings: list[Setting]) -> bool:
    """Print the table; tell whether all MD5s are equal."""
    names = ("oneDNN", "ATen", "threads", "numbers", "layout", "device", "MD5 of the pictures")
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)
    digests = set()
    for setting in settings:
        digest = decode_apart(path, setting)
        digests.add(digest)
        print(f"| {' | '.join(setting.row())} | `{digest}` |", flush=True)
    is_same = len(digests) == 1
    verdict = "all equal" if is_same else f"{len(digests)} DIFFERENT RESULTS"
    print(f"\n{len(settings)} decodings: {verdict}")
    return is_same


def coded(source: Path, folder: Path) -> Path:
    """The file itself if it is a .kin file; else its first frames, encoded."""
    if source.suffix == ".kin":
        return source
    target = folder / "coded.kin"
    command = [sys.executable, "-m", "kinema.cli", "encode", str(source), str(target)]
    subprocess.run([*command, "--frames", str(CODED_FRAMES), "--no-audio"], check=True)
    return target


def parse_setting(fields: list[str]) -> Setting:
    values = dict(field.split("=", 1) for field in fields)
    return Setting(**values | {"threads": int(values["threads"])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, nargs="?", default=Path("demo/clip.kin"))
    parser.add_argument("--quick", action="store_true", help="a few settings only")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(decode_here(chosen.source, parse_setting(chosen.child), chosen.tiny))
        return
    settings = list(QUICK) if chosen.quick else list(full_matrix())
    Console(stderr=True).print(f"{len(settings)} decodings, each in a process of its own")
    with tempfile.TemporaryDirectory() as folder:
        if not print_matrix(coded(chosen.source, Path(folder)), settings):
            sys.exit(1)


if __name__ == "__main__":
    main()
