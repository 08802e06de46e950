"""Gives chunks to workers and takes what comes of them; a worker's death costs a second try."""

from collections import deque
from collections.abc import Callable

from kinema.codec.workers import Crew, Job, Outcome, Result
from kinema.errors import WorkerError
from kinema.video.frame import Note

MAX_TRIES = 3  # of a chunk whose workers die
_LOOK_SECONDS = 0.5  # how soon Ctrl-C is noticed on systems that do not interrupt waiting


class Dispatcher:
    """Jobs in, results out, in whatever order they are ready.

    Args:
        crew: who works; closing it is up to its owner.
        on_done: told every job that is done, and its result.
        note: told every death of a worker.

    Raises (all methods that wait):
        WorkerError: the workers of one chunk died several times.
        Exception: whatever a worker raised.
    """

    def __init__(self, crew: Crew, on_done: Callable[[Job, Result], None], note: Note) -> None:
        self._crew, self._on_done, self._note = crew, on_done, note
        self._waiting: deque[Job] = deque()
        self._tries: dict[int, int] = {}

    @property
    def num_unfinished(self) -> int:
        """Jobs that wait or are under way."""
        return len(self._waiting) + self._crew.num_busy

    def add(self, job: Job, limit: int) -> None:
        """Take one more job; wait until no more than `limit` are unfinished."""
        self._waiting.append(job)
        self._assign()
        while self.num_unfinished > limit:
            self.step()

    def poll(self) -> None:
        """Take what is done, without waiting."""
        if self._crew.num_busy:
            self.step(0.0)

    def finish(self) -> None:
        """Wait until all is done."""
        while self.num_unfinished:
            self.step()

    def step(self, timeout_s: float = _LOOK_SECONDS) -> None:
        """Wait a moment for something to be done."""
        for outcome in self._crew.outcomes(timeout_s):
            self._take(outcome)
        self._assign()

    def _take(self, outcome: Outcome) -> None:
        job = outcome.job
        if outcome.error is not None:
            raise outcome.error
        if outcome.death is None:
            self._tries.pop(job.number, None)
            self._on_done(job, outcome.result)
            return
        tries = self._tries[job.number] = self._tries.get(job.number, 0) + 1
        if tries == MAX_TRIES:
            raise WorkerError(f"{job.frames}: {tries} workers died of them; {outcome.death}")
        self._note(f"{job.frames}: the worker died ({outcome.death}); another one tries again")
        self._waiting.appendleft(job)

    def _assign(self) -> None:
        while self._waiting and self._crew.num_busy < self._crew.count:
            self._crew.give(self._waiting.popleft())
