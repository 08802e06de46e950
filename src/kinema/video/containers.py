"""mp4, mkv, webm, avi, mov and all else FFmpeg opens: pictures decoded, audio packets as is."""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinema.errors import FileError, VideoError
from kinema.video.audio import AudioReader
from kinema.video.frame import Frame, Item, Note, Source, VideoFormat
from kinema.video.pictures import PictureReader, describe_color
from kinema.video.raw import ASSUMED_FRAME_RATE

NUM_THREADS = 2
CHROMA_LOCATIONS = ("unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom")
TELLS_DURATION = ("mov", "matroska")  # containers whose declared duration can be relied on
TRUNCATION_S = Fraction(1, 4)  # pictures may end this much before the end that the file declares


def open_container(name: str, start_s: Fraction, note: Note, *, with_audio: bool) -> Source:
    """Open a file through FFmpeg and decode its first picture.

    Args:
        name: path.
        start_s: pictures before this time, in seconds after the first, are left out.
        note: told what is converted and what is not carried over.
        with_audio: False leaves audio aside.

    Raises:
        FileError: there is no such file, or it may not be read.
        VideoError: it is no video, or its first picture cannot be decoded.
    """
    try:
        container = av.open(str(Path(name).absolute()), "r", metadata_errors="replace")
    except OSError as error:
        raise FileError(f"{name}: cannot be opened ({error.strerror})") from error
    except av.FFmpegError as error:
        raise VideoError(f"{name}: no video that FFmpeg can read ({error.strerror})") from error
    try:
        return _Demuxer(container, name, note, with_audio=with_audio).source(start_s)
    except BaseException:
        container.close()
        raise


class _Demuxer:
    """Takes one video stream and the audio streams from a container."""

    def __init__(
        self, container: InputContainer, name: str, note: Note, *, with_audio: bool
    ) -> None:
        self._container = container
        self._name = name
        self._note = note
        self._video = _choose_video(container, name)
        self._chroma_location = _chroma_location(container, self._video)
        context = self._video.codec_context
        context.thread_type = ThreadType.AUTO
        context.thread_count = NUM_THREADS
        audio = container.streams.audio if with_audio else ()
        self._audio = AudioReader([stream for stream in audio if stream.codec_context])
        self._pictures = PictureReader(name, note)
        self._format: VideoFormat | None = None  # known with the first picture
        self._last: Frame | None = None  # decoded; delivered when its duration is known
        self._has_noted_order = False
        self._note_what_stays_behind()

    def source(self, start_s: Fraction) -> Source:
        """Decode the first picture, which completes the description, then go to the start."""
        items = self._items(None)
        head: list[Item] = []
        while not head or not isinstance(head[-1], Frame):
            head.append(next(items))
        first, video_format = head[-1], cast(VideoFormat, self._format)
        if start_s > 0 and self._video.start_time is not None:  # bare streams know no times
            items.close()
            items, head = self._seek(first.pts + int(start_s / video_format.time_base)), []
        return Source(
            format=video_format,
            audio_tracks=self._audio.tracks,
            num_frames_hint=self._num_frames_hint(video_format),
            first_time_s=first.pts * video_format.time_base,
            items=itertools.chain(head, items),
            close=self._container.close,
        )

    def _seek(self, pts: int) -> Generator[Item, None, None]:
        """Go to the last keyframe that is not later, and on from there."""
        try:
            self._container.seek(pts, stream=self._video)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self._name}: FFmpeg cannot seek in it ({error.strerror})"
            ) from error
        self._last = None
        return self._items(pts)

    def _items(self, begin_pts: int | None) -> Generator[Item, None, None]:
        """Decode from where the container stands; pictures before `begin_pts` are left out."""
        position = 0
        try:
            for packet in self._container.demux(self._video, *self._audio.streams):
                position = packet.pos or position
                if self._audio.reads(packet):
                    yield from self._audio.to_packets(packet)
                    continue
                for picture in _decode(self._video, packet):
                    if begin_pts is None or (picture.pts or 0) >= begin_pts:
                        yield from self._deliver(picture)
        except av.FFmpegError as error:
            where = f"{self._where()} (near byte {position})"
            raise VideoError(f"{where} cannot be decoded: {error.strerror}") from error
        if self._last is None and begin_pts is None:
            raise VideoError(f"{self._name}: its video stream holds no picture")
        if self._last is not None:
            yield self._last
            self._check_end(self._last)

    def _deliver(self, picture: VideoFrame) -> Generator[Frame, None, None]:
        """Take one picture in and let the one before it go."""
        if picture.is_corrupt:
            raise VideoError(f"{self._where()} is damaged")
        last = self._last
        pts = picture.pts if picture.pts is not None else picture.dts
        if pts is None:
            pts = last.pts + (last.duration or 1) if last else 0
        if last and pts <= last.pts:
            if not self._has_noted_order:
                self._note(f"{self._where()} has time {pts}, not after {last.pts}: moved behind it")
            self._has_noted_order = True
            pts = last.pts + 1
        self._format = self._format or self._describe(picture)
        self._last = self._pictures.to_frame(picture, pts, picture.duration)
        if last:
            yield replace(last, duration=pts - last.pts)

    def _describe(self, picture: VideoFrame) -> VideoFormat:
        rotation = -picture.rotation % 360
        if rotation % 90:
            self._note(f"{self._name}: rotation by {rotation} degrees is not carried over")
            rotation = 0
        return VideoFormat(
            width=picture.width,
            height=picture.height,
            frame_rate=_frame_rate(self._video),
            time_base=self._video.time_base or 1 / ASSUMED_FRAME_RATE,
            sample_aspect_ratio=self._video.sample_aspect_ratio or Fraction(1),
            rotation=rotation,
            color=describe_color(picture, self._chroma_location),
        )

    def _where(self) -> str:
        time_base = self._video.time_base
        time = (
            f", after {float(self._last.pts * time_base):.3f} s,"
            if self._last and time_base
            else ""
        )
        return f"{self._name}: picture {self._pictures.num_frames}{time}"

    def _check_end(self, last: Frame) -> None:
        """A truncated file often ends like a complete one, only earlier than it says."""
        time_base = self._video.time_base
        declared_s = _declared_end_s(self._container, self._video)
        if declared_s is None or time_base is None:
            return
        end_s = (last.pts + 2 * last.duration) * time_base
        if end_s + TRUNCATION_S < declared_s:
            raise VideoError(
                f"{self._name}: ends at {float(end_s):.3f} s, expected {float(declared_s):.3f} s: "
                "truncated file"
            )

    def _num_frames_hint(self, video_format: VideoFormat) -> int | None:
        if self._video.frames:
            return self._video.frames
        end_s = _declared_end_s(self._container, self._video)
        if end_s is None and self._container.duration:
            end_s = Fraction(self._container.duration, av.time_base)
        return round(end_s * video_format.frame_rate) if end_s else None

    def _note_what_stays_behind(self) -> None:
        kinds = [stream.type for stream in self._container.streams if not _is_cover(stream)]
        left = {"video": kinds.count("video") - 1, "subtitle": kinds.count("subtitle")}
        named = " and ".join(f"{count} {kind} stream(s)" for kind, count in left.items() if count)
        if named:
            self._note(f"{self._name}: {named} not carried over")


