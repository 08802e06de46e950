"""Decodes a file in chunks, by many workers; the pictures come in order, as from one process.

The parent reads packets and keeps count of damage; workers turn packets into pictures, which lie
on disk until their turn comes.
"""

import pickle
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from kinema.bitstream.headers import FrameType
from kinema.bitstream.packets import AudioPacketData, FramePacket, Packet
from kinema.codec.batches import batch_length, in_batches
from kinema.codec.chunks import Piece, chunk_length, frames_named, in_chunks
from kinema.codec.crews import open_crew
from kinema.codec.dispatch import Dispatcher
from kinema.codec.excerpt import Span
from kinema.codec.headers import unpacked_audio
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.codec.reordering import Reordering
from kinema.codec.tasks import DecodeTask, Losses
from kinema.codec.workers import Crew, Job, Result, usable_processors
from kinema.errors import FileError
from kinema.models.registry import LoadedModel
from kinema.video.frame import AudioPacket, Frame, Note, Plane


@dataclass(slots=True)
class _Chunk:
    """A stretch of the file, as the parent keeps it."""

    number: int
    first_frame: int
    lead: Packet | None  # the intra frame before it, if frames refer to it
    batches: list[list[Packet]] = field(default_factory=list)
    losses: Losses | None = None  # None: not decoded yet

    @property
    def frames(self) -> list[list[FramePacket]]:
        """Batches of what workers get."""
        picked = ([p for p in batch if isinstance(p, FramePacket)] for batch in self.batches)
        return [batch for batch in picked if batch]


class ChunkedReader(KinReader):
    """A `.kin` file that workers decode; see `KinReader`.

    Args:
        source: path of the file.
        settings: what to do, and who does it.
        model: instead of the shipped one.
        folder: where pictures may lie until their turn comes; None: where temporary files go.
        note: told of workers that died.
    """

    def __init__(
        self,
        source: Path,
        *,
        settings: DecodeSettings,
        model: LoadedModel | None,
        folder: Path | None,
        note: Note,
    ) -> None:
        super().__init__(source, settings=settings, model=model)
        usual = 1 if settings.ray else max(1, usable_processors() // (settings.workers or 1))
        self._division = replace(settings, threads=settings.threads or usual)
        self._task = DecodeTask(self._division, self.header, model or self._model.name)
        self._folder, self._note = folder, note
        self._stack = ExitStack()

    def close(self) -> None:
        """Stop the workers and close the file."""
        self._stack.close()
        super().close()

    def _items(
        self,
        span: Span | None,
        *,
        with_audio: bool,
        in_bulk: bool = False,  # workers always do
    ) -> Iterator[Frame | AudioPacket]:
        del in_bulk
        if span is None:
            return
        self._stack.close()  # an earlier pass may have ended anywhere
        size = (self.header.width, self.header.height)
        length = 1 if self._structure.predicts else batch_length(*size)
        packets = self._packets(span, with_audio=with_audio)
        pieces = in_chunks(
            in_batches(packets, FramePacket, length),
            FramePacket,
            _is_intra,
            chunk_length(*size),
            is_after=self._structure.reorders,
            is_between=_is_between,
        )
        crew = self._stack.enter_context(closing(open_crew(self._task, self._division, self._note)))
        work = _Work(crew, self._stack.enter_context(_temporary(self._folder)), self._note)
        shown = self._reordering(span)
        for chunk in work.decoded(_whole(pieces)):
            yield from self._replay(chunk, work, span, shown)
        yield from shown.rest()

    def _replay(
        self, chunk: _Chunk, work: "_Work", span: Span, shown: Reordering
    ) -> Iterator[Frame | AudioPacket]:
        """Give what a chunk holds; frames when they may be shown."""
        losses = chunk.losses or {}
        place = 0
        with work.result_path(chunk.number).open("rb") as file:
            for packet in (packet for batch in chunk.batches for packet in batch):
                if isinstance(packet, AudioPacketData):
                    yield unpacked_audio(packet)
                    continue
                header, frame = packet.header, None
                if place in losses:
                    self._losses.cannot_decode(packet, losses[place])
                else:
                    planes = _read_planes(file, self.header.width, self.header.height)
                    if span.has_frame(header.pts):
                        frame = Frame(*planes, header.pts, header.duration)
                yield from shown.take(header, frame)
                place += 1
                work.poll()
                self._check_open()


class _Work:
    """Chunks under way, and those that wait for their turn."""

    def __init__(self, crew: Crew, folder: Path, note: Note) -> None:
        self._folder = folder
        self._limit = 2 * crew.count
        self._dispatcher = Dispatcher(crew, self._finish, note)
        self._chunks: deque[_Chunk] = deque()

    def decoded(self, chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
        """Have chunks decoded; give them in order. Pictures of a few lie on disk at a time."""
        for chunk in chunks:
            self._give(chunk)
            while len(self._chunks) > self._limit or self._is_ready():
                yield from self._take()
        while self._chunks:
            yield from self._take()

    def result_path(self, number: int) -> Path:
        """Where the pictures of a decoded chunk lie."""
        return self._folder / f"{number}.planes"

    def poll(self) -> None:
        """Keep the workers busy."""
        self._dispatcher.poll()

    def _is_ready(self) -> bool:
        return bool(self._chunks) and self._chunks[0].losses is not None

    def _give(self, chunk: _Chunk) -> None:
        source = self._folder / f"{chunk.number}.input"
        batches = chunk.frames
        lead = [] if chunk.lead is None else [chunk.lead]
        source.write_bytes(pickle.dumps((lead, batches)))
        self._chunks.append(chunk)
        frames = frames_named(chunk.first_frame, sum(map(len, batches)))
        job = Job(chunk.number, source, self.result_path(chunk.number), frames)
        self._dispatcher.add(job, self._limit + 1)

    def _take(self) -> Iterator[_Chunk]:
        while not self._is_ready():
            self._dispatcher.step()
        chunk = self._chunks.popleft()
        yield chunk
        self.result_path(chunk.number).unlink()

    def _finish(self, job: Job, result: Result) -> None:
        job.source.unlink()
        chunk = next(chunk for chunk in self._chunks if chunk.number == job.number)
        chunk.losses = cast(Losses, result)


@contextmanager
def _temporary(parent: Path | None) -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix=".kinema-", dir=parent)
    except OSError as error:
        raise FileError(f"{parent}: cannot be written ({error.strerror})") from error
    with folder as name:
        yield Path(name)


def _whole(pieces: Iterator[Piece[Packet]]) -> Iterator[_Chunk]:
    """Put the batches of each chunk together; they hold coded pictures and are small."""
    chunk: _Chunk | None = None
    for piece in pieces:
        if piece.is_first:
            if chunk is not None:
                yield chunk
            chunk = _Chunk(piece.chunk, piece.first_frame, piece.lead)
        if chunk is not None:
            chunk.batches.append(piece.items)
    if chunk is not None:
        yield chunk


def _is_intra(_: int, packet: Packet) -> bool:
    return isinstance(packet, FramePacket) and packet.header.frame_type == FrameType.I


def _is_between(packet: Packet) -> bool:
    return isinstance(packet, FramePacket) and packet.header.frame_type == FrameType.B


def _read_planes(file: BinaryIO, width: int, height: int) -> tuple[Plane, Plane, Plane]:
    shapes = [(height, width)] + [((height + 1) // 2, (width + 1) // 2)] * 2
    y, u, v = (
        np.frombuffer(file.read(rows * columns), np.uint8).reshape(rows, columns)
        for rows, columns in shapes
    )
    return y, u, v
