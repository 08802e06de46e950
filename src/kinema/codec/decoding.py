"""A `.kin` file in, frames or a video file out; damage costs the damaged frames only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from kinema.bitstream.container import ContainerReader
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.limits import Limits
from kinema.bitstream.packets import AudioPacketData, DamagedPacket, FramePacket
from kinema.codec.decoder import Decoder
from kinema.codec.encoder import batch_length
from kinema.codec.encoding import Progress, no_progress
from kinema.codec.headers import audio_tracks, check_profile, unpacked_audio, video_format
from kinema.errors import BitstreamError, ConfigError, WeightsMismatchError
from kinema.models.registry import LoadedModel, load_model, model_name
from kinema.video.frame import AudioPacket, AudioTrack, Frame, Note, VideoFormat, log_note
from kinema.video.writing import create_video

DECODE_LIMITS = Limits(max_samples=1 << 24)  # 16 Mpixel: nets need about 200 bytes per sample


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSettings:
    """What a user decides about a decoding."""

    start_s: float = 0.0  # in seconds after the first frame
    num_frames: int | None = None  # None: to the end
    device: str = "cpu"
    threads: int | None = None
    overwrite: bool = False


@dataclass(slots=True)
class DecodeReport:
    """What came of a decoding."""

    num_frames: int = 0
    lost: list[str] = field(default_factory=list)  # one line per damaged stretch or frame


class KinReader:
    """A `.kin` file being read: iterate over frames, or seek.

    Attributes:
        header: the sequence header.
        format: how frames are to be shown.
        audio_tracks: what an audio packet's track number refers to.
        lost: one line per damaged place met so far.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        settings: DecodeSettings | None = None,
        model: LoadedModel | None = None,
        limits: Limits = DECODE_LIMITS,
    ) -> None:
        """Open a file and load the model that it names.

        Args:
            source: path, or a seekable binary file.
            settings: device and threads; the range that iterating covers.
            model: instead of the shipped one, for files of own models.
            limits: what is refused.

        Raises:
            FileError, BitstreamError: the file cannot be opened, or its header is damaged.
            WeightsMismatchError: the weights at hand are not those of the file.
            NumericProfileError: the file needs other arithmetic.
        """
        self._settings = settings or DecodeSettings()
        if self._settings.start_s < 0 or (self._settings.num_frames or 1) < 1:
            raise ConfigError("start must be 0 s or later, frames at least 1")
        self._container = ContainerReader(source, limits=limits)
        self.header: SequenceHeader = self._container.header
        self.lost: list[str] = []
        try:
            check_profile(self.header)
            self._model = model or load_model(model_name(self.header.model_number))
            _check_weights(self.header, self._model)
            self.format: VideoFormat = video_format(self.header)
        except BaseException:
            self._container.close()
            raise
        self.audio_tracks: tuple[AudioTrack, ...] = audio_tracks(self.header)
        self._decoder: Decoder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    @property
    def num_frames(self) -> int:
        """Frames in the file, by its index."""
        return len(self._container.index)

    def __iter__(self) -> Iterator[Frame]:
        """Frames of the chosen range, in display order; damaged ones are left out and noted."""
        return (item for item in self.items(with_audio=False) if isinstance(item, Frame))

    def seek(self, time_s: float) -> Iterator[Frame]:
        """Frames from the one shown at `time_s` (seconds after the first) on."""
        return (i for i in self._items_from(time_s, None, False) if isinstance(i, Frame))

    def items(self, *, with_audio: bool = True) -> Iterator[Frame | AudioPacket]:
        """Frames and audio packets of the chosen range, as interleaved in the file."""
        settings = self._settings
        return self._items_from(settings.start_s, settings.num_frames, with_audio)

    def _items_from(
        self, start_s: float, num_frames: int | None, with_audio: bool
    ) -> Iterator[Frame | AudioPacket]:
        start_pts = self.header.start_pts + round(start_s / float(self.header.time_base))
        offset = self._container.seek_offset(start_pts) if start_s else None
        length = batch_length(self.header.width, self.header.height)
        group: list[FramePacket] = []
        num_wanted = num_frames
        for packet in self._container.packets(offset):
            if isinstance(packet, DamagedPacket):
                self._note_damage(packet)
            elif isinstance(packet, AudioPacketData):
                if with_audio and _starts_after(packet, self.header, start_pts):
                    yield unpacked_audio(packet)
            elif packet.header.pts + packet.header.duration > start_pts or not start_s:
                if num_wanted is not None and num_wanted <= 0:
                    break
                num_wanted = None if num_wanted is None else num_wanted - 1
                group.append(packet)
                if len(group) == length:
                    yield from self._decode(group)
                    group = []
        yield from self._decode(group)

    def _decode(self, packets: list[FramePacket]) -> list[Frame]:
        """Decode a group at once; if that fails, one by one, leaving out what is damaged."""
        if not packets:
            return []
        if self._decoder is None:
            settings = self._settings
            size = (self.header.width, self.header.height)
            self._decoder = Decoder(
                self._model, *size, threads=settings.threads, device=settings.device
            )
        try:
            return self._decoder.decode_batch(packets)
        except BitstreamError as error:
            if len(packets) == 1:
                self.lost.append(f"frame {packets[0].header.display_index} lost: {error}")
                return []
        return [frame for packet in packets for frame in self._decode([packet])]

    def _note_damage(self, packet: DamagedPacket) -> None:
        frames = packet.lost_frames
        what = "unknown frames" if frames is None else "no frame"
        if frames:
            what = "frame " + ", ".join(map(str, frames))
        self.lost.append(f"{what} lost: {packet.error}")


