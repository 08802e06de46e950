"""Where a sequence is divided for many workers: stretches that begin with an intra frame."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kinema.errors import ConfigError

T = TypeVar("T")
CHUNK_SAMPLES = 1 << 25  # luma samples of a chunk, about: 16 pictures of 1920x1080, 48 MB
MAX_LENGTH = 32  # frames: more would leave workers without work at the end


def chunk_length(width: int, height: int) -> int:
    """How many frames of a size a chunk holds at least, but for the last one."""
    return min(MAX_LENGTH, max(1, CHUNK_SAMPLES // (width * height)))


def check_divisible(intra_period: int, refresh: int) -> None:
    """Refuse sequences that have one intra frame only.

    Raises:
        ConfigError: with what would help.
    """
    if intra_period == -1 and not refresh:
        raise ConfigError(
            "intra period -1: workers divide a video at its intra frames, and there is only one; "
            "give an intra period or --refresh"
        )


@dataclass(slots=True)
class Piece(Generic[T]):
    """A batch of items, and where in its chunk it stands."""

    chunk: int  # number of the chunk, from 0
    is_first: bool  # the chunk begins with it
    first_frame: int  # how many frames of the sequence come before the chunk
    items: list[T] = field(default_factory=list)
    lead: T | None = None  # the intra frame before the chunk, if its frames refer to it


def in_chunks(
    batches: Iterable[list[T]],
    frame_type: type,
    is_intra: Callable[[int, T], bool],
    length: int,
    *,
    is_after: bool = False,
    is_between: Callable[[T], bool] = lambda _: False,
) -> Iterator[Piece[T]]:
    """Divide a stream of batches. No batch is divided: what is coded at once stays together.

    Where it is divided depends on the items alone, not on the number of workers.

    Args:
        batches: from `in_batches`; those of sequences with P frames hold one frame at most.
        frame_type: what makes an item a frame.
        is_intra: told a frame's number in the stream and the frame.
        length: frames of a chunk, at least, but for the last one.
        is_after: whether chunks begin after an intra frame instead of with it. It then closes the
            chunk before and opens the next one, whose frames refer to it.
        is_between: told a frame: whether it belongs to a group that the I frame before it closes.

    Returns:
        the batches, in order.
    """
    chunk, first_frame, num_frames = -1, 0, 0
    lead: T | None = None  # the intra frame that closes what came before
    for batch in batches:
        frames = [item for item in batch if isinstance(item, frame_type)]
        is_inner = not frames or is_between(frames[0])
        is_intra_now = not is_inner and is_intra(num_frames, frames[0])
        may_begin = (lead is not None) if is_after else is_intra_now
        is_long = num_frames - first_frame >= length
        is_first = chunk < 0 or (is_long and may_begin and not is_inner)
        if is_first:
            chunk, first_frame = chunk + 1, num_frames
        yield Piece(chunk, is_first, first_frame, batch, lead if is_first else None)
        if is_after and not is_inner:
            lead = frames[0] if is_intra_now else None
        num_frames += len(frames)


def frames_named(first: int, count: int) -> str:
    """Name the frames of a chunk for messages."""
    return f"frame {first}" if count == 1 else f"frames {first} to {first + count - 1}"
