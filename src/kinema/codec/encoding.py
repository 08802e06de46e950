"""A video file in, a `.kin` file out: streams through, one small batch at a time."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from kinema.bitstream.container import ContainerWriter
from kinema.codec.batches import batch_length, in_batches
from kinema.codec.crews import check_division
from kinema.codec.encode_report import EncodeReport
from kinema.codec.encoder import CodedPicture, Encoder, check_effort
from kinema.codec.excerpt import Shift, check_range
from kinema.codec.headers import CODEC_LIMITS, packed_audio, sequence_header
from kinema.codec.interleaving import Interleaving
from kinema.codec.look_ahead import SourceFrame, SourceItem, foresee
from kinema.codec.one_pass import OnePass, Pace
from kinema.codec.overlap import ahead
from kinema.codec.paths import KIN_SUFFIXES, check_free, check_target
from kinema.codec.structure import make_plan
from kinema.errors import ConfigError, VideoError
from kinema.models.registry import DEFAULT_MODEL, MODELS, LoadedModel, load_model
from kinema.parts.quality import crf_to_units
from kinema.video.frame import AudioPacket, Frame, Note, log_note
from kinema.video.quality import psnr_planes
from kinema.video.reading import VideoReader, open_video

Item = TypeVar("Item", SourceItem, Frame | AudioPacket)
DEFAULT_CRF = 28.0
DEPTH = 8  # frames and audio packets that may wait for the encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """What a user decides about an encoding."""

    crf: float = DEFAULT_CRF  # quality, 0 (best) to 63
    pace: Pace | None = None  # a bitrate to hold instead, in one pass
    model: str | LoadedModel = DEFAULT_MODEL  # a name, or what `load_model` gave
    structure: str | None = None  # "all-intra", "low-delay", "random-access"; None: the model's
    intra_period: int | None = None  # see `make_plan`; None: 1 in all-intra, else 32
    refresh: int = 0  # an additional intra frame every so many frames; 0: none
    effort: int = 0  # passes of refinement of each frame's symbols, 0 to 100
    scene_cuts: bool = True  # intra frames where scenes begin, from which periods count
    start_s: float = 0.0  # where to begin, in seconds
    num_frames: int | None = None  # None: to the end
    with_audio: bool = True
    device: str = "cpu"
    threads: int | None = None
    overwrite: bool = False
    workers: int | None = None  # processes that code chunks of the video; None: this one, all of it
    ray: str | None = None  # address of a Ray cluster whose processes do so instead
    resume: bool = False  # go on with the finished chunks of an earlier attempt
    keep_chunks: bool = True  # leave the finished chunks of a failed attempt, to be resumed

    @property
    def is_divided(self) -> bool:
        """Whether the video is coded in chunks; see `encode_in_chunks`."""
        return self.workers is not None or self.ray is not None or self.resume

    def check(self) -> None:
        """Refuse combinations that no model can do.

        Raises:
            ConfigError: with what is known instead.
        """
        crf_to_units(self.crf)
        check_effort(self.effort)
        if self.pace is not None:
            self.pace.check()
        check_range(self.start_s, self.num_frames)
        check_division(self.workers, self.ray)
        if isinstance(self.model, str) and self.model not in MODELS:
            raise ConfigError(f"unknown model {self.model!r}; known: {', '.join(MODELS)}")
        model = MODELS[self.model] if isinstance(self.model, str) else self.model
        plan = make_plan(model.structures, self.structure, self.intra_period, self.refresh)
        if plan.structure.reorders and self.pace is not None:
            raise ConfigError(f"a bitrate in one pass knows no {plan.structure.name}")
        if self.is_divided and self.pace is not None:
            raise ConfigError(
                "a bitrate in one pass knows no workers: it needs all frames in order"
            )

    def load_model(self) -> LoadedModel:
        """Give the model, loaded."""
        return load_model(self.model) if isinstance(self.model, str) else self.model

    def open_encoder(self) -> Encoder:
        """Load the model and get ready to code; errors as `load_model` and `Encoder`."""
        return Encoder(
            self.load_model(),
            structure=self.structure,
            intra_period=self.intra_period,
            refresh=self.refresh,
            effort=self.effort,
            threads=self.threads,
            device=self.device,
        )


Progress = Callable[[int, int | None, int], None]  # frames done, frames expected, bytes so far


def no_progress(done: int, expected: int | None, size_bytes: int) -> None:
    """Keep quiet."""


def encode_file(
    source: str,
    target: Path,
    settings: EncodeSettings,
    *,
    progress: Progress = no_progress,
    note: Note = log_note,
) -> EncodeReport:
    """Encode a video; the target appears complete or not at all.

    Args:
        source: as `open_video`; "-" reads Y4M from standard input. With a start other than 0,
            times are moved so that the first frame is shown at 0.
        target: the `.kin` file.
        settings: what to do.
        progress: called after every batch.
        note: told in one line what was converted or dropped.

    Raises:
        KinemaError: bad settings, unreadable input, or a target that cannot be written.
    """
    settings.check()
    check_target(source, str(target), KIN_SUFFIXES)
    check_free(target, overwrite=settings.overwrite)
    if settings.is_divided:
        from kinema.codec.chunked_encoding import encode_in_chunks  # here: it builds on this file

        return encode_in_chunks(source, target, settings, progress=progress, note=note)
    with open_source(source, settings, note) as video:
        return _Encoding(video, settings, source).run(target, progress, note)


def open_source(source: str, settings: EncodeSettings, note: Note) -> VideoReader:
    """Open the part of a video that is to be encoded."""
    return open_video(
        source,
        start_s=settings.start_s,
        num_frames=settings.num_frames,
        with_audio=settings.with_audio,
        note=note,
    )


class _Encoding:
    """One pass over one video."""

    def __init__(self, video: VideoReader, settings: EncodeSettings, source: str) -> None:
        self._video, self._settings, self._source = video, settings, source
        self._encoder = settings.open_encoder()
        self._one_pass: OnePass | None = None
        self._shift = Shift(0, video.format.time_base, video.audio_tracks)
        self._queue = Interleaving(self._encoder.plan.structure)
        self._sums = [0.0, 0.0, 0.0]
        self._crfs = 0.0  # of all frames, together
        self._done = 0
        self._audio_bytes = 0
        self._span = (0, 0)  # pts of the first frame, end of the last

    def run(self, target: Path, progress: Progress, note: Note) -> EncodeReport:
        video = self._video
        predicts = self._encoder.plan.structure.predicts
        length = 1 if predicts else batch_length(video.format.width, video.format.height)
        is_pipe = self._source == "-"  # whose reading may block, and Ctrl-C with it
        pace, with_scenes = self._settings.pace, self._settings.scene_cuts
        seen = foresee(
            video,
            with_scenes=with_scenes and (predicts or pace is not None),
            look_ahead=None if pace is None else pace.look_ahead,
        )
        with nullcontext(seen) if is_pipe else closing(ahead(seen, DEPTH)) as items:
            batches = in_batches(items, SourceFrame, length)
            early, first = until_frame(batches, self._source)
            if self._settings.start_s:  # an excerpt begins at 0
                self._shift = Shift(first.pts, video.format.time_base, video.audio_tracks)
            with self._open(target, self._shift.frame(first)) as writer:
                if pace is not None:
                    size = writer.frame_size
                    self._one_pass = OnePass(self._encoder, pace, video.format, size)
                for batch in itertools.chain(early, batches):
                    self._write(writer, batch)
                    progress(self._done, video.num_frames_hint, writer.size_bytes)
                if rest := self._encoder.finish():
                    self._put(writer, rest)
                    progress(self._done, video.num_frames_hint, writer.size_bytes)
        if self._one_pass and self._one_pass.overflows:
            note(_overflow_line(self._one_pass))
        return self._report(target.stat().st_size)

    def _open(self, target: Path, first: Frame) -> ContainerWriter:
        """Begin the file, given the first frame as it will stand there."""
        video, settings, encoder = self._video, self._settings, self._encoder
        tracks, quality = video.audio_tracks, crf_to_units(settings.crf)
        header = sequence_header(video.format, tracks, encoder.model, first, quality, encoder.plan)
        self._span = (first.pts, first.pts)
        return ContainerWriter(target, header, overwrite=settings.overwrite, limits=CODEC_LIMITS)

    def _write(self, writer: ContainerWriter, items: list[SourceItem]) -> None:
        """Take some items: code the frames whose turn has come, and write what can be written."""
        sources = [
            replace(item, frame=self._shift.frame(item.frame))
            for item in items
            if isinstance(item, SourceFrame)
        ]
        frames = iter(sources)
        for item in items:
            if isinstance(item, AudioPacket):
                self._queue.add(self._shift.audio(item))
            else:
                self._queue.add(next(frames).frame)
        self._put(writer, self._code(sources))

    def _put(self, writer: ContainerWriter, pictures: list[CodedPicture]) -> None:
        """Write pictures in coding order, and audio between them."""
        self._put_audio(writer)
        for picture in pictures:
            writer.write_frame(picture.header, picture.payload)
            frame = self._queue.take(picture.header)
            quality = psnr_planes(frame, picture.frame)
            for index, value in enumerate((quality.y, quality.u, quality.v)):
                self._sums[index] += value
            self._crfs += picture.crf
            self._done += 1
            self._span = (self._span[0], max(self._span[1], frame.pts + frame.duration))
            self._put_audio(writer)

    def _put_audio(self, writer: ContainerWriter) -> None:
        for packet in self._queue.audio():
            before = writer.size_bytes
            writer.write_audio(packed_audio(packet))
            self._audio_bytes += writer.size_bytes - before

    def _code(self, sources: list[SourceFrame]) -> list[CodedPicture]:
        if self._one_pass:
            return self._one_pass.code(sources)
        if any(source.is_cut for source in sources):  # comes alone
            self._encoder.begin_scene()
        frames = [source.frame for source in sources]
        return self._encoder.encode_batch(frames, crf=self._settings.crf)

    def _report(self, size_bytes: int) -> EncodeReport:
        video = self._video.format
        seconds = float((self._span[1] - self._span[0]) * video.time_base)
        y, u, v = (total / self._done for total in self._sums)
        bucket = self._one_pass.bucket if self._one_pass else None
        return EncodeReport(
            num_frames=self._done,
            width=video.width,
            height=video.height,
            seconds=seconds if seconds > 0 else float(self._done / video.frame_rate),
            size_bytes=size_bytes,
            video_bytes=size_bytes - self._audio_bytes,
            psnr_y=y,
            psnr_u=u,
            psnr_v=v,
            crf=self._crfs / self._done,
            buffer_peak_s=bucket.peak / bucket.rate_bps if bucket else None,
        )


def _overflow_line(one_pass: OnePass) -> str:
    found, bucket = one_pass.overflows, one_pass.bucket
    return (
        f"bitrate {bucket.rate_bps / 1000:g} kbit/s is too low for {len(found)} frames, the first "
        f"of them frame {found[0]}: at crf 63 they overflow the buffer of {bucket.buffer_s:g} s"
    )


def until_frame(batches: Iterator[list[Item]], source: str) -> tuple[list[list[Item]], Frame]:
    """The batches up to the first frame, and that frame."""
    early: list[list[Item]] = []
    for batch in batches:
        early.append(batch)
        for item in batch:
            frame = item.frame if isinstance(item, SourceFrame) else item
            if isinstance(frame, Frame):
                return early, frame
    raise VideoError(f"{source}: no picture to encode")
