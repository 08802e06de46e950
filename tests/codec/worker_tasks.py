"""Tasks for tests of workers: processes import this file, so it must be found on their path."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from kinema.codec.tasks import DecodeTask, EncodeTask


@dataclass(frozen=True)
class Reverse:
    """Writes what it reads backwards; dies of, or refuses, what it is told to."""

    deaths: int = 0  # how many workers die of the chunk b"fatal"
    tally: Path | None = None  # counts them, across processes

    def open(self):
        return self._run

    def _run(self, file, target):
        data = file.read()
        if data == b"refuse":
            raise ValueError("will not")
        if data == b"fatal" and count_up(self.tally) <= self.deaths:
            target.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        target.write_bytes(data[::-1])
        return {"pid": os.getpid(), "length": len(data)}


def count_up(path):
    """Append to a file; give how often that was done."""
    with path.open("ab") as file:
        file.write(b"x")
    return path.stat().st_size


class _Dying:
    """Mixed into a task: the first worker that is half-way through a chunk is killed."""

    def open(self):
        run = super().open()

        def half(file, target):
            result = run(file, target)  # its file is complete, but nobody has heard of it yet
            if count_up(target.parent.parent / "tally") == 1:
                target.write_bytes(target.read_bytes()[:-7])
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return half


class DyingEncodeTask(_Dying, EncodeTask):
    pass


class DyingDecodeTask(_Dying, DecodeTask):
    pass


@dataclass(frozen=True)
class DyingClusterTask(EncodeTask):
    """Kills the first process that works on a chunk, wherever that is."""

    tally: str = ""

    def open(self):
        run = super().open()

        def die(file, target):
            if count_up(Path(self.tally)) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return run(file, target)

        return die
