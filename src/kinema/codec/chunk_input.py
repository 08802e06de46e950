"""The frames of a chunk on their way to a worker: written batch by batch, read likewise."""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kinema.codec.chunks import Piece
from kinema.codec.look_ahead import SourceFrame, SourceItem
from kinema.video.frame import Frame, Item


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a worker gets.

    Attributes:
        first_frame: display index of the first frame of the chunk.
        period_start: display index from which intra periods count.
        lead: the frame before it, where frames of the chunk refer to it; or none.
        batches: of frames and audio packets, each with whether a scene begins with it.
    """

    first_frame: int
    period_start: int
    lead: list[Frame]
    batches: Iterator[tuple[list[Item], bool]]


class ChunkInput:
    """The frames of one chunk, on their way to a worker."""

    def __init__(self, path: Path, piece: Piece[SourceItem]) -> None:
        self.path, self.number, self.first_frame = path, piece.chunk, piece.first_frame
        self.num_frames = 0
        sources = [item for item in piece.items if isinstance(item, SourceFrame)]
        lead = [item for item in (piece.lead,) if isinstance(item, SourceFrame)]
        period_start = next((source.period_start for source in (*lead, *sources)), 0)
        self._hash = hashlib.blake2b(digest_size=16)
        self._file = path.open("wb")
        self._hash.update(repr(period_start).encode())
        before = [source.frame for source in lead]
        self._digest(before)
        pickle.dump((piece.first_frame, period_start, before), self._file)

    @property
    def digest(self) -> str:
        """Names the content: pictures, times and audio."""
        return self._hash.hexdigest()

    def add(self, items: list[Item], *, is_cut: bool = False) -> None:
        """Append a batch, and whether a scene begins with it."""
        self._hash.update(repr(is_cut).encode())
        self.num_frames += sum(isinstance(item, Frame) for item in items)
        self._digest(items)
        pickle.dump((items, is_cut), self._file, protocol=pickle.HIGHEST_PROTOCOL)

    def close(self) -> None:
        """Complete the file."""
        pickle.dump([], self._file)
        self._file.close()

    def _digest(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Frame):
                content: list[Any] = [np.ascontiguousarray(plane) for plane in item.planes]
                fields: tuple[int, ...] = (item.pts, item.duration)
            else:
                content, fields = [item.data], (item.pts, item.duration, item.dts, item.track)
            for data in (repr(fields).encode(), *content):
                self._hash.update(data)


def read_chunk(file: BinaryIO) -> Chunk:
    """Read what `ChunkInput` wrote; batches as they are asked for."""
    first_frame, period_start, lead = _load(file)
    return Chunk(first_frame, period_start, lead, iter(lambda: _load(file), []))


def _load(file: BinaryIO) -> Any:  # noqa: ANN401  # a number, then lists of items
    return pickle.load(file)  # noqa: S301  # the parent wrote it, into a folder of ours
