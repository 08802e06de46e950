"""Clips as every codec gets them, in a y4m file, and raw decoded pictures read back."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinema.errors import ConfigError, VideoError
from kinema.eval.results import ClipInfo
from kinema.video.frame import Frame, VideoFormat
from kinema.video.reading import open_video
from kinema.video.writing import create_video


def check_clips(clips: Sequence[Path]) -> None:
    """Refuse clips that cannot be told apart, or are not there.

    Raises:
        ConfigError: which.
    """
    names = [clip.stem for clip in clips]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"found clips {names}, expected one or more with different names")
    for clip in clips:
        if not clip.is_file():
            raise ConfigError(f"found no file at {clip}, expected a video")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedClip:
    """A clip on disk, ready to be coded.

    Attributes:
        info: name, size, frame rate, number of frames, md5 of the planes.
        y4m: the frames.
        even_y4m: the same, padded to an even width and height by repeating the border, for
            encoders that take nothing else; equal to `y4m` where that is even already.
    """

    info: ClipInfo
    y4m: Path
    even_y4m: Path

    @property
    def even_size(self) -> tuple[int, int]:
        """(width, height) of `even_y4m`."""
        return self.info.width + self.info.width % 2, self.info.height + self.info.height % 2

    def source_frames(self) -> Iterator[Frame]:
        """Yield the frames of `y4m`."""
        with open_video(str(self.y4m), with_audio=False) as reader:
            yield from (item for item in reader if isinstance(item, Frame))


def prepare_clip(source: Path, workspace: Path, num_frames: int) -> PreparedClip:
    """Write the first `num_frames` frames of `source` to y4m files in `workspace`.

    Raises:
        VideoError: the source has no frames, or is no video.
        FileError: a file cannot be read or written.
    """
    y4m = workspace / f"{source.stem}.y4m"
    digest, written = hashlib.md5(usedforsecurity=False), 0
    with open_video(str(source), num_frames=num_frames, with_audio=False) as reader:
        video = _size_and_rate(reader.format)
        with create_video(str(y4m), video, overwrite=True) as writer:
            frames = (item for item in reader if isinstance(item, Frame))
            for frame in islice(frames, num_frames):
                writer.write(frame)
                for plane in frame.planes:
                    digest.update(plane.tobytes())
                written += 1
    if written == 0:
        raise VideoError(f"{source}: found no frames, expected at least 1")
    info = ClipInfo(
        name=source.stem,
        width=video.width,
        height=video.height,
        frame_rate=video.frame_rate,
        num_frames=written,
        md5=digest.hexdigest(),
    )
    clip = PreparedClip(info=info, y4m=y4m, even_y4m=y4m)
    return clip if clip.even_size == (info.width, info.height) else _padded_to_even(clip)


def _size_and_rate(video: VideoFormat) -> VideoFormat:
    """Drop the description of colour and rotation: samples are numbers here.

    An ffmpeg that was told "full range" would convert the samples before it codes them.
    """
    return VideoFormat(
        width=video.width,
        height=video.height,
        frame_rate=video.frame_rate,
        time_base=video.time_base,
    )


def _padded_to_even(clip: PreparedClip) -> PreparedClip:
    """Write the padded copy of a clip whose width or height is odd."""
    width, height = clip.even_size
    target = clip.y4m.with_suffix(".even.y4m")
    with open_video(str(clip.y4m), with_audio=False) as reader:
        video = replace(reader.format, width=width, height=height)
        with create_video(str(target), video, overwrite=True) as writer:
            for frame in reader:
                if isinstance(frame, Frame):
                    bottom, right = height - frame.y.shape[0], width - frame.y.shape[1]
                    y = np.pad(frame.y, ((0, bottom), (0, right)), mode="edge")
                    writer.write(replace(frame, y=y))
    return replace(clip, even_y4m=target)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedFile:
    """Raw planar 4:2:0 pictures that a decoder wrote.

    Attributes:
        path: the file; samples above 8 bits are 16-bit little endian.
        width, height: of the stored pictures, at least those of the clip.
        bit_depth: 8..16; deeper samples are rounded to 8 bits once.
    """

    path: Path
    width: int
    height: int
    bit_depth: int = 8

    def frames(self, info: ClipInfo) -> Iterator[Frame]:
        """Yield the pictures, cropped to the size of the clip.

        Raises:
            VideoError: the file does not hold exactly the clip's number of frames.
        """
        height, width = self.height, self.width
        half_height, half_width = (height + 1) // 2, (width + 1) // 2
        shapes = ((height, width), (half_height, half_width), (half_height, half_width))
        frame_samples = height * width + 2 * half_height * half_width
        sample_type = np.dtype("<u2" if self.bit_depth > 8 else "u1")
        self._check_size(frame_samples * sample_type.itemsize, info)
        with self.path.open("rb") as stream:
            for index in range(info.num_frames):
                samples = np.frombuffer(
                    stream.read(frame_samples * sample_type.itemsize), sample_type
                )
                y, u, v = self._planes(samples, shapes, info)
                yield Frame(y=y, u=u, v=v, pts=index, duration=1)

    def _check_size(self, frame_bytes: int, info: ClipInfo) -> None:
        found, expected = self.path.stat().st_size, frame_bytes * info.num_frames
        if found != expected:
            raise VideoError(
                f"decoded {info.name}: found {found} bytes ({found / frame_bytes:.2f} frames), "
                f"expected {expected} ({info.num_frames} frames)"
            )

    def _planes(
        self,
        samples: NDArray[np.uint8] | NDArray[np.uint16],
        shapes: tuple[tuple[int, int], ...],
        info: ClipInfo,
    ) -> list[NDArray[np.uint8]]:
        planes, start = [], 0
        wanted = [(info.height, info.width), *[((info.height + 1) // 2, (info.width + 1) // 2)] * 2]
        for (height, width), (crop_height, crop_width) in zip(shapes, wanted, strict=True):
            plane = samples[start : start + height * width].reshape(height, width)
            start += height * width
            planes.append(_to_8_bits(plane[:crop_height, :crop_width], self.bit_depth))
        return planes


def _to_8_bits(plane: NDArray[np.uint8] | NDArray[np.uint16], bit_depth: int) -> NDArray[np.uint8]:
    """Round samples of `bit_depth` bits to 8 bits, half up."""
    if bit_depth == 8:
        return plane.astype(np.uint8)
    shift = bit_depth - 8
    rounded = (plane.astype(np.int32) + (1 << (shift - 1))) >> shift
    clipped: NDArray[np.uint8] = np.minimum(rounded, 255).astype(np.uint8)
    return clipped
