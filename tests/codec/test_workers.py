"""Processes that work, fail and die; each is a real one, and is killed for real."""

import importlib
import multiprocessing
import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kinema.codec.crews import check_division, open_crew
from kinema.codec.dispatch import MAX_TRIES, Dispatcher
from kinema.codec.encoding import EncodeSettings
from kinema.codec.workers import Job, Processes, described_exit, portable
from kinema.errors import ConfigError, MissingReferenceError, WorkerError


@pytest.fixture
def tasks(monkeypatch):
    """The module that workers import too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield importlib.import_module("worker_tasks")
    sys.modules.pop("worker_tasks", None)


def job_of(folder, number, data):
    source = folder / f"{number}.in"
    source.write_bytes(data)
    return Job(number, source, folder / f"{number}.out", f"chunk {number}")


def run(task, folder, chunks, count=2):
    """Work on all chunks: what was written, results, notes."""
    results, notes = {}, []
    with closing(Processes(task, count)) as crew:
        dispatcher = Dispatcher(
            crew, lambda job, result: results.update({job.number: result}), notes.append
        )
        for number, data in enumerate(chunks):
            dispatcher.add(job_of(folder, number, data), limit=3)
            assert dispatcher.num_unfinished <= 3
            assert crew.num_busy <= count
            dispatcher.poll()
        dispatcher.finish()
    written = [(folder / f"{number}.out").read_bytes() for number in range(len(chunks))]
    return written, results, notes


def test_every_chunk_is_worked_on_once_by_few_processes(tmp_path, tasks):
    chunks = [bytes([number]) * 3 + b"end" for number in range(7)]
    written, results, notes = run(tasks.Reverse(), tmp_path, chunks)
    assert written == [chunk[::-1] for chunk in chunks]
    assert {result["length"] for result in results.values()} == {6}
    assert 1 <= len({result["pid"] for result in results.values()}) <= 2
    assert not notes
    assert not [p for p in multiprocessing.active_children() if p.is_alive()]


def test_a_killed_worker_costs_another_try_of_its_chunk(tmp_path, tasks):
    task = tasks.Reverse(deaths=2, tally=tmp_path / "tally")
    written, results, notes = run(task, tmp_path, [b"abc", b"fatal", b"def", b"ghi"])
    assert written == [b"cba", b"lataf", b"fed", b"ihg"]
    assert len(results) == 4
    assert len(notes) == 2
    assert all("chunk 1: the worker died (killed by SIGKILL)" in note for note in notes)


def test_a_chunk_that_kills_its_workers_ends_the_work(tmp_path, tasks):
    task = tasks.Reverse(deaths=99, tally=tmp_path / "tally")
    with pytest.raises(WorkerError, match=rf"chunk 1: {MAX_TRIES} workers died.*SIGKILL"):
        run(task, tmp_path, [b"abc", b"fatal", b"def"])
    assert (tmp_path / "tally").stat().st_size == MAX_TRIES
    assert not [p for p in multiprocessing.active_children() if p.is_alive()]


def test_a_worker_killed_between_two_chunks_is_replaced(tmp_path, tasks):
    with closing(Processes(tasks.Reverse(), 1)) as crew:
        results, notes = [], []
        dispatcher = Dispatcher(crew, lambda _, result: results.append(result), notes.append)
        dispatcher.add(job_of(tmp_path, 0, b"abc"), 0)
        os.kill(results[0]["pid"], signal.SIGKILL)
        dispatcher.add(job_of(tmp_path, 1, b"def"), 0)
        assert results[1]["pid"] != results[0]["pid"]
        assert (tmp_path / "1.out").read_bytes() == b"fed"


def test_an_error_of_a_worker_is_raised_and_not_tried_again(tmp_path, tasks):
    with pytest.raises(ValueError, match="will not"):
        run(tasks.Reverse(), tmp_path, [b"abc", b"refuse", b"def"])


def test_errors_survive_the_way_between_processes():
    error = portable(MissingReferenceError(4, 3))
    assert isinstance(error, MissingReferenceError)
    assert (error.display_index, error.missing) == (4, 3)

    class Local(Exception):  # noqa: N818  # another process cannot know it
        pass

    assert str(portable(Local("why"))) == "Local: why"


def test_ends_of_processes_have_names():
    assert described_exit(-signal.SIGSEGV) == "killed by SIGSEGV"
    assert described_exit(1) == "ended with status 1"
    assert described_exit(None) == "ended with status None"


def test_crews_that_cannot_be_are_refused(tasks):
    with pytest.raises(ConfigError, match="0 workers"):
        check_division(0, None)
    with pytest.raises(ConfigError, match="address"):
        check_division(None, "")


def test_too_many_threads_are_pointed_out(tasks, monkeypatch):
    monkeypatch.setattr("kinema.codec.crews.usable_processors", lambda: 4)
    notes = []
    for workers, threads in ((4, 1), (2, 2), (1, 8), (3, 2)):
        settings = EncodeSettings(workers=workers, threads=threads)
        open_crew(tasks.Reverse(), settings, notes.append).close()
    assert len(notes) == 1
    assert notes[0].startswith("3 workers of 2 thread(s)")
