"""Encodes a video in chunks, by many workers; the file is the one that a single process writes.

The parent reads the video and writes its frames, chunk by chunk, where workers find them: so any
source will do, a pipe too. What workers make of them stays until the whole file is complete.
"""

import hashlib
import itertools
import pickle
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from kinema import __version__
from kinema.bitstream.container import ContainerWriter
from kinema.bitstream.headers import SequenceHeader
from kinema.codec.assembly import assemble
from kinema.codec.batches import batch_length, in_batches
from kinema.codec.chunk_store import ChunkStore, Facts, Value
from kinema.codec.chunks import Piece, check_divisible, chunk_length, frames_named, in_chunks
from kinema.codec.crews import open_crew
from kinema.codec.dispatch import Dispatcher
from kinema.codec.encoder import Encoder
from kinema.codec.encoding import (
    DEPTH,
    EncodeReport,
    EncodeSettings,
    Progress,
    open_source,
    until_frame,
)
from kinema.codec.excerpt import Shift
from kinema.codec.headers import CODEC_LIMITS, packed_audio, sequence_header
from kinema.codec.overlap import ahead
from kinema.codec.structure import SequencePlan, make_plan
from kinema.codec.workers import Crew, Job, Result, Run
from kinema.errors import WeightsMismatchError
from kinema.models.registry import LoadedModel
from kinema.parts.quality import crf_to_units
from kinema.video.frame import AudioPacket, Frame, Item, Note
from kinema.video.quality import psnr_planes
from kinema.video.reading import VideoReader


def encode_in_chunks(
    source: str, target: Path, settings: EncodeSettings, *, progress: Progress, note: Note
) -> EncodeReport:
    """Encode a video with `settings.workers` or on the cluster `settings.ray`; see `encode_file`.

    Finished chunks stay beside the target until it is complete; `settings.resume` goes on with
    those of an earlier attempt.

    Raises:
        KinemaError: as `encode_file`; also workers that die again and again.
    """
    model = settings.load_model()
    plan = make_plan(model.structures, settings.structure, settings.intra_period, settings.refresh)
    check_divisible(plan.intra_period, plan.refresh)
    threads = settings.threads or torch.get_num_threads()
    settings = replace(settings, threads=threads)
    with (
        open_source(source, settings, note) as video,
        ChunkStore(
            target, _manifest(source, settings, model), resume=settings.resume, note=note
        ) as store,
    ):
        encoding = _ChunkedEncoding(video, settings, store, progress, note)
        header, count = encoding.run(source, model, plan)
        report = assemble(target, header, store, count, settings)
        store.complete()
    return report


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """What a worker does: frames of a chunk in, a `.kin` file of their packets out.

    Attributes:
        settings: those of the encoding, with the number of threads spelled out.
        header: of the whole sequence.
        version: of the parent; another machine may have another one.
    """

    settings: EncodeSettings
    header: SequenceHeader
    version: str = __version__

    def open(self) -> Run:
        """Load the model.

        Raises:
            WeightsMismatchError: this machine has another version or other weights.
        """
        encoder = self.settings.open_encoder()
        if (self.version, self.header.weights_fingerprint) != (
            __version__,
            encoder.model.fingerprint,
        ):
            raise WeightsMismatchError(
                f"a worker has kinema {__version__} with weights "
                f"{encoder.model.fingerprint.hex()}; needed: {self.version} with "
                f"{self.header.weights_fingerprint.hex()}"
            )
        return partial(self._code, encoder)

    def _code(self, encoder: Encoder, file: BinaryIO, target: Path) -> Facts:
        psnr: list[tuple[float, float, float]] = []
        encoder.go_to(_load(file))
        with ContainerWriter(target, self.header, overwrite=True, limits=CODEC_LIMITS) as writer:
            while items := _load(file):
                psnr += self._write(writer, encoder, items)
        return {"psnr": psnr}

    def _write(
        self, writer: ContainerWriter, encoder: Encoder, items: list[Item]
    ) -> Iterator[tuple[float, float, float]]:
        """Code the frames among some items at once, write all in order, give PSNR of Y, U and V."""
        frames = [item for item in items if isinstance(item, Frame)]
        pictures = iter(encoder.encode_batch(frames, crf=self.settings.crf))
        for item in items:
            if isinstance(item, AudioPacket):
                writer.write_audio(packed_audio(item))
                continue
            picture = next(pictures)
            writer.write_frame(picture.header, picture.payload)
            quality = psnr_planes(item, picture.frame)
            yield quality.y, quality.u, quality.v


