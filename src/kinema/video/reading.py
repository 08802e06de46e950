"""Opens every kind of video: pictures in display order, audio packets as they come along."""

import itertools
import sys
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from io import BufferedIOBase
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from kinema.errors import FileError, VideoError
from kinema.video.frame import (
    AudioPacket,
    AudioTrack,
    Frame,
    Item,
    Note,
    Source,
    VideoFormat,
    log_note,
)

TIME_TOLERANCE_S = Fraction(1, 2000)  # a start given in decimals finds the frame it means
MAX_INTERLEAVING_S = 1  # audio is looked for this far behind the last picture


class VideoReader:
    """A video being read; iterate once, then close it, or use it as a context manager.

    Iterating yields `Frame`s in display order, with `AudioPacket`s between them as in the file.
    Memory does not depend on the length of the video.

    Attributes:
        format: of all frames.
        audio_tracks: what an audio packet's track number refers to.
        num_frames_hint: how many frames are to be expected, None where nobody knows.
    """

    def __init__(self, source: Source, items: Iterator[Item], num_frames_hint: int | None) -> None:
        self.format: VideoFormat = source.format
        self.audio_tracks: tuple[AudioTrack, ...] = source.audio_tracks
        self.num_frames_hint = num_frames_hint
        self._items = items
        self._close = source.close

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._close()


def open_video(
    source: str,
    *,
    start_s: float = 0.0,
    num_frames: int | None = None,
    with_audio: bool = True,
    note: Note = log_note,
) -> VideoReader:
    """Open a video of any kind.

    Args:
        source: a file that FFmpeg reads, a .y4m file, `-` for Y4M on standard input, raw 4:2:0
            named Name_WxH_fps.yuv, a folder of PNG files, or a pattern such as frames-%04d.png.
        start_s: where to begin, in seconds after the first picture; times stay as they are.
        num_frames: how many frames to read, None for all.
        with_audio: False leaves audio tracks aside.
        note: told, in a line each, what is converted, assumed or not carried over.

    Raises:
        FileError: there is nothing to read there.
        VideoError: it is no video, or it is damaged; also while iterating.
    """
    if start_s < 0 or (num_frames is not None and num_frames < 1):
        raise VideoError(f"start {start_s} s, {num_frames} frames: expected 0 or more, 1 or more")
    start = Fraction(start_s)
    opened = _open(source, start, note, with_audio=with_audio)
    items = _from_start(opened, start, source) if start else opened.items
    hint = opened.num_frames_hint
    if hint is not None:
        hint = max(0, hint - round(start * opened.format.frame_rate))
    if num_frames is not None:
        items = _first_frames(opened, items, num_frames)
        hint = num_frames if hint is None else min(hint, num_frames)
    return VideoReader(opened, items, hint)


def _open(source: str, start: Fraction, note: Note, *, with_audio: bool) -> Source:
    from kinema.video import containers, images, raw, y4m  # here: they bring in FFmpeg

    if source == "-":
        return y4m.open_y4m(cast(BufferedIOBase, sys.stdin.buffer), "standard input", note)
    path = Path(source)
    if path.is_dir() or (images.is_pattern(source) and not path.exists()):
        return images.open_images(source, note)
    if path.suffix.lower() not in (".y4m", ".yuv"):
        return containers.open_container(source, start, note, with_audio=with_audio)
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileError(f"{source}: cannot be opened ({error.strerror})") from error
    try:
        if path.suffix.lower() == ".y4m":
            return y4m.open_y4m(file, source, note)
        return raw.open_yuv(file, source, path.stat().st_size, note)
    except BaseException:
        file.close()
        raise


def _times_s(source: Source, item: Item) -> tuple[Fraction, Fraction]:
    """When an item begins and when it ends."""
    if isinstance(item, Frame):
        time_base = source.format.time_base
    else:
        time_base = source.audio_tracks[item.track].time_base
    return item.pts * time_base, (item.pts + item.duration) * time_base


def _from_start(source: Source, start: Fraction, name: str) -> Iterator[Item]:
    """Leave out frames that begin, and audio that ends, before the start."""
    threshold = source.first_time_s + start - TIME_TOLERANCE_S
    has_frames = False
    for item in source.items:
        begin, end = _times_s(source, item)
        if (begin if isinstance(item, Frame) else end) > threshold:
            has_frames = has_frames or isinstance(item, Frame)
            yield item
    if not has_frames:
        raise VideoError(
            f"{name}: there is no picture {float(start):g} s after the first, or later"
        )


def _first_frames(source: Source, items: Iterator[Item], num_frames: int) -> Iterator[Item]:
    """Stop after some frames, and hold audio back until it is known to begin before that."""
    held: deque[AudioPacket] = deque()
    for item in items:
        if isinstance(item, AudioPacket):
            held.append(item)
            continue
        begin, end = _times_s(source, item)
        while held and _times_s(source, held[0])[0] <= begin:
            yield held.popleft()
        yield item
        num_frames -= 1
        if not num_frames:
            yield from _rest_of_audio(source, itertools.chain(held, items), end)
            return
    yield from held


def _rest_of_audio(source: Source, items: Iterator[Item], end: Fraction) -> Iterator[AudioPacket]:
    """The audio that begins before the end; pictures are passed over."""
    unfinished = set(range(len(source.audio_tracks)))
    while unfinished and (item := next(items, None)) is not None:
        begin, _ = _times_s(source, item)
        if isinstance(item, Frame):
            if begin > end + MAX_INTERLEAVING_S:
                return
        elif begin < end:
            yield item
        else:
            unfinished.discard(item.track)
