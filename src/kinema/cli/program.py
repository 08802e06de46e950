"""The program `kinema`: its commands, and how every one of them ends."""

import atexit
import functools
import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from kinema import __version__
from kinema.cli import coding, editing, inspection, research
from kinema.cli.messages import FAILED, explain, tell_failure
from kinema.errors import BitstreamError, TruncatedError

app = typer.Typer(
    name="kinema",
    help="A learned video codec that decodes bit-exactly on every machine.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
INTERRUPTED = 130  # what typer makes of Ctrl-C
_SELDOM = (100_000, 50, 100)  # thresholds of the garbage collector: imports leave no garbage
COMMANDS = (
    coding.encode,
    coding.decode,
    editing.cut,
    editing.concat,
    inspection.info,
    inspection.verify,
    inspection.models,
    research.bench,
    research.train,
)


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


def _not_aborting(command: Callable[..., None]) -> Callable[..., None]:
    """Keep typer from taking a truncated file, an `EOFError`, for the end of a user's input."""

    @functools.wraps(command)
    def call(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except TruncatedError as error:
            raise BitstreamError(str(error)) from error

    return call


for _command in COMMANDS:
    app.command()(_not_aborting(_command))


def main() -> None:
    """Run a command; whatever a user can cause ends in one line and exit status 2."""
    gc.set_threshold(*_SELDOM)
    atexit.register(gc.freeze)  # spares the interpreter a last look at every object of torch's
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = app(standalone_mode=False, prog_name="kinema") or 0
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        if _is_broken_pipe(error):  # the reader of our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        line = explain(error)
        if line is None:
            raise
        _fail(line)
    if status == INTERRUPTED:
        _fail("interrupted")
    sys.exit(FAILED if status else 0)


def _interrupt(*_: object) -> NoReturn:
    """Clean up after `kill` as after Ctrl-C."""
    raise KeyboardInterrupt


def _is_broken_pipe(error: BaseException | None) -> bool:
    return error is not None and (
        isinstance(error, BrokenPipeError) or _is_broken_pipe(error.__cause__)
    )


def _fail(message: str) -> NoReturn:
    tell_failure(message)
    sys.exit(FAILED)
