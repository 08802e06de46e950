"""Encodes a video in chunks, by many workers; the file is the one that a single process writes.

The parent reads the video and writes its frames, chunk by chunk, where workers find them: so any
source will do, a pipe too. What workers make of them stays until the whole file is complete.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import cast

import torch

from kinema.bitstream.headers import SequenceHeader
from kinema.codec.assembly import assemble
from kinema.codec.batches import batch_length, in_batches
from kinema.codec.chunk_input import ChunkInput
from kinema.codec.chunk_store import ChunkStore, Facts, Value
from kinema.codec.chunks import Piece, check_divisible, chunk_length, frames_named, in_chunks
from kinema.codec.crews import open_crew
from kinema.codec.dispatch import Dispatcher
from kinema.codec.encode_report import EncodeReport
from kinema.codec.encoding import (
    DEPTH,
    EncodeSettings,
    Progress,
    open_source,
    until_frame,
)
from kinema.codec.excerpt import Shift
from kinema.codec.headers import sequence_header
from kinema.codec.look_ahead import SourceFrame, SourceItem, foresee, in_periods
from kinema.codec.overlap import ahead
from kinema.codec.structure import SequencePlan, make_plan
from kinema.codec.tasks import EncodeTask
from kinema.codec.workers import Crew, Job, Result
from kinema.errors import FileError, KinemaError
from kinema.models.registry import LoadedModel
from kinema.parts.quality import crf_to_units
from kinema.version import VERSION
from kinema.video.frame import Note
from kinema.video.reading import VideoReader

WITHOUT_EFFECT = (
    "model",
    "overwrite",
    "workers",
    "ray",
    "resume",
    "keep_chunks",
)  # settings; the model has a name


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
        _open_store(source, target, settings, model, note) as store,
    ):
        try:
            encoding = _ChunkedEncoding(video, settings, store, progress, note)
            header, count = encoding.run(source, model, plan)
        except KinemaError:
            raise
        except OSError as error:
            raise FileError(f"{store.folder}: {error.strerror}") from error
        report = assemble(target, header, store, count, settings)
        store.complete()
    return report


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
        self._inputs: dict[int, ChunkInput] = {}  # of chunks that are not finished
        self._done = self._size_bytes = 0

    def run(
        self, source: str, model: LoadedModel, plan: SequencePlan
    ) -> tuple[SequenceHeader, int]:
        """Have all chunks coded; give the header of the sequence and how many chunks it has."""
        video = self._video
        size = (video.format.width, video.format.height)
        predicts = plan.structure.predicts
        length = 1 if predicts else batch_length(*size)
        seen = in_periods(foresee(video, with_scenes=predicts and self._settings.scene_cuts))
        with nullcontext(seen) if source == "-" else closing(ahead(seen, DEPTH)) as items:
            batches = in_batches(items, SourceFrame, length)
            early, first = until_frame(batches, source)
            if self._settings.start_s:
                self._shift = Shift(first.pts, video.format.time_base, video.audio_tracks)
            units, shifted = crf_to_units(self._settings.crf), self._shift.frame(first)
            header = sequence_header(video.format, video.audio_tracks, model, shifted, units, plan)
            pieces = in_chunks(
                itertools.chain(early, batches),
                SourceFrame,
                partial(_is_intra, plan),
                chunk_length(*size),
                is_after=plan.structure.reorders,
            )
            task = EncodeTask(self._settings, header)
            with closing(open_crew(task, self._settings, self._note)) as crew:
                return header, self._code(pieces, crew)

    def _code(self, pieces: Iterator[Piece[SourceItem]], crew: Crew) -> int:
        """Hand out chunk by chunk; give their number."""
        dispatcher = Dispatcher(crew, self._finish, self._note)
        limit = 2 * crew.count  # chunks whose frames lie on disk: as many again wait for a worker
        current: ChunkInput | None = None
        for piece in pieces:
            if piece.is_first:
                self._hand_out(current, dispatcher, limit)
                current = ChunkInput(self._store.input_path(piece.chunk), piece)
            if current is not None:
                sources = [item for item in piece.items if isinstance(item, SourceFrame)]
                items = [i.frame if isinstance(i, SourceFrame) else i for i in piece.items]
                is_cut = any(source.is_cut for source in sources)  # which comes alone
                current.add(list(self._shift.items(iter(items))), is_cut=is_cut)
            dispatcher.poll()
        self._hand_out(current, dispatcher, limit)
        dispatcher.finish()
        return 0 if current is None else current.number + 1

    def _hand_out(self, chunk: "ChunkInput | None", dispatcher: Dispatcher, limit: int) -> None:
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


def _open_store(
    source: str, target: Path, settings: EncodeSettings, model: LoadedModel, note: Note
) -> ChunkStore:
    manifest = _manifest(source, settings, model)
    return ChunkStore(
        target, manifest, resume=settings.resume, keep=settings.keep_chunks, note=note
    )


def _is_intra(plan: SequencePlan, index: int, item: SourceItem) -> bool:
    return plan.is_intra(index, item.period_start if isinstance(item, SourceFrame) else 0)


def _manifest(source: str, settings: EncodeSettings, model: LoadedModel) -> dict[str, Value]:
    """Everything that the bytes of chunks depend on, but for the frames themselves."""
    path = Path(source)
    decided = {
        field.name.replace("_", " "): getattr(settings, field.name)
        for field in fields(settings)
        if field.name not in WITHOUT_EFFECT and field.name != "model"
    }
    return {
        **decided,
        "model": model.name,
        "weights": model.fingerprint.hex(),
        "version": VERSION,
        "torch": torch.__version__,
        "a source of bytes": path.stat().st_size if path.is_file() else None,
    }
