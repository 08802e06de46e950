"""Training material on disk: video files, folders of frames, and the Vimeo-90k layout.

Everything is decoded once, to 4:2:0 planes in one memory-mapped file. PyAV decodes where it is
installed, OpenCV otherwise; nothing else of the training room needs either.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinema.errors import ConfigError

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = {".mp4", ".mkv", ".webm", ".avi", ".mov", ".y4m"}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}
MIN_SIDE = 64  # pictures smaller than this are left out


@dataclass(frozen=True)
class Clip:
    """Frames without a scene cut, all of one even size, somewhere in the bank.

    `start` is the first byte; a frame holds width * height * 3 / 2 bytes: Y, U, V.
    """

    start: int
    num_frames: int
    width: int
    height: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.width * self.height * 3 // 2


@dataclass(frozen=True)
class Source:
    """A file of frames or a folder of them, and where its clips begin and end.

    Attributes:
        paths: one video, or images in order.
        spans: (first frame, number of frames) of each clip; everything is one clip if None.
    """

    paths: tuple[Path, ...]
    spans: tuple[tuple[int, int], ...] | None = None


def find_sources(folders: list[Path]) -> list[Source]:
    """List the material below `folders`: videos, and folders that hold images.

    An `index.json` beside videos may list `sources` with `file` and `clips` of `offset` and `len`,
    so that no clip crosses a scene cut; else each file, and each folder of images, is one clip.

    Raises:
        ConfigError: a folder is missing, nothing is found, or an `index.json` says something else.
    """
    sources: list[Source] = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"training data: {folder} is not a folder")
        sources += _videos(folder) + _image_folders(folder)
    if not sources:
        names = ", ".join(str(folder) for folder in folders)
        raise ConfigError(f"training data: no video and no images below {names}")
    return sources


def _videos(folder: Path) -> list[Source]:
    spans: dict[Path, tuple[tuple[int, int], ...]] = {}
    for index in folder.rglob("index.json"):
        try:
            for entry in json.loads(index.read_text()).get("sources", []):
                clips = tuple((c["offset"], c["len"]) for c in entry.get("clips", []))
                spans[index.parent / entry["file"]] = clips
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{index}: expected sources with file and clips: {error}") from error
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    return [Source((path,), spans.get(path)) for path in files]


def _image_folders(folder: Path) -> list[Source]:
    images: dict[Path, list[Path]] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.setdefault(path.parent, []).append(path)
    listed = _vimeo_list(folder)
    return [
        Source(tuple(sorted(paths, key=_frame_number)))
        for parent, paths in sorted(images.items())
        if listed is None or parent in listed
    ]


def _frame_number(path: Path) -> tuple[int, str]:
    digits = "".join(c for c in path.stem if c.isdigit())
    return (int(digits) if digits else 0, path.name)


def _vimeo_list(folder: Path) -> set[Path] | None:
    """Folders named by Vimeo-90k's training list, so that its test part stays unseen."""
    listing = folder / "sep_trainlist.txt"
    if not listing.is_file():
        return None
    return {folder / "sequences" / line for line in listing.read_text().split()}


def build_bank(sources: list[Source], cache: Path) -> tuple[Path, list[Clip]]:
    """Decode `sources` once into a file of planes; later calls find it again.

    Args:
        sources: what to decode.
        cache: folder for the file; made if need be.

    Returns:
        the file, and its clips.

    Raises:
        ConfigError: no picture is large enough to train on.
    """
    stamp = [(str(p), p.stat().st_size, s.spans) for s in sources for p in s.paths]
    name = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:16]
    planes, listing = cache / f"{name}.planes", cache / f"{name}.json"
    if not listing.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _decode_all(sources, planes, listing)
    clips = [Clip(*row) for row in json.loads(listing.read_text())]
    if not clips:
        raise ConfigError(f"training data: no picture has {MIN_SIDE} rows and columns")
    return planes, clips


def _decode_all(sources: list[Source], planes: Path, listing: Path) -> None:
    """Write both files beside their places, then rename: two runs may do so at once."""
    clips: list[Clip] = []
    partial = planes.with_suffix(f".planes.{os.getpid()}")
    with partial.open("wb") as file:
        for source in sources:
            clips += _append(source, file.tell(), file.write)
    partial.replace(planes)
    rows = [[c.start, c.num_frames, c.width, c.height] for c in clips]
    partial.write_text(json.dumps(rows))
    partial.replace(listing)


def _append(source: Source, start: int, write: Callable[[bytes], int]) -> list[Clip]:
    """Write a source's frames; return its clips."""
    count, width, height = 0, 0, 0
    for frame in _frames(source):
        size = (frame.shape[1], frame.shape[0] * 2 // 3)
        if count and size != (width, height):
            break
        width, height = size
        write(frame.tobytes())
        count += 1
    if min(width, height) < MIN_SIDE:
        return []
    frame_bytes = width * height * 3 // 2
    spans = source.spans or ((0, count),)
    return [
        Clip(start + first * frame_bytes, min(length, count - first), width, height)
        for first, length in spans
        if first < count
    ]


def _frames(source: Source) -> Iterator[NDArray[np.uint8]]:
    """I420 pictures (3H/2, W) of even size: an odd last row or column is dropped."""
    for path in source.paths:
        try:
            import av
        except ImportError:
            yield from _read_cv2(path)
        else:
            with av.open(str(path)) as container:
                yield from map(_even_planes, container.decode(video=0))


def _even_planes(frame: "av.VideoFrame") -> NDArray[np.uint8]:
    """Convert to 8-bit 4:2:0, limited range, and drop an odd last row or column: (3H/2, W)."""
    from av.video.reformatter import ColorRange

    if frame.format.name != "yuv420p":
        frame = frame.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG)
    width, height = frame.width & ~1, frame.height & ~1
    planes = []
    for plane, shrink in zip(frame.planes, (1, 2, 2), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: height // shrink, : width // shrink].ravel())
    return np.concatenate(planes).reshape(height * 3 // 2, width)


def _read_cv2(path: Path) -> Iterator[NDArray[np.uint8]]:
    """I420 pictures of even size, from a video or an image."""
    import cv2

    for picture in _pictures_cv2(path):
        height, width = picture.shape[0] & ~1, picture.shape[1] & ~1
        yield cv2.cvtColor(picture[:height, :width], cv2.COLOR_BGR2YUV_I420)


def _pictures_cv2(path: Path) -> Iterator[NDArray[np.uint8]]:
    """BGR pictures (H, W, 3); OpenCV would take an image's name for that of a whole sequence."""
    import cv2

    if path.suffix.lower() in IMAGE_SUFFIXES:
        yield cv2.imread(str(path), cv2.IMREAD_COLOR)
        return
    capture = cv2.VideoCapture(str(path))
    good, picture = capture.read()
    while good:
        yield picture
        good, picture = capture.read()
    capture.release()
