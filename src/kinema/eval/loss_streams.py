"""Codecs as the loss benchmark sees them: encode, lose packets, decode what is left."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import av
from av.codec.context import ThreadType

from kinema.errors import ConfigError, VideoError
from kinema.eval.anchor_runs import coded_bytes
from kinema.eval.anchors import Anchor, encoder_arguments, select_anchors
from kinema.eval.clips import PreparedClip
from kinema.eval.conditions import ALL_INTRA, LOW_DELAY, Conditions
from kinema.eval.loss_packets import drop_from_container, drop_from_kin
from kinema.eval.model_runs import ModelRunner
from kinema.eval.processes import ffmpeg_command, run_measured
from kinema.models.registry import MODELS
from kinema.video.frame import Frame, log_note
from kinema.video.pictures import PictureReader
from kinema.video.reading import open_video

DEFAULT_ANCHORS = ("x264-medium", "x265-medium")
DECODED, DAMAGED = 0, 2  # exit statuses of `kinema decode`


class Stream(Protocol):
    """A codec that sends one packet per frame."""

    @property
    def name(self) -> str:
        """The name in tables and plots."""

    @property
    def is_anchor(self) -> bool:
        """Whether it is a conventional codec."""

    @property
    def has_refresh(self) -> bool:
        """Whether frames refer to one another; in all-intra every frame is a refresh."""

    @property
    def suffix(self) -> str:
        """Of its coded files."""

    def encode(self, clip: PreparedClip, target: Path, refresh: int, quality: float) -> int:
        """Code a clip with an intra frame every `refresh` frames; return its size in bytes."""

    def drop(self, coded: Path, target: Path, lost: Collection[int]) -> None:
        """Copy a coded file without some of its packets."""

    def decode(self, coded: Path, clip: PreparedClip, *, is_damaged: bool) -> dict[int, Frame]:
        """Return the pictures that a receiver gets of a file, by their place in the clip.

        Raises:
            VideoError: not even the first picture can be decoded.
        """


@dataclass(frozen=True, slots=True)
class ModelStream:
    """A model of the library, called as a user calls it; its decoder shows no wrong picture."""

    runner: ModelRunner
    structure: str
    num_threads: int
    is_anchor: bool = False
    suffix: str = ".kin"

    @property
    def has_refresh(self) -> bool:
        """Whether frames refer to one another."""
        return self.structure != ALL_INTRA

    @property
    def name(self) -> str:
        """The model's; models without references say so."""
        return self.runner.name + ("" if self.has_refresh else ", all intra")

    def encode(self, clip: PreparedClip, target: Path, refresh: int, quality: float) -> int:
        """Code with one frame of the intra period and refreshes after it."""
        period = -1 if self.has_refresh else 1
        conditions = self._conditions(period)
        command = self.runner.encode_command(clip.y4m, target, conditions, quality)
        command += ["--refresh", str(refresh)] if self.has_refresh else []
        run_measured(command, what=f"{self.name} encoder on {clip.info.name}")
        return target.stat().st_size

    def drop(self, coded: Path, target: Path, lost: Collection[int]) -> None:
        """Copy a `.kin` file without some frames."""
        drop_from_kin(coded, target, lost)

    def decode(self, coded: Path, clip: PreparedClip, *, is_damaged: bool) -> dict[int, Frame]:
        """Decode in a process of its own; damage makes it end with status 2."""
        target = coded.with_suffix(".mkv")
        command = self.runner.decode_command(coded, target, self._conditions(-1))
        accepted = (DECODED, DAMAGED) if is_damaged else (DECODED,)
        what = f"{self.name} decoder on {clip.info.name}"
        run_measured(command, what=what, accepted=accepted)
        if not target.is_file():
            raise VideoError(f"{what}: found no decoded picture, expected at least 1")
        with open_video(str(target), with_audio=False) as reader:
            unit = reader.format.time_base * clip.info.frame_rate
            return {round(f.pts * unit): f for f in reader if isinstance(f, Frame)}

    def _conditions(self, intra_period: int) -> Conditions:
        period = intra_period if self.has_refresh else 1
        return Conditions(
            structure=self.structure, intra_period=period, num_threads=self.num_threads
        )


