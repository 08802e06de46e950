"""Processes that work on the chunks of a sequence: each does one at a time, and may die of it."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from kinema.errors import WorkerError

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

Result: TypeAlias = object  # what a worker tells about a chunk; it can be pickled
Run: TypeAlias = Callable[[BinaryIO, Path], Result]  # reads a chunk, writes what comes of it
_STOP_SECONDS = 5.0
_PRELOAD = ["kinema.codec.encoder", "kinema.codec.decoder"]  # once, for all processes to come


class Task(Protocol):
    """What is to be done with every chunk; it can be pickled."""

    def open(self) -> Run:
        """Get ready, once per worker: load models and the like."""


@dataclass(frozen=True, slots=True)
class Job:
    """One chunk."""

    number: int
    source: Path  # holds the chunk; written before the job is given away
    target: Path  # to be written by the worker
    frames: str  # names them in messages


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job: a result, an error, or the death of its worker."""

    job: Job
    result: Result = None
    error: Exception | None = None
    death: str | None = None  # how the worker ended; nothing is wrong with the job itself


class Crew(Protocol):
    """Some workers."""

    @property
    def count(self) -> int:
        """How many."""

    @property
    def num_busy(self) -> int:
        """How many jobs are under way; fewer than `count` leave room for another one."""

    def give(self, job: Job) -> None:
        """Give a job to a free worker."""

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Wait until a job under way comes to its end, and give all that have."""

    def close(self) -> None:
        """Stop all work."""


@dataclass(slots=True)
class _Worker:
    """One process, as its parent sees it."""

    process: BaseProcess
    connection: Connection
    job: Job | None = None


class Processes:
    """A crew of processes on this machine, started as they are needed.

    A process that has died is replaced. They end with their parent, whatever it dies of.

    Args:
        task: what to do.
        count: how many processes, 1 or more.
    """

    def __init__(self, task: Task, count: int) -> None:
        self._task, self.count = pickle.dumps(task), count
        self._context = _start_method()
        self._workers: list[_Worker] = []

    @property
    def num_busy(self) -> int:
        """How many jobs are under way."""
        return sum(worker.job is not None for worker in self._workers)

    def give(self, job: Job) -> None:
        """Give a job to a free worker, which is started if need be."""
        free = next((worker for worker in self._workers if worker.job is None), None)
        worker = free or self._start()
        worker.job = job
        with contextlib.suppress(OSError):  # it is dead, and `outcomes` finds that
            worker.connection.send(job)

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Wait until a job under way comes to its end, and give all that have."""
        busy = [worker for worker in self._workers if worker.job is not None]
        ready = wait([worker.connection for worker in busy], timeout_s)
        return [
            self._end(worker, worker.job)
            for worker in busy
            if worker.job is not None and worker.connection in ready
        ]

    def close(self) -> None:
        """Stop all work."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            _bury(worker.process)
        self._workers.clear()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        with contextlib.suppress(OSError):
            ours.send_bytes(self._task)
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _end(self, worker: _Worker, job: Job) -> Outcome:
        """Take what a worker has to say, or see that it has died."""
        worker.job = None
        try:
            result, error = worker.connection.recv()
        except (EOFError, OSError):
            self._workers.remove(worker)
            worker.connection.close()
            return Outcome(job, death=_bury(worker.process))
        return Outcome(job, result, error)


def serve(connection: Connection) -> None:
    """Work until the parent hangs up: a task first, then one job after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run: Run | None = None
    with contextlib.suppress(EOFError, OSError):
        task: Task = pickle.loads(connection.recv_bytes())  # noqa: S301  # from our parent
        while True:
            job: Job = connection.recv()
            try:
                run = run or task.open()
                with job.source.open("rb") as file:
                    answer: tuple[Result, Exception | None] = (run(file, job.target), None)
            except Exception as error:  # noqa: BLE001  # raised again by the parent
                answer = (None, portable(error))
            connection.send(answer)


def _end_with_parent() -> None:
    """End at once when the parent is gone: what comes of the chunk must not meet later work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def portable(error: Exception) -> Exception:
    """Give an error that survives the way to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    except Exception:  # noqa: BLE001  # whatever its class does not foresee
        return WorkerError(f"{type(error).__name__}: {error}")
    return error


def described_exit(code: int | None) -> str:
    """Tell how a process ended."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"ended with status {code}"


def usable_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _bury(process: BaseProcess) -> str:
    """See a process end; tell how it did."""
    process.join(_STOP_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return described_exit(process.exitcode)


def _start_method() -> "SpawnContext | ForkServerContext":
    """New processes come from one that has nothing but our modules: quick, and free of threads."""
    methods: Sequence[str] = multiprocessing.get_all_start_methods()
    if "forkserver" not in methods:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context
