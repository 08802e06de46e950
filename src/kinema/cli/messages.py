"""What commands tell: progress, notes and refusals."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from kinema.errors import BitstreamError, ConfigError, KinemaError

if TYPE_CHECKING:
    from kinema.codec.decoding import DecodeReport

FAILED = 2  # exit status
MAX_REASONS = 3  # places of damage that a message spells out


def note(line: str) -> None:
    """Tell in one line what was converted, dropped or chosen."""
    print(f"note: {line}", file=sys.stderr)


def explain(error: Exception) -> str | None:
    """What to tell about an error; None for a bug of ours, which shows its traceback."""
    if isinstance(error, (KinemaError, OSError)):
        return str(error)
    is_torchs = isinstance(error, RuntimeError) and "allocate" in str(error)
    if is_torchs or isinstance(error, MemoryError):
        return f"out of memory: {error}"
    if type(error).__module__.partition(".")[0] not in ("click", "typer"):
        return None
    return str(error.format_message() if hasattr(error, "format_message") else error)


def tell_failure(message: str) -> None:
    """Say in one line what went wrong."""
    print(f"kinema: {' '.join(message.split())}", file=sys.stderr)


def print_figures(figures: Mapping[str, object], line: str, *, as_json: bool) -> None:
    """Give what came of a command on standard output: a line, or one JSON object."""
    print(json.dumps(figures) if as_json else line)


def refuse_damage(source: Path, report: "DecodeReport", rest: str) -> None:
    """Fail where something is lost: say what, and what the rest is.

    Raises:
        BitstreamError: the report tells of damage.
    """
    if report.lost:
        more = len(report.lost) - MAX_REASONS
        shown = report.lost[:MAX_REASONS] + [f"{more} more damaged places"] * (more > 0)
        raise BitstreamError(f"{source}: {'; '.join(shown)}; {rest}")


def refuse_terminal(name: str, stream: TextIO) -> None:
    """Pictures are not for the eyes of a terminal, nor come from its keys."""
    if name == "-" and stream.isatty():
        raise ConfigError("- stands for Y4M through a pipe, but a terminal is at its other end")


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int | None, int], None]]:
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
