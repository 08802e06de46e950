"""FFmpeg's pictures into ours and back: 8-bit 4:2:0 untouched, the rest converted, and said."""

import av
import numpy as np
from av.video.reformatter import Interpolation

from kinema.errors import VideoError
from kinema.video.color import UNSPECIFIED, converted_from_rgb, rgb_to_frame
from kinema.video.frame import ColorDescription, Frame, Note, Plane

NATIVE = ("yuv420p", "yuvj420p")
SAME_SAMPLES = ("nv12", "nv21")  # the same samples in another order: nothing to tell the user
SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
FULL_RANGE = 2  # AVColorRange; 1 is limited, 0 unspecified


def describe_color(picture: av.VideoFrame, chroma_location: int = 0) -> ColorDescription:
    """What the frames that `PictureReader` makes of such pictures are to be tagged with."""
    color = ColorDescription(
        matrix=picture.colorspace or UNSPECIFIED,
        primaries=picture.color_primaries or UNSPECIFIED,
        transfer=picture.color_trc or UNSPECIFIED,
        full_range=picture.color_range == FULL_RANGE or picture.format.name.startswith("yuvj"),
        chroma_location=chroma_location,
    )
    return converted_from_rgb(color) if _goes_through_rgb(picture) else color


class PictureReader:
    """Makes `Frame`s of the pictures of one video.

    Args:
        name: the video's name, for messages.
        note: told once for every pixel format that had to be converted.
    """

    def __init__(self, name: str, note: Note) -> None:
        self._name = name
        self._note = note
        self._size: tuple[int, int] | None = None
        self._seen: set[str] = set()
        self.num_frames = 0

    def to_frame(self, picture: av.VideoFrame, pts: int, duration: int) -> Frame:
        """Convert one picture; 8-bit 4:2:0 is copied sample by sample.

        Raises:
            VideoError: the size differs from that of the first picture.
        """
        self._check(picture)
        self.num_frames += 1
        if _goes_through_rgb(picture):
            rgb = _planes(picture.reformat(format="rgb24"))[0]
            rgb = rgb.reshape(picture.height, picture.width, 3)
            return rgb_to_frame(rgb, describe_color(picture), pts, duration)
        y, *chroma = _planes(_to_420(picture))
        grey = np.full(((picture.height + 1) // 2, (picture.width + 1) // 2), 128, np.uint8)
        u, v = chroma or (grey, grey)
        return Frame(y, u, v, pts, duration)

    def _check(self, picture: av.VideoFrame) -> None:
        size = (picture.width, picture.height)
        if self._size is None:
            self._size = size
        if size != self._size:
            raise VideoError(
                f"{self._name}: frame {self.num_frames} is {size[0]}x{size[1]}, the video began "
                f"as {self._size[0]}x{self._size[1]}, and its size must not change"
            )
        pixel_format = picture.format.name
        if pixel_format not in self._seen:
            self._seen.add(pixel_format)
            if pixel_format not in NATIVE + SAME_SAMPLES:
                how = " (BT.709, limited range)" if _goes_through_rgb(picture) else ""
                self._note(f"{self._name}: {pixel_format} converted to 8-bit 4:2:0{how}")
            if picture.interlaced_frame:
                self._note(f"{self._name}: interlaced; its fields are coded together as they are")


def to_picture(planes: tuple[Plane, ...], pixel_format: str, width: int) -> av.VideoFrame:
    """Copy planes into a new FFmpeg picture.

    Args:
        planes: rows of bytes, one array per plane of the pixel format: the first has a row for
            every row of the picture.
        pixel_format: FFmpeg's name.
        width: of the picture in samples.
    """
    picture = av.VideoFrame(width, len(planes[0]), pixel_format)
    for target, plane in zip(picture.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(target), np.uint8).reshape(target.height, target.line_size)
        rows[:, : plane.shape[1]] = plane
    return picture


def _goes_through_rgb(picture: av.VideoFrame) -> bool:
    """RGB, palettes, and grey that is not plain 8 bit."""
    pixel_format = picture.format
    is_yuv = len(pixel_format.components) >= 3 and not pixel_format.is_rgb
    return not (is_yuv or pixel_format.name == "gray") or pixel_format.has_palette


def _to_420(picture: av.VideoFrame) -> av.VideoFrame:
    """Reduce depth and chroma resolution where needed; matrix and range stay."""
    if picture.format.name in (*NATIVE, "gray"):
        return picture
    full_range = picture.color_range == FULL_RANGE or picture.format.name.startswith("yuvj")
    value_range = "JPEG" if full_range else "MPEG"
    return picture.reformat(
        format="yuv420p",
        interpolation=SCALING,
        src_color_range=value_range,
        dst_color_range=value_range,
        threads=1,
    )


def _planes(picture: av.VideoFrame) -> list[Plane]:
    """Copy the planes without the padding at the end of their rows."""
    planes = []
    for plane in picture.planes:
        if plane.line_size < 0:
            raise VideoError(f"pictures in {picture.format.name} stored bottom up are unsupported")
        row = 3 * plane.width if picture.format.name == "rgb24" else plane.width
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        planes.append(rows[:, :row].copy())
    return planes