def decode_file(
    source: Path,
    target: str,
    settings: DecodeSettings,
    *,
    progress: Progress = no_progress,
    note: Note = log_note,
) -> DecodeReport:
    """Decode to a video file; the target appears complete or not at all.

    Args:
        source: the `.kin` file.
        target: as `create_video`; "-" writes Y4M to standard output.
        settings: what to do.
        progress: called after every frame.
        note: told in one line what the target cannot hold.

    Raises:
        KinemaError: nothing could be decoded or written. Damaged frames are reported instead.
    """
    with KinReader(source, settings=settings) as reader:
        expected = settings.num_frames
        if expected is None and not settings.start_s:
            expected = reader.num_frames
        report = DecodeReport(lost=reader.lost)
        with create_video(
            target,
            reader.format,
            reader.audio_tracks,
            overwrite=settings.overwrite,
            note=note,
        ) as writer:
            for item in reader.items():
                writer.write(item)
                if isinstance(item, Frame):
                    report.num_frames += 1
                    progress(report.num_frames, expected, 0)
            if not report.num_frames:
                what = reader.lost[0] if reader.lost else "the chosen range holds no frame"
                raise BitstreamError(f"{source}: nothing to decode: {what}")
    return report


def verify_file(source: Path, settings: DecodeSettings | None = None) -> DecodeReport:
    """Decode everything, compare every picture with its hash, write nothing."""
    report = DecodeReport()
    with KinReader(source, settings=settings) as reader:
        for item in reader.items():
            report.num_frames += isinstance(item, Frame)
        report.lost = reader.lost
    return report


def _check_weights(header: SequenceHeader, model: LoadedModel) -> None:
    if header.weights_fingerprint != model.fingerprint:
        raise WeightsMismatchError(
            f"file was made with weights {header.weights_fingerprint.hex()} of model "
            f"{header.model_number}; at hand are {model.fingerprint.hex()} ({model.name})"
        )


def _starts_after(packet: AudioPacketData, header: SequenceHeader, start_pts: int) -> bool:
    """Whether an audio packet ends after the start of the range."""
    time_base = header.audio_tracks[packet.track].time_base
    return (packet.pts + packet.duration) * time_base > start_pts * header.time_base
