"""Who works on the chunks of a sequence: processes of this machine, or a Ray cluster."""

from typing import Protocol

from kinema.codec.workers import Crew, Processes, Task, usable_processors
from kinema.errors import ConfigError
from kinema.video.frame import Note


class Division(Protocol):
    """Settings that tell how work is divided."""

    @property
    def workers(self) -> int | None:
        """How many."""

    @property
    def ray(self) -> str | None:
        """Address of a Ray cluster."""

    @property
    def threads(self) -> int | None:
        """Of each worker."""

    @property
    def device(self) -> str:
        """What they compute on."""


def check_division(workers: int | None, ray: str | None) -> None:
    """Refuse what cannot be.

    Raises:
        ConfigError: with what was expected.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers} workers; at least 1 is needed")
    if ray is not None and not ray:
        raise ConfigError("an empty address of a Ray cluster; expected auto or HOST:PORT")


def open_crew(task: Task, division: Division, note: Note) -> Crew:
    """Get workers ready; close the crew in the end.

    Raises:
        ConfigError: Ray is not installed, or the cluster has no room for a worker.
        WorkerError: the cluster cannot be reached.
    """
    threads = division.threads or 1
    if division.ray is not None:
        from kinema.codec.cluster import Cluster  # here: it is an extra, and takes a second

        return Cluster(
            task, division.ray, division.workers, threads=threads, device=division.device
        )
    count, processors = division.workers or 1, usable_processors()
    if count * threads > max(processors, threads):
        note(
            f"{count} workers of {threads} thread(s) each share {processors} processors; fewer "
            "threads (--threads 1) are faster"
        )
    return Processes(task, count)