def _choose_video(container: InputContainer, name: str) -> VideoStream:
    """Take the stream FFmpeg prefers; the cover picture of a song is no video."""
    best = container.streams.best("video")
    if best is None or _is_cover(best):
        found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoError(f"{name}: no video stream, found {found}")
    if best.codec_context is None:
        raise VideoError(f"{name}: FFmpeg has no decoder for the video stream")
    return cast(VideoStream, best)


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _decode(stream: VideoStream, packet: Packet[Stream]) -> list[VideoFrame]:
    if not packet.size and packet.dts is not None:
        return []  # AVI's "as before": FFmpeg would take it for the end
    return stream.decode(cast("Packet[VideoStream]", packet))


def _frame_rate(video: VideoStream) -> Fraction:
    """FFmpeg's guess where it is close to the average: the guess is a round number then."""
    average, guess = video.average_rate, video.guessed_rate
    if average and guess:
        return guess if abs(guess - average) <= average / 50 else average
    return average or guess or ASSUMED_FRAME_RATE


def _declared_end_s(container: InputContainer, video: VideoStream) -> Fraction | None:
    if not container.format.name.startswith(TELLS_DURATION):
        return None
    if video.duration and video.time_base:
        return ((video.start_time or 0) + video.duration) * video.time_base
    if tag := re.match(r"(\d+):(\d+):(\d+(?:\.\d+)?)$", video.metadata.get("DURATION", "")):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3])
    return None


def _chroma_location(container: InputContainer, video: VideoStream) -> int:
    """Find the AVChromaLocation, which PyAV shows nowhere but in FFmpeg's verbose description."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)
    av.logging.set_libav_level(av.logging.VERBOSE)
    try:
        description = container.dumps_format()  # type: ignore[attr-defined]  # missing in its stubs
    finally:
        av.logging.set_libav_level(av.logging.INFO)
        av.logging.set_level(level)
    names = "|".join(CHROMA_LOCATIONS[1:])
    match = re.search(rf"Stream #0:{video.index}\b.*? Video: .*?[(, ]({names})\)", description)
    return CHROMA_LOCATIONS.index(match[1]) if match else 0
