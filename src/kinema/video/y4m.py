"""Y4M (YUV4MPEG2): uncompressed pictures behind a line of text; what pipes carry."""

import re
from collections.abc import Iterator
from fractions import Fraction
from io import BufferedIOBase

from kinema.errors import VideoError
from kinema.video.frame import ColorDescription, Note, Source, VideoFormat
from kinema.video.raw import (
    ASSUMED_FRAME_RATE,
    MAX_LINE_BYTES,
    Layout,
    constant_rate_format,
    layout_of,
    read_picture,
    to_frames,
)

FRAME_HEADER = b"FRAME\n"
CHROMA_LOCATION = {"420": 0, "420mpeg2": 1, "420jpeg": 2, "420paldv": 3}  # AVChromaLocation
EIGHT_BIT = {  # other chroma tags, and FFmpeg's names for their pixel formats
    "411": "yuv411p",
    "422": "yuv422p",
    "444": "yuv444p",
    "444alpha": "yuva444p",
    "mono": "gray",
}


def open_y4m(file: BufferedIOBase, name: str, note: Note) -> Source:
    """Read a stream from its first byte on.

    Raises:
        VideoError: it does not begin with a Y4M header, or the header makes no sense.
    """
    line = file.readline(MAX_LINE_BYTES)
    if not line.startswith(b"YUV4MPEG2 ") or not line.endswith(b"\n"):
        raise VideoError(f"{name}: begins with {line[:16]!r}, expected a Y4M header")
    fields = line.decode("ascii", "replace").split()[1:]
    tags = {field[0]: field[1:] for field in fields if field[0] != "X"}
    width, height = (_size(tags.get(key, ""), key, name) for key in "WH")
    rate = _ratio(tags.get("F", ""))
    if rate is None:
        note(f"{name}: no frame rate given, {ASSUMED_FRAME_RATE} frames/s assumed")
    if tags.get("I", "?") in ("t", "b", "m"):
        note(f"{name}: interlaced; its fields are coded together as they are")
    chroma = tags.get("C", "420")
    color = ColorDescription(
        full_range="XCOLORRANGE=FULL" in fields, chroma_location=CHROMA_LOCATION.get(chroma, 0)
    )
    layout = layout_of(_pixel_format(chroma, name), width, height)
    pictures = _read_pictures(file, layout, name)
    return Source(
        format=constant_rate_format(width, height, rate, color, _ratio(tags.get("A", ""))),
        items=to_frames(pictures, layout, name, note, full_range=color.full_range),
        close=file.close,
    )


def y4m_header(video_format: VideoFormat) -> bytes:
    """The line that begins a stream of such pictures."""
    tag_of = {location: tag for tag, location in CHROMA_LOCATION.items()}
    chroma = tag_of.get(video_format.color.chroma_location, "420")
    rate, aspect = video_format.frame_rate, video_format.sample_aspect_ratio
    value_range = "FULL" if video_format.color.full_range else "LIMITED"
    return (
        f"YUV4MPEG2 W{video_format.width} H{video_format.height} "
        f"F{rate.numerator}:{rate.denominator} Ip A{aspect.numerator}:{aspect.denominator} "
        f"C{chroma} XCOLORRANGE={value_range}\n"
    ).encode()


def _read_pictures(file: BufferedIOBase, layout: Layout, name: str) -> Iterator[bytearray]:
    index = 0
    while line := file.readline(MAX_LINE_BYTES):
        if not line.startswith(b"FRAME") or not line.endswith(b"\n"):
            raise VideoError(f"{name}: frame {index} begins with {line[:16]!r}, expected FRAME")
        data = read_picture(file, layout, f"{name}: frame {index}")
        if not data:
            raise VideoError(f"{name}: frame {index} holds no samples: truncated file")
        yield data
        index += 1


def _pixel_format(chroma: str, name: str) -> str:
    if chroma in CHROMA_LOCATION:
        return "yuv420p"
    if chroma in EIGHT_BIT:
        return EIGHT_BIT[chroma]
    if deep := re.fullmatch(r"(420|422|444)p(9|10|12|14|16)", chroma):
        return f"yuv{deep[1]}p{deep[2]}le"
    if deep := re.fullmatch(r"mono(9|10|12|14|16)", chroma):
        return f"gray{deep[1]}le"
    raise VideoError(f"{name}: chroma tag C{chroma} is unknown")


def _size(text: str, key: str, name: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or int(text) == 0:
        raise VideoError(f"{name}: the Y4M header gives {key}{text}, expected 1 to 99999 samples")
    return int(text)


def _ratio(text: str) -> Fraction | None:
    """Read `30000:1001`; `0:0` means unknown."""
    parts = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if parts is None or not int(parts[1]) or not int(parts[2]):
        return None
    return Fraction(int(parts[1]), int(parts[2]))
