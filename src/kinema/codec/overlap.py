"""Two sides of a pipeline at once: one thread makes items while another one uses them."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 0.1  # how soon a full queue notices that nobody will empty it


class _End:
    """Stands for the end of the items, which an error may have brought."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], depth: int) -> Generator[T]:
    """Give the same items in the same order, made by a thread of their own.

    Closing the generator, or an exception where it is used, waits for the item under way and ends
    the thread; use `contextlib.closing`.

    Args:
        items: used by the other thread alone, until this generator ends.
        depth: how many items may wait, 1 or more; memory is bounded by it.

    Raises:
        whatever making an item raises, after the items before it.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(depth)
    stopped = threading.Event()
    worker = threading.Thread(target=_make, args=(items, waiting, stopped), daemon=True)
    worker.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        worker.join()


def _make(items: Iterable[T], waiting: "queue.Queue[T | _End]", stopped: threading.Event) -> None:
    end = _End()
    try:
        for item in items:
            _put(item, waiting, stopped)
            if stopped.is_set():
                return
    except BaseException as error:  # noqa: BLE001  # raised again where the items are used
        end = _End(error)
    _put(end, waiting, stopped)


def _put(item: "T | _End", waiting: "queue.Queue[T | _End]", stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            return waiting.put(item, timeout=_LOOK_SECONDS)
        except queue.Full:
            continue
    return None