@dataclass(frozen=True, slots=True)
class AnchorStream:
    """A conventional codec; FFmpeg's decoder, as it comes, is its receiver."""

    anchor: Anchor
    num_threads: int
    is_anchor: bool = True
    has_refresh: bool = True

    @property
    def name(self) -> str:
        """The anchor's."""
        return self.anchor.name

    @property
    def suffix(self) -> str:
        """A container that keeps packets and parameter sets apart."""
        return self.anchor.traits.suffix

    def encode(self, clip: PreparedClip, target: Path, refresh: int, quality: float) -> int:
        """Code in low delay, every refresh a keyframe."""
        conditions = Conditions(
            structure=LOW_DELAY, intra_period=refresh, num_threads=self.num_threads
        )
        arguments = encoder_arguments(self.anchor, conditions, quality)
        inputs = ["-i", str(clip.even_y4m), "-fps_mode", "passthrough"]
        command = ffmpeg_command(*inputs, *arguments, str(target))
        run_measured(command, what=f"{self.name} encoder on {clip.info.name}")
        has_headers = self.anchor.traits.has_separate_headers
        return coded_bytes(target, clip.info, with_headers=has_headers)

    def drop(self, coded: Path, target: Path, lost: Collection[int]) -> None:
        """Copy a file without some access units."""
        drop_from_container(coded, target, lost)

    def decode(self, coded: Path, clip: PreparedClip, *, is_damaged: bool) -> dict[int, Frame]:
        """Take whatever picture the decoder gives, with one thread: a race would show."""
        width, height = clip.info.width, clip.info.height
        pictures = PictureReader(coded.name, log_note)
        frames: dict[int, Frame] = {}
        with av.open(str(coded)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type = ThreadType.NONE
            for packet in container.demux(stream):
                for picture in _decoded(packet, is_damaged=is_damaged):
                    if picture.pts is None or picture.time_base is None:
                        continue  # nobody knows when to show it
                    index = round(picture.pts * picture.time_base * clip.info.frame_rate)
                    frame = pictures.to_frame(picture, index, 1)
                    frames[index] = replace(frame, y=frame.y[:height, :width])
        if 0 not in frames:
            raise VideoError(f"{self.name} decoder on {clip.info.name}: the first picture is gone")
        return frames


def _decoded(packet: "av.Packet[av.VideoStream]", *, is_damaged: bool) -> list[av.VideoFrame]:
    """Decode one packet; in a damaged file a packet may be undecodable."""
    try:
        return packet.decode()
    except av.FFmpegError as error:
        if is_damaged:
            return []
        raise VideoError(f"a sound packet cannot be decoded: {error.strerror}") from error


def model_streams(
    names: tuple[str, ...] | None, *, device: str, num_threads: int
) -> tuple[ModelStream, ...]:
    """Return models of the library: in low delay if they can, else all-intra; None: all of them.

    Raises:
        ConfigError: a name is unknown.
    """
    streams = []
    for name in MODELS if names is None else names:
        if name not in MODELS:
            raise ConfigError(f"found model {name!r}, expected: {', '.join(MODELS)}")
        structure = LOW_DELAY if LOW_DELAY in MODELS[name].structures else ALL_INTRA
        streams.append(ModelStream(ModelRunner(model=name, device=device), structure, num_threads))
    return tuple(streams)


def anchor_streams(names: tuple[str, ...] | None, *, num_threads: int) -> tuple[AnchorStream, ...]:
    """Return anchors; None: x264 and x265 at medium.

    Raises:
        ConfigError: unknown, or no low-delay codec.
    """
    conditions = Conditions(structure=LOW_DELAY, intra_period=-1, num_threads=num_threads)
    chosen = select_anchors(DEFAULT_ANCHORS if names is None else names, conditions)
    return tuple(AnchorStream(anchor, num_threads) for anchor in chosen)