class _ChunkedEncoding:
    """The parent's side."""

    def __init__(
        self,
        video: VideoReader,
        settings: EncodeSettings,
        store: ChunkStore,
        progress: Progress,
        note: Note,
    ) -> None:
        self._video, self._settings, self._store = video, settings, store
        self._progress, self._note = progress, note
        self._shift = Shift(0, video.format.time_base, video.audio_tracks)
        self._inputs: dict[int, _Input] = {}  # of chunks that are not finished
        self._done = self._size_bytes = 0

    def run(
        self, source: str, model: LoadedModel, plan: SequencePlan
    ) -> tuple[SequenceHeader, int]:
        """Have all chunks coded; give the header of the sequence and how many chunks it has."""
        video = self._video
        size = (video.format.width, video.format.height)
        length = 1 if plan.structure.lifetime else batch_length(*size)
        with nullcontext(iter(video)) if source == "-" else closing(ahead(video, DEPTH)) as items:
            batches = in_batches(items, Frame, length)
            early, first = until_frame(batches, source)
            if self._settings.start_s:
                self._shift = Shift(first.pts, video.format.time_base, video.audio_tracks)
            units, shifted = crf_to_units(self._settings.crf), self._shift.frame(first)
            header = sequence_header(video.format, video.audio_tracks, model, shifted, units, plan)
            pieces = in_chunks(
                itertools.chain(early, batches),
                Frame,
                lambda index, _: not plan.frame(index).references,
                chunk_length(*size),
            )
            task = EncodeTask(self._settings, header)
            with closing(open_crew(task, self._settings, self._note)) as crew:
                return header, self._code(pieces, crew)

    def _code(self, pieces: Iterator[Piece[Item]], crew: Crew) -> int:
        """Hand out chunk by chunk; give their number."""
        dispatcher = Dispatcher(crew, self._finish, self._note)
        limit = 2 * crew.count  # chunks whose frames lie on disk: as many again wait for a worker
        current: _Input | None = None
        for piece in pieces:
            if piece.is_first:
                self._hand_out(current, dispatcher, limit)
                current = _Input(self._store.input_path(piece.chunk), piece)
            if current is not None:
                current.add(list(self._shift.items(iter(piece.items))))
            dispatcher.poll()
        self._hand_out(current, dispatcher, limit)
        dispatcher.finish()
        return 0 if current is None else current.number + 1

    def _hand_out(self, chunk: "_Input | None", dispatcher: Dispatcher, limit: int) -> None:
        if chunk is None:
            return
        chunk.close()
        self._inputs[chunk.number] = chunk
        facts = self._store.facts(chunk.number)
        frames = frames_named(chunk.first_frame, chunk.num_frames)
        path = self._store.path(chunk.number)
        job = Job(chunk.number, chunk.path, path, frames)
        if facts is not None and facts.get("source") == chunk.digest:
            self._count(job)
            return
        if facts is not None:
            self._note(f"{frames}: the source has changed; they are coded anew")
        dispatcher.add(job, limit)

    def _finish(self, job: Job, result: Result) -> None:
        facts = cast(Facts, result)
        self._store.finish(job.number, {"source": self._inputs[job.number].digest, **facts})
        self._count(job)

    def _count(self, job: Job) -> None:
        """Take note of a finished chunk."""
        self._done += self._inputs.pop(job.number).num_frames
        self._size_bytes += job.target.stat().st_size
        job.source.unlink()
        self._progress(self._done, self._video.num_frames_hint, self._size_bytes)


class _Input:
    """The frames of one chunk, on their way to a worker."""

    def __init__(self, path: Path, piece: Piece[Item]) -> None:
        self.path, self.number, self.first_frame = path, piece.chunk, piece.first_frame
        self.num_frames = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._file = path.open("wb")
        pickle.dump(piece.first_frame, self._file)

    @property
    def digest(self) -> str:
        """Names the content: pictures, times and audio."""
        return self._hash.hexdigest()

    def add(self, items: list[Item]) -> None:
        """Append a batch."""
        for item in items:
            if isinstance(item, Frame):
                self.num_frames += 1
                content: list[Any] = [np.ascontiguousarray(plane) for plane in item.planes]
                fields: tuple[int, ...] = (item.pts, item.duration)
            else:
                content, fields = [item.data], (item.pts, item.duration, item.dts, item.track)
            for data in (repr(fields).encode(), *content):
                self._hash.update(data)
        pickle.dump(items, self._file, protocol=pickle.HIGHEST_PROTOCOL)

    def close(self) -> None:
        """Complete the file."""
        pickle.dump([], self._file)
        self._file.close()


def _load(file: BinaryIO) -> Any:  # noqa: ANN401  # a number, then lists of items
    return pickle.load(file)  # noqa: S301  # the parent wrote it, into a folder of ours


def _manifest(source: str, settings: EncodeSettings, model: LoadedModel) -> dict[str, Value]:
    """Everything that the bytes of chunks depend on, but for the frames themselves."""
    path = Path(source)
    return {
        "version": __version__,
        "torch": torch.__version__,
        "model": model.name,
        "weights": model.fingerprint.hex(),
        "structure": settings.structure,
        "intra period": settings.intra_period,
        "refresh": settings.refresh,
        "crf": settings.crf,
        "start": settings.start_s,
        "frames": settings.num_frames,
        "audio": settings.with_audio,
        "device": settings.device,
        "threads": settings.threads,
        "a source of bytes": path.stat().st_size if path.is_file() else None,
    }
