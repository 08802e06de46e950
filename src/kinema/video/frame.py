"""What travels between video files and the codec: pictures, audio packets, and how to show them."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kinema.errors import ShapeError, VideoError

Plane: TypeAlias = NDArray[np.uint8]
Note: TypeAlias = Callable[[str], None]  # told, in one line, what a file lost or had converted

log_note: Note = logging.getLogger("kinema.video").warning


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorDescription:
    """How sample values become light: code points of ITU-T H.273, where 2 means unspecified."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False  # True: 0..255, False: 16..235 for luma and 16..240 for chroma
    chroma_location: int = 0  # 0 unspecified, 1 left, 2 centre, 3 top left, 4 top, 5 bottom left, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """What all pictures of one video have in common.

    Raises:
        VideoError: a size, rate or time base is not positive, or the rotation is not a right angle.
    """

    width: int
    height: int
    frame_rate: Fraction  # frames per second; an average where the rate varies
    time_base: Fraction  # seconds per unit of a frame's pts
    sample_aspect_ratio: Fraction = Fraction(1)  # width : height of one sample
    rotation: int = 0  # degrees clockwise that a player turns the picture: 0, 90, 180 or 270
    color: ColorDescription = field(default_factory=ColorDescription)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise VideoError(f"picture size {self.width}x{self.height}, expected at least 1x1")
        if self.frame_rate <= 0 or self.time_base <= 0 or self.sample_aspect_ratio <= 0:
            raise VideoError(
                f"frame rate {self.frame_rate}, time base {self.time_base}, sample aspect ratio "
                f"{self.sample_aspect_ratio}: all must be positive"
            )
        if self.rotation not in (0, 90, 180, 270):
            raise VideoError(f"rotation {self.rotation}, expected 0, 90, 180 or 270 degrees")

    @property
    def chroma_shape(self) -> tuple[int, int]:
        """Rows and columns of a chroma plane."""
        return (self.height + 1) // 2, (self.width + 1) // 2


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture, 8 bit, 4:2:0.

    Attributes:
        y: luma, (H, W).
        u: blue difference (Cb), (ceil(H / 2), ceil(W / 2)).
        v: red difference (Cr), same shape as `u`.
        pts: presentation time, in units of the video's time base.
        duration: in the same units; 0 where unknown.

    Raises:
        ShapeError: the planes do not fit together or are not uint8.
    """

    y: Plane
    u: Plane
    v: Plane
    pts: int
    duration: int = 0

    def __post_init__(self) -> None:
        height, width = self.y.shape
        chroma_shape = ((height + 1) // 2, (width + 1) // 2)
        if self.u.shape != chroma_shape or self.v.shape != chroma_shape:
            raise ShapeError(
                f"chroma planes of {self.u.shape} and {self.v.shape} beside luma of "
                f"{self.y.shape}, expected {chroma_shape}"
            )
        if any(plane.dtype != np.uint8 for plane in self.planes):
            raise ShapeError(f"luma samples are {self.y.dtype}, expected uint8 in every plane")

    @property
    def planes(self) -> tuple[Plane, Plane, Plane]:
        """Y, U, V."""
        return self.y, self.u, self.v


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack:
    """What it takes to write the packets of one audio stream into another file."""

    codec: str  # FFmpeg's name: "aac", "opus", "pcm_s16le", ...
    time_base: Fraction  # seconds per unit of a packet's pts
    sample_rate: int  # samples per second and channel
    layout: str  # FFmpeg's name of the channel layout: "mono", "stereo", "5.1", ...
    extradata: bytes = b""  # the codec's set-up bytes
    bit_rate: int = 0  # bits per second; 0 where unknown
    language: str = ""  # ISO 639-2, "" where unknown


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """Coded audio as it stood in its file; times are in units of its track's time base."""

    track: int  # index into the video's audio tracks
    pts: int
    dts: int
    duration: int  # 0 where unknown
    is_keyframe: bool
    data: bytes


Item: TypeAlias = Frame | AudioPacket


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An opened video: what `reading` gets from every kind of file."""

    format: VideoFormat
    audio_tracks: tuple[AudioTrack, ...] = ()
    num_frames_hint: int | None = None  # from the first frame to the end of the file
    first_time_s: Fraction = Fraction(0)  # presentation time of the first picture
    items: Iterator[Item]
    close: Callable[[], None]  # lets go of the file
