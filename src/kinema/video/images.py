"""Sequences of PNG files: a folder, or a pattern such as frames-%04d.png."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from kinema.errors import FileError, VideoError
from kinema.video.color import frame_to_rgb
from kinema.video.frame import AudioPacket, Frame, Note, Source, VideoFormat
from kinema.video.pictures import PictureReader, describe_color, to_picture
from kinema.video.raw import ASSUMED_FRAME_RATE

NUMBER = re.compile(r"%0?(\d*)d")


def is_pattern(name: str) -> bool:
    """Whether a path names a sequence of pictures by a number in its last part."""
    return len(NUMBER.findall(Path(name).name)) == 1


def open_images(name: str, note: Note) -> Source:
    """Read PNG files in the order of their numbers, or of their names in a folder.

    Raises:
        FileError: there are none.
        VideoError: a number is missing in a pattern's sequence, or a file is no PNG.
    """
    paths = _numbered(Path(name)) if is_pattern(name) else _in_folder(Path(name))
    note(f"{name}: pictures have no frame rate, {ASSUMED_FRAME_RATE} frames/s assumed")
    first = _decode(paths[0])
    video_format = VideoFormat(
        width=first.width,
        height=first.height,
        frame_rate=ASSUMED_FRAME_RATE,
        time_base=1 / ASSUMED_FRAME_RATE,
        color=describe_color(first),
    )
    return Source(
        format=video_format,
        num_frames_hint=len(paths),
        items=_read(paths, PictureReader(name, note)),
        close=lambda: None,
    )


class PngSink:
    """Writes every picture to a numbered PNG file, beginning with 1.

    Args:
        folder: where the files go; it exists.
        pattern: their names, such as frames-%04d.png.
        video_format: matrix, range and chroma location of the frames.
    """

    def __init__(self, folder: Path, pattern: str, video_format: VideoFormat) -> None:
        self._folder = folder
        self._pattern = pattern
        self._color = video_format.color
        self._num_frames = 0

    def write_frame(self, frame: Frame) -> None:
        """Convert one picture to RGB and write its file."""
        self._num_frames += 1
        rgb = frame_to_rgb(frame, self._color)
        height, width, _ = rgb.shape
        encoder = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "rgb24"
        encoder.time_base = Fraction(1, 25)
        picture = to_picture((rgb.reshape(height, 3 * width),), "rgb24", width)
        packets = [*encoder.encode(picture), *encoder.encode(None)]
        path = self._folder / numbered_name(self._pattern, self._num_frames)
        path.write_bytes(b"".join(map(bytes, packets)))

    def write_audio(self, packet: AudioPacket) -> None:
        """Pictures hold no audio."""

    def finish(self) -> None:
        """Nothing is left to do."""

    def abort(self) -> None:
        """Nothing is left open."""


def numbered_name(pattern: str, number: int) -> str:
    """Put a number into a pattern."""
    return NUMBER.sub(lambda match: str(number).zfill(int(match[1] or 0)), pattern)


def _in_folder(folder: Path) -> list[Path]:
    paths = [path for path in folder.iterdir() if path.suffix.lower() == ".png"]
    if not paths:
        raise FileError(f"{folder}: the folder holds no .png file")
    return sorted(
        paths, key=lambda path: [_sortable(part) for part in re.split(r"(\d+)", path.stem)]
    )


def _sortable(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() else (0, part)


def _numbered(pattern: Path) -> list[Path]:
    before, after = map(re.escape, NUMBER.sub("%d", pattern.name).split("%d"))
    name = re.compile(f"{before}(\\d+){after}")
    folder = pattern.parent
    found = {
        int(match[1]): path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := name.fullmatch(path.name))
    }
    if not found:
        raise FileError(f"{pattern}: no such files")
    numbers = sorted(found)
    for number, expected in zip(numbers, range(numbers[0], numbers[-1] + 1), strict=False):
        if number != expected:
            missing = numbered_name(pattern.name, expected)
            raise VideoError(f"{pattern}: {missing} is missing between files that exist")
    return [found[number] for number in numbers]


def _read(paths: list[Path], reader: PictureReader) -> Iterator[Frame]:
    for pts, path in enumerate(paths):
        yield reader.to_frame(_decode(path), pts, 1)


def _decode(path: Path) -> av.VideoFrame:
    decoder = av.CodecContext.create("png", "r")
    decoder.thread_count = 1
    try:
        pictures = [*decoder.decode(av.Packet(path.read_bytes())), *decoder.decode(None)]
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: cannot be read as PNG ({error.strerror})") from error
    if not pictures or pictures[0].is_corrupt:
        raise VideoError(f"{path}: the PNG file is damaged")
    return pictures[0]
