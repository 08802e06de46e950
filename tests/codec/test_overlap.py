"""A thread that works ahead changes nothing but time."""

import threading
import time
from contextlib import closing

import pytest

from kinema.codec.overlap import ahead


def running() -> int:
    return threading.active_count()


def test_items_come_in_order():
    before = running()
    assert list(ahead(range(100), 3)) == list(range(100))
    assert list(ahead([], 1)) == []
    assert running() == before


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise KeyError("gone")

    got = []
    with pytest.raises(KeyError, match="gone"):
        got.extend(ahead(items(), 8))
    assert got == [1, 2]


def test_no_more_items_are_made_than_may_wait():
    made = []

    def items():
        for i in range(50):
            made.append(i)
            yield i

    with closing(ahead(items(), 2)) as waiting:
        next(waiting)
        time.sleep(0.05)
        assert len(made) <= 1 + 2 + 1


def test_leaving_early_ends_the_thread():
    before = running()
    with closing(ahead(iter(int, 1), 2)) as items:
        assert next(items) == 0
        assert running() == before + 1
    assert running() == before


def test_nothing_runs_before_the_first_item_is_asked_for():
    before = running()
    ahead(range(3), 1).close()
    assert running() == before
