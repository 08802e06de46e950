"""The frames of a chunk on their way to a worker: written batch by batch, read likewise."""

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kinema.codec.chunks import Piece
from kinema.codec.look_ahead import SourceFrame, SourceItem
from kinema.video.frame import Frame, Item


class ChunkInput:
    """The frames of one chunk, on their way to a worker."""

    def __init__(self, path: Path, piece: Piece[SourceItem]) -> None:
        self.path, self.number, self.first_frame = path, piece.chunk, piece.first_frame
        self.num_frames = 0
        sources = [item for item in piece.items if isinstance(item, SourceFrame)]
        period_start = sources[0].period_start if sources else 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._file = path.open("wb")
        self._hash.update(repr(period_start).encode())
        pickle.dump((piece.first_frame, period_start), self._file)

    @property
    def digest(self) -> str:
        """Names the content: pictures, times and audio."""
        return self._hash.hexdigest()

    def add(self, items: list[Item], *, is_cut: bool = False) -> None:
        """Append a batch, and whether a scene begins with it."""
        self._hash.update(repr(is_cut).encode())
        for item in items:
            if isinstance(item, Frame):
                self.num_frames += 1
                content: list[Any] = [np.ascontiguousarray(plane) for plane in item.planes]
                fields: tuple[int, ...] = (item.pts, item.duration)
            else:
                content, fields = [item.data], (item.pts, item.duration, item.dts, item.track)
            for data in (repr(fields).encode(), *content):
                self._hash.update(data)
        pickle.dump((items, is_cut), self._file, protocol=pickle.HIGHEST_PROTOCOL)

    def close(self) -> None:
        """Complete the file."""
        pickle.dump([], self._file)
        self._file.close()


def read_chunk(file: BinaryIO) -> tuple[int, int, Iterator[tuple[list[Item], bool]]]:
    """Read what `ChunkInput` wrote.

    Returns:
        how many frames come before the chunk, the number of the frame from which intra periods
        count, and batches, each with whether a scene begins with it.
    """
    first_frame, period_start = _load(file)
    return first_frame, period_start, iter(lambda: _load(file), [])


def _load(file: BinaryIO) -> Any:  # noqa: ANN401  # a number, then lists of items
    return pickle.load(file)  # noqa: S301  # the parent wrote it, into a folder of ours
