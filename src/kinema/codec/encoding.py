"""A video file in, a `.kin` file out: streams through, one small batch at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kinema.bitstream.container import ContainerWriter
from kinema.codec.encoder import Encoder, batch_length
from kinema.codec.headers import packed_audio, sequence_header
from kinema.errors import ConfigError, VideoError
from kinema.models.registry import DEFAULT_MODEL, MODELS, LoadedModel, load_model
from kinema.parts.quality import crf_to_units
from kinema.video.frame import AudioPacket, Frame, Note, log_note
from kinema.video.quality import psnr_planes
from kinema.video.reading import VideoReader, open_video


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeSettings:
    """What a user decides about an encoding."""

    crf: float = 28.0  # quality, 0 (best) to 63
    model: str = DEFAULT_MODEL
    structure: str = "all-intra"
    intra_period: int = 1  # frames from one intra frame to the next; all-intra knows 1 only
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
        if self.model not in MODELS:
            raise ConfigError(f"unknown model {self.model!r}; known: {', '.join(MODELS)}")
        structures = MODELS[self.model].structures
        if self.structure not in structures:
            raise ConfigError(
                f"model {self.model} cannot do structure {self.structure!r}; "
                f"it can do {', '.join(structures)}"
            )
        if self.structure == "all-intra" and self.intra_period != 1:
            raise ConfigError(f"intra period {self.intra_period}: all-intra has 1 only")


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
        source: as `open_video`; "-" reads Y4M from standard input.
        target: the `.kin` file.
        settings: what to do.
        progress: called after every batch.
        note: told in one line what was converted or dropped.

    Raises:
        KinemaError: bad settings, unreadable input, or a target that cannot be written.
    """
    settings.check()
    with open_video(
        source,
        start_s=settings.start_s,
        num_frames=settings.num_frames,
        with_audio=settings.with_audio,
        note=note,
    ) as video:
        model = load_model(settings.model)
        return _Encoding(video, model, settings, source).run(target, progress)


class _Encoding:
    """One pass over one video."""

    def __init__(
        self, video: VideoReader, model: LoadedModel, settings: EncodeSettings, source: str
    ) -> None:
        self._video, self._model, self._settings = video, model, settings
        self._source = source
        self._encoder = Encoder(model, threads=settings.threads, device=settings.device)
        self._sums = [0.0, 0.0, 0.0]
        self._done = 0
        self._audio_bytes = 0
        self._span = (0, 0)  # pts of the first frame, end of the last

    def run(self, target: Path, progress: Progress) -> EncodeReport:
        batches = self._batches()
        early, first = _until_frame(batches, self._source)
        header = sequence_header(
            self._video.format,
            self._video.audio_tracks,
            self._model,
            first[0],
            crf_to_units(self._settings.crf),
        )
        self._span = (first[0].pts, first[0].pts)
        with ContainerWriter(target, header, overwrite=self._settings.overwrite) as writer:
            for packet in early:
                self._write_audio(writer, packet)
            self._write_frames(writer, first, progress)
            for item in batches:
                if isinstance(item, AudioPacket):
                    self._write_audio(writer, item)
                else:
                    self._write_frames(writer, item, progress)
        return self._report(target.stat().st_size)

    def _batches(self) -> Iterator[AudioPacket | list[Frame]]:
        """Audio packets as they come, frames in groups."""
        length = batch_length(self._video.format.width, self._video.format.height)
        group: list[Frame] = []
        for item in self._video:
            if isinstance(item, AudioPacket):
                yield item
                continue
            group.append(item)
            if len(group) == length:
                yield group
                group = []
        if group:
            yield group

    def _write_audio(self, writer: ContainerWriter, packet: AudioPacket) -> None:
        before = writer.size_bytes
        writer.write_audio(packed_audio(packet))
        self._audio_bytes += writer.size_bytes - before

    def _write_frames(
        self, writer: ContainerWriter, frames: list[Frame], progress: Progress
    ) -> None:
        coded = self._encoder.encode_batch(frames, crf=self._settings.crf)
        for frame, picture in zip(frames, coded, strict=True):
            writer.write_frame(picture.header, picture.payload)
            quality = psnr_planes(frame, picture.frame)
            for index, value in enumerate((quality.y, quality.u, quality.v)):
                self._sums[index] += value
        self._done += len(frames)
        self._span = (self._span[0], frames[-1].pts + frames[-1].duration)
        progress(self._done, self._video.num_frames_hint, writer.size_bytes)

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
    items: Iterator[AudioPacket | list[Frame]], source: str
) -> tuple[list[AudioPacket], list[Frame]]:
    """The audio before the first frames, and those frames."""
    early: list[AudioPacket] = []
    for item in items:
        if not isinstance(item, AudioPacket):
            return early, item
        early.append(item)
    raise VideoError(f"{source}: no picture to encode")
