"""What tests of chunks share: models that worker processes can load, and a crew without processes.

Loaded by path; the fixtures become those of the module that takes them.
"""

import importlib
import sys
from pathlib import Path

import pytest

from kinema.codec import chunked_decoding, chunked_encoding, chunks
from kinema.codec.workers import Outcome

FOLDER = Path(__file__).parent


@pytest.fixture
def importable(monkeypatch):
    """Put the files of this folder where worker processes find them; import one by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("toy_video", "worker_tasks")
    yield lambda name: importlib.import_module(name)
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def short_chunks(monkeypatch):
    """Chunks of three frames or a little more."""
    for module in (chunked_encoding, chunked_decoding):
        monkeypatch.setattr(module, "chunk_length", lambda *_: 3)
    assert chunks.MAX_LENGTH > 3


@pytest.fixture
def no_processes(monkeypatch):
    """Do the work here, the newest job first; give the crews that were opened."""
    crews = []

    def open_crew(task, division, note):
        crews.append(Here(task, division.workers or 1))
        return crews[-1]

    for module in (chunked_encoding, chunked_decoding):
        monkeypatch.setattr(module, "open_crew", open_crew)
    return crews


class Here:
    """A crew without processes."""

    def __init__(self, task, count):
        self.count, self._run, self._jobs = count, task.open(), []
        self.most_inputs, self.done = 0, []
        self.is_closed = False
        self.fail_at = None  # number of the chunk at which the work is interrupted

    @property
    def num_busy(self):
        return len(self._jobs)

    def give(self, job):
        assert len(self._jobs) < self.count
        self._jobs.append(job)

    def outcomes(self, timeout_s):
        if timeout_s == 0:
            return []
        job = self._jobs.pop()
        self.most_inputs = max(self.most_inputs, len(list(job.source.parent.glob("*.input"))))
        if job.number == self.fail_at:
            raise KeyboardInterrupt
        with job.source.open("rb") as file:
            result = self._run(file, job.target)
        self.done.append(job.number)
        return [Outcome(job, result)]

    def close(self):
        self.is_closed = True
