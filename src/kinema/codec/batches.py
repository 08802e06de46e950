"""Frames coded several at once, while everything keeps its place in the file."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
BATCH_SAMPLES = 420_000  # luma samples coded at once: four pictures of 416x240
MAX_LENGTH = 16  # frames: more would only make the first one late
RUN_LENGTH = 32  # frames, from one intra frame to the next: the usual period
MAX_WAITING = 256  # items of all kinds that wait for their batch to fill up


def batch_length(width: int, height: int) -> int:
    """How many pictures of a size are worth coding at once."""
    return min(MAX_LENGTH, max(1, BATCH_SAMPLES // (width * height)))


def window_length(num_lanes: int) -> int:
    """How many frames are worth having before those of so many runs are decoded at once."""
    return 1 if num_lanes == 1 else min(MAX_WAITING, RUN_LENGTH * num_lanes)


def in_batches(items: Iterable[T], frame_type: type, length: int) -> Iterator[list[T]]:
    """Cut a stream of frames and audio packets into lists.

    Args:
        items: frames, and other things between them.
        frame_type: what makes an item a frame.
        length: frames per list, at most.

    Returns:
        lists that together hold every item, in order; none is empty.
    """
    batch: list[T] = []
    num_frames = 0
    for item in items:
        batch.append(item)
        num_frames += isinstance(item, frame_type)
        if num_frames == length or len(batch) == MAX_WAITING or not num_frames:
            yield batch
            batch, num_frames = [], 0
    if batch:
        yield batch
