"""Start other programs and measure them: time on the clock and peak memory, file to file."""

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from kinema.errors import ConfigError, VideoError

_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCost:
    """What one run of a program cost.

    Attributes:
        seconds: from start to end on the clock, everything included.
        peak_bytes: largest resident memory; None where the system does not tell.
    """

    seconds: float
    peak_bytes: int | None


def run_measured(
    command: Sequence[str], *, what: str, accepted: tuple[int, ...] = (0,)
) -> ProcessCost:
    """Run `command` to its end and return its cost.

    Args:
        command: program and arguments; its standard output is discarded.
        what: how the error message calls it, such as "x265-medium encoder".
        accepted: exit statuses that are no failure.

    Raises:
        VideoError: it could not be started or ended with another status.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "cost.json"
        launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(report), *command]
        done = subprocess.run(  # noqa: S603  # no shell; the arguments are ours
            launch, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        cost = json.loads(report.read_text()) if report.exists() else {}
    status = cost.pop("status", "unknown")
    if status not in accepted:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise VideoError(f"{what} ended with status {status}, expected 0: {lines[-1]}")
    return ProcessCost(**cost)


def import_extra(module_name: str) -> ModuleType:
    """Import a module of the extra `bench`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"the module {module_name} is missing, which the benchmark needs: "
            "pip install kinema[bench]"
        ) from error


@cache
def ffmpeg_path() -> str:
    """Return the path of the ffmpeg program that imageio-ffmpeg ships or is told to use.

    Raises:
        ConfigError: imageio-ffmpeg is missing or finds no program.
    """
    try:
        return str(import_extra("imageio_ffmpeg").get_ffmpeg_exe())
    except RuntimeError as error:
        raise ConfigError(f"imageio-ffmpeg finds no ffmpeg program: {error}") from error


@cache
def ffmpeg_version() -> str:
    """Return the version of that ffmpeg, the third word of its first line."""
    shown = subprocess.run([ffmpeg_path(), "-version"], capture_output=True, text=True, check=True)  # noqa: S603  # our own path
    return shown.stdout.split(maxsplit=3)[2]


def ffmpeg_command(*arguments: str) -> list[str]:
    """Return a quiet ffmpeg command line that overwrites its output and asks nothing."""
    return [ffmpeg_path(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
