"""Uncompressed planar pictures, one after the other: .yuv, described by its name; Y4M's body."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedIOBase
from typing import BinaryIO

import numpy as np

from kinema.errors import VideoError
from kinema.video.frame import (
    AudioPacket,
    ColorDescription,
    Frame,
    Note,
    Plane,
    Source,
    VideoFormat,
)

ASSUMED_FRAME_RATE = Fraction(25)  # where a file does not tell
MAX_LINE_BYTES = 1024
FIRST_PIECE_BYTES = 1 << 25  # of a picture; holds one of 16 million luma samples
CHROMA_STEP = {"420": (2, 2), "422": (1, 2), "411": (1, 4), "444": (1, 1)}  # (rows, columns)
YUV_NAME = re.compile(r"(?<!\d)(\d{1,5})x(\d{1,5})(?!\d)(?:_(\d+(?:\.\d+)?)(?:fps|hz)?(?=[_.]|$))?")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the bytes of one picture lie: planes one after the other, without padding."""

    pixel_format: str  # FFmpeg's name
    width: int  # of the picture, in samples
    plane_shapes: tuple[tuple[int, int], ...]  # rows, and bytes per row

    @property
    def size_bytes(self) -> int:
        """Of one picture."""
        return sum(rows * row_bytes for rows, row_bytes in self.plane_shapes)

    def split(self, data: bytearray) -> tuple[Plane, ...]:
        """Cut the bytes of one picture into planes, without copying."""
        planes, offset = [], 0
        for rows, row_bytes in self.plane_shapes:
            plane = np.frombuffer(data, np.uint8, rows * row_bytes, offset)
            planes.append(plane.reshape(rows, row_bytes))
            offset += rows * row_bytes
        return tuple(planes)


def layout_of(pixel_format: str, width: int, height: int) -> Layout:
    """Lay out a planar pixel format, given by FFmpeg's name."""
    sample_bytes = 2 if pixel_format.endswith("le") else 1
    luma = (height, width * sample_bytes)
    if pixel_format.startswith("gray"):
        return Layout(pixel_format, width, (luma,))
    down, right = next(step for tag, step in CHROMA_STEP.items() if tag in pixel_format)
    chroma = (-(-height // down), -(-width // right) * sample_bytes)
    alpha = (luma,) if pixel_format.startswith("yuva") else ()
    return Layout(pixel_format, width, (luma, chroma, chroma, *alpha))


def open_yuv(file: BufferedIOBase, name: str, size_bytes: int, note: Note) -> Source:
    """Read pictures without any header, named like `Name_WxH_fps[_10bit][_444].yuv`.

    Args:
        file: open at its first byte.
        name: path, for messages and for the picture size.
        size_bytes: of the whole file.
        note: told what had to be assumed or converted.

    Raises:
        VideoError: the name does not tell the size.
    """
    stem = re.split(r"[/\\]", name)[-1].lower()
    match = YUV_NAME.search(stem)
    if match is None:
        raise VideoError(f"{name}: the name does not tell the size, expected Name_WxH_fps.yuv")
    width, height, rate = int(match[1]), int(match[2]), _rate_from_name(match[3])
    if rate is None:
        note(f"{name}: no frame rate in the name, {ASSUMED_FRAME_RATE} frames/s assumed")
    rest = stem[match.end(2) :]
    chroma = next((tag for tag in ("422", "444") if tag in rest), "420")
    depth = re.search(r"(10|12|16)_?b", rest)
    video_format = constant_rate_format(width, height, rate)
    layout = layout_of(f"yuv{chroma}p{f'{depth[1]}le' if depth else ''}", width, height)
    return Source(
        format=video_format,
        num_frames_hint=size_bytes // layout.size_bytes,
        items=to_frames(_read_pictures(file, layout, name), layout, name, note),
        close=file.close,
    )


def constant_rate_format(
    width: int,
    height: int,
    frame_rate: Fraction | None,
    color: ColorDescription | None = None,
    sample_aspect_ratio: Fraction | None = None,
) -> VideoFormat:
    """Describe pictures that are numbered, not timed: their pts is their number."""
    frame_rate = frame_rate or ASSUMED_FRAME_RATE
    return VideoFormat(
        width=width,
        height=height,
        frame_rate=frame_rate,
        time_base=1 / frame_rate,
        sample_aspect_ratio=sample_aspect_ratio or Fraction(1),
        color=color or ColorDescription(),
    )


def read_picture(file: BufferedIOBase, layout: Layout, where: str) -> bytearray:
    """Read one picture, or nothing at the end of the file.

    Memory follows what the file holds, not what its header promises.

    Raises:
        VideoError: the file ends within the picture.
    """
    size = layout.size_bytes
    data = bytearray(min(size, FIRST_PIECE_BYTES))
    filled = 0
    while filled < size:
        if filled == len(data):
            data.extend(bytes(min(filled, size - filled)))
        with memoryview(data)[filled:] as rest:
            count = file.readinto(rest)
        if not count:
            break
        filled += count  # a pipe gives a picture piece by piece
    if 0 < filled < size:
        raise VideoError(f"{where} ends after {filled} of {size} bytes: truncated file")
    return data if filled else bytearray()


def to_frames(
    pictures: Iterator[bytearray],
    layout: Layout,
    name: str,
    note: Note,
    *,
    full_range: bool = False,
) -> Iterator[Frame]:
    """Number the pictures; 8-bit 4:2:0 needs no conversion, and no FFmpeg."""
    if layout.pixel_format == "yuv420p":
        for pts, data in enumerate(pictures):
            y, u, v = layout.split(data)
            yield Frame(y, u, v, pts, 1)
        return
    from kinema.video.pictures import PictureReader, to_picture

    reader = PictureReader(name, note)
    for pts, data in enumerate(pictures):
        picture = to_picture(layout.split(data), layout.pixel_format, layout.width)
        picture.color_range = 2 if full_range else 1
        yield reader.to_frame(picture, pts, 1)


class RawSink:
    """Writes headers and planes to a file that is open for writing.

    Args:
        file: closed in the end unless `keep_open`.
        header: written first.
        frame_header: written before each picture.
        keep_open: True for standard output.
    """

    def __init__(
        self,
        file: BinaryIO,
        header: bytes = b"",
        frame_header: bytes = b"",
        *,
        keep_open: bool = False,
    ) -> None:
        self._file = file
        self._frame_header = frame_header
        self._keep_open = keep_open
        file.write(header)

    def write_frame(self, frame: Frame) -> None:
        """Append one picture."""
        self._file.write(self._frame_header)
        for plane in frame.planes:
            self._file.write(np.ascontiguousarray(plane).data)

    def write_audio(self, packet: AudioPacket) -> None:
        """Nothing here holds audio."""

    def finish(self) -> None:
        """Complete the file."""
        self._file.flush()
        if not self._keep_open:
            self._file.close()

    def abort(self) -> None:
        """Let go of the file as it is, even where what is left of it finds no room."""
        if not self._keep_open:
            with suppress(OSError):
                self._file.close()


def _read_pictures(file: BufferedIOBase, layout: Layout, name: str) -> Iterator[bytearray]:
    index = 0
    while data := read_picture(file, layout, f"{name}: frame {index}"):
        yield data
        index += 1


def _rate_from_name(text: str | None) -> Fraction | None:
    """Read frames per second; 29.97 and its like become 30000/1001."""
    if text is None or text in CHROMA_STEP or not float(text):
        return None
    rate = Fraction(text)
    ntsc = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    return ntsc if rate.denominator > 1 and abs(rate - ntsc) < Fraction(1, 100) else rate
