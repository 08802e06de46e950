"""A Ray cluster works on the chunks of a sequence: they go there, what comes of them returns.

Nothing is expected of the other machines but this version of Kinema; they see none of our files.
"""

import contextlib
import importlib
import io
import logging
import secrets
import signal
import socket
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from kinema.codec.workers import Job, Outcome, Result, Run, Task, portable
from kinema.errors import ConfigError, WorkerError

CONNECT_SECONDS = 10.0
_opened: dict[str, Run] = {}  # in a process of the cluster: what it is ready to do


class Cluster:
    """A crew on a Ray cluster, which finds a place for every job by itself.

    Args:
        task: what to do.
        address: of the cluster: "auto", HOST:PORT or ray://HOST:PORT.
        workers: jobs under way at once; None for as many as the cluster has room for.
        threads: processors that a job takes.
        device: "cuda" makes a job take a GPU too.

    Raises:
        ConfigError: Ray is not installed, or no machine has so many processors.
        WorkerError: the cluster cannot be reached.
    """

    def __init__(
        self, task: Task, address: str, workers: int | None, *, threads: int, device: str
    ) -> None:
        self._jobs: dict[Any, Job] = {}  # by what Ray promises
        self._ray = _import_ray()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            _connect(self._ray, address)
        gpus = int(device == "cuda")
        try:
            room = _room(self._ray, threads, gpus)
        except BaseException:
            self.close()
            raise
        self.count = workers or room
        self._key = secrets.token_hex(8)
        self._task = self._ray.put(task)
        options = {"num_cpus": threads, "num_gpus": gpus, "max_retries": 0}
        self._work = self._ray.remote(**options)(work_remotely)

    @property
    def num_busy(self) -> int:
        """How many jobs are under way."""
        return len(self._jobs)

    def give(self, job: Job) -> None:
        """Send a chunk to the cluster."""
        self._jobs[self._work.remote(self._key, self._task, job.source.read_bytes())] = job

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Wait until a job under way comes to its end, and give one that has."""
        ready, _ = self._ray.wait(list(self._jobs), num_returns=1, timeout=timeout_s)
        return [self._outcome(reference, self._jobs.pop(reference)) for reference in ready]

    def close(self) -> None:
        """Stop all work, and leave the cluster."""
        for reference in self._jobs:
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)
        self._jobs.clear()
        if self._is_ours:
            self._ray.shutdown()

    def _outcome(self, reference: object, job: Job) -> Outcome:
        try:
            data, result, error = self._ray.get(reference)
        except self._ray.exceptions.RayError as lost:
            return Outcome(job, death=_first_line(lost))
        if error is None:
            job.target.write_bytes(data)
        return Outcome(job, result, error)


def work_remotely(key: str, task: Task, data: bytes) -> tuple[bytes, Result, Exception | None]:
    """Work on a chunk, in a process of the cluster.

    Args:
        key: names the task; its models stay loaded for further chunks.
        task: what to do.
        data: the chunk.

    Returns:
        what comes of it as bytes and as a result, or an error.
    """
    try:
        if key not in _opened:
            _opened.clear()
            _opened[key] = task.open()
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "chunk"
            result = _opened[key](io.BytesIO(data), target)
            return target.read_bytes(), result, None
    except Exception as error:  # noqa: BLE001  # raised again where the chunk comes from
        return b"", None, portable(error)


def _import_ray() -> ModuleType:
    try:
        importlib.import_module("ray.exceptions")
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError("--ray needs Ray: pip install kinema[cluster]") from error


def _connect(ray: ModuleType, address: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        _check_listening(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise WorkerError(f"Ray cluster {address}: {_first_line(error)}") from error
    finally:
        with contextlib.suppress(ValueError):  # only the main thread may; Ray does so there only
            signal.signal(signal.SIGTERM, before)


def _check_listening(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


def _room(ray: ModuleType, threads: int, gpus: int) -> int:
    """How many jobs the machines of the cluster can do at once."""
    rooms = []
    for node in ray.nodes():
        has = node["Resources"] if node["Alive"] else {}
        room = int(has.get("CPU", 0)) // threads
        rooms.append(min(room, int(has.get("GPU", 0))) if gpus else room)
    if not sum(rooms):
        needed = f"{threads} processors" + " and a GPU" * gpus
        raise ConfigError(f"no machine of the Ray cluster has {needed}; see --threads")
    return sum(rooms)


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
