"""A video file in, a `.kin` file out: streams through, one small batch at a time."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from kinema.bitstream.container import ContainerWriter
from kinema.codec.batches import batch_length, in_batches
from kinema.codec.encoder import Encoder
from kinema.codec.excerpt import Shift, check_range
from kinema.codec.headers import CODEC_LIMITS, packed_audio, sequence_header
from kinema.codec.look_ahead import SourceFrame, with_cuts, without_cuts
from kinema.codec.overlap import ahead
from kinema.codec.paths import KIN_SUFFIXES, check_free, check_target
from kinema.codec.structure import make_plan
from kinema.errors import ConfigError, VideoError
from kinema.models.registry import DEFAULT_MODEL, MODELS, LoadedModel, load_model
from kinema.parts.quality import crf_to_units
from kinema.video.frame import AudioPacket, Frame, Note, log_note
from kinema.video.quality import psnr_planes
from kinema.video.reading import VideoReader, open_video

DEFAULT_CRF = 28.0
DEPTH = 8  # frames and audio packets that may wait for the encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """What a user decides about an encoding."""

    crf: float = DEFAULT_CRF  # quality, 0 (best) to 63
    model: str | LoadedModel = DEFAULT_MODEL  # a name, or what `load_model` gave
    structure: str | None = None  # "all-intra", "low-delay"; None: the model's first
    intra_period: int | None = None  # see `make_plan`; None: 1 in all-intra, else 32
    refresh: int = 0  # an additional intra frame every so many frames; 0: none
    scene_cuts: bool = True  # intra frames where scenes begin, from which periods count
    start_s: float = 0.0  # where to begin, in seconds
    num_frames: int | None = None  # None: to the end
    with_audio: bool = True
    device: str = "cpu"
    threads: int | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Refuse combinations that no model can do.

        Raises:
            ConfigError: with what is known instead.
        """
        crf_to_units(self.crf)
        check_range(self.start_s, self.num_frames)
        if isinstance(self.model, str) and self.model not in MODELS:
            raise ConfigError(f"unknown model {self.model!r}; known: {', '.join(MODELS)}")
        model = MODELS[self.model] if isinstance(self.model, str) else self.model
        make_plan(model.structures, self.structure, self.intra_period, self.refresh)

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
            threads=self.threads,
            device=self.device,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReport:
    """What came of an encoding; PSNR against the frames read, averaged over frames."""

    num_frames: int
    width: int
    height: int
    seconds: float  # duration of the video
    size_bytes: int  # the whole file
    video_bytes: int  # the file without audio data
    psnr_y: float
    psnr_u: float
    psnr_v: float
    crf: float

    @property
    def psnr_yuv_611(self) -> float:
        """(6 Y + U + V) / 8 in dB."""
        return (6 * self.psnr_y + self.psnr_u + self.psnr_v) / 8

    @property
    def bpp(self) -> float:
        """Bits per luma sample, audio left out."""
        return 8 * self.video_bytes / (self.num_frames * self.width * self.height)

    @property
    def rate_kbps(self) -> float:
        """Kilobits per second, audio left out."""
        return 8 * self.video_bytes / max(self.seconds, 1e-9) / 1000

    def figures(self) -> dict[str, float]:
        """Everything of interest, rounded, ready for JSON."""
        return {
            "frames": self.num_frames,
            "crf": self.crf,
            "size_bytes": self.size_bytes,
            "video_bytes": self.video_bytes,
            "rate_kbps": round(self.rate_kbps, 3),
            "bpp": round(self.bpp, 6),
            "psnr_y": round(self.psnr_y, 4),
            "psnr_u": round(self.psnr_u, 4),
            "psnr_v": round(self.psnr_v, 4),
            "psnr_yuv_611": round(self.psnr_yuv_611, 4),
        }


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
    with open_source(source, settings, note) as video:
        return _Encoding(video, settings, source).run(target, progress)


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
        self._has_p_frames = self._encoder.plan.structure.lifetime > 0
        self._shift = Shift(0, video.format.time_base, video.audio_tracks)
        self._sums = [0.0, 0.0, 0.0]
        self._done = 0
        self._audio_bytes = 0
        self._span = (0, 0)  # pts of the first frame, end of the last

    def run(self, target: Path, progress: Progress) -> EncodeReport:
        video = self._video
        size = (video.format.width, video.format.height)
        length = 1 if self._has_p_frames else batch_length(*size)
        mark = with_cuts if self._has_p_frames and self._settings.scene_cuts else without_cuts
        is_pipe = self._source == "-"  # whose reading may block, and Ctrl-C with it
        marked = mark(video)
        with nullcontext(marked) if is_pipe else closing(ahead(marked, DEPTH)) as items:
            batches = in_batches(items, SourceFrame, length)
            early, first = _until_frame(batches, self._source)
            if self._settings.start_s:  # an excerpt begins at 0
                self._shift = Shift(first.pts, video.format.time_base, video.audio_tracks)
            with self._open(target, self._shift.frame(first)) as writer:
                for batch in itertools.chain(early, batches):
                    self._write(writer, batch)
                    progress(self._done, video.num_frames_hint, writer.size_bytes)
        return self._report(target.stat().st_size)

    def _open(self, target: Path, first: Frame) -> ContainerWriter:
        """Begin the file, given the first frame as it will stand there."""
        video, settings, encoder = self._video, self._settings, self._encoder
        tracks, quality = video.audio_tracks, crf_to_units(settings.crf)
        header = sequence_header(video.format, tracks, encoder.model, first, quality, encoder.plan)
        self._span = (first.pts, first.pts)
        return ContainerWriter(target, header, overwrite=settings.overwrite, limits=CODEC_LIMITS)

    def _write(self, writer: ContainerWriter, items: list[SourceFrame | AudioPacket]) -> None:
        """Code the frames among some items at once, and write all of them in order."""
        sources = [item for item in items if isinstance(item, SourceFrame)]
        if any(source.is_cut for source in sources):
            self._encoder.begin_scene()
        frames = [self._shift.frame(source.frame) for source in sources]
        pictures = zip(
            frames, self._encoder.encode_batch(frames, crf=self._settings.crf), strict=True
        )
        for item in items:
            if isinstance(item, AudioPacket):
                before = writer.size_bytes
                writer.write_audio(packed_audio(self._shift.audio(item)))
                self._audio_bytes += writer.size_bytes - before
                continue
            frame, picture = next(pictures)
            writer.write_frame(picture.header, picture.payload)
            quality = psnr_planes(frame, picture.frame)
            for index, value in enumerate((quality.y, quality.u, quality.v)):
                self._sums[index] += value
            self._done += 1
            self._span = (self._span[0], frame.pts + frame.duration)

    def _report(self, size_bytes: int) -> EncodeReport:
        video = self._video.format
        seconds = float((self._span[1] - self._span[0]) * video.time_base)
        y, u, v = (total / self._done for total in self._sums)
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
            crf=self._settings.crf,
        )


def _until_frame(
    batches: Iterator[list[SourceFrame | AudioPacket]], source: str
) -> tuple[list[list[SourceFrame | AudioPacket]], Frame]:
    """The batches up to the first frame, and that frame."""
    early: list[list[SourceFrame | AudioPacket]] = []
    for batch in batches:
        early.append(batch)
        for item in batch:
            if isinstance(item, SourceFrame):
                return early, item.frame
    raise VideoError(f"{source}: no picture to encode")
