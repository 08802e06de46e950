"""mp4 and mkv: pictures encoded by FFmpeg, audio packets put back as they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags, ThreadType
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from kinema.errors import VideoError
from kinema.video.audio import add_track
from kinema.video.containers import CHROMA_LOCATIONS
from kinema.video.frame import AudioPacket, AudioTrack, Frame, Note, VideoFormat
from kinema.video.pictures import to_picture

CONTAINERS = {".mp4": "mp4", ".mkv": "matroska"}  # suffix -> FFmpeg's name
MAX_TIMESCALE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Encoder:
    """One of FFmpeg's, with its options."""

    codec: str
    options: dict[str, str]
    is_even_only: bool  # cannot hold an odd width or height


H264 = _Encoder("libx264", {"crf": "12", "preset": "fast"}, is_even_only=True)
H264_LOSSLESS = _Encoder("libx264", {"qp": "0", "preset": "fast", "bf": "0"}, is_even_only=True)
FFV1 = _Encoder("ffv1", {"level": "3", "slicecrc": "1", "g": "1"}, is_even_only=False)


class MuxSink:
    """Writes a container with one video stream and audio streams.

    Args:
        path: of the file to write.
        suffix: `.mp4` (H.264, crf 12) or `.mkv` (lossless: FFV1, or H.264 where samples are not
            square, because PyAV can tell that to Matroska in no other way).
        video_format: of the frames.
        audio_tracks: of the packets; those the container cannot hold are dropped.
        note: told what is dropped or changed.
    """

    def __init__(
        self,
        path: Path,
        suffix: str,
        video_format: VideoFormat,
        audio_tracks: Sequence[AudioTrack],
        note: Note,
    ) -> None:
        self._suffix = suffix
        self._time_base = video_format.time_base
        self._tracks = tuple(audio_tracks)
        self._container = av.open(
            str(path), "w", CONTAINERS[suffix], container_options=self._container_options()
        )
        encoder = _choose_encoder(suffix, video_format, note)
        self._missing = (0, 0)  # rows and columns, where sizes must be even
        if encoder.is_even_only:
            self._missing = (video_format.height % 2, video_format.width % 2)
        if any(self._missing):
            note(f"{video_format.width}x{video_format.height}: padded to even sizes for H.264")
        self._video = self._add_video(encoder, video_format)
        self._audio = [self._add_audio(index, note) for index in range(len(self._tracks))]

    def _container_options(self) -> dict[str, str]:
        """Keep times: no shift to zero, no rounding to milliseconds where it can be avoided."""
        options = {
            "avoid_negative_ts": "disabled",
            "max_interleave_delta": "2000000",  # microseconds: memory stays bounded without audio
        }
        if self._suffix == ".mp4" and self._time_base.denominator <= MAX_TIMESCALE:
            options["movie_timescale"] = str(self._time_base.denominator)
        return options

    def _add_video(self, encoder: _Encoder, video_format: VideoFormat) -> VideoStream:
        color = video_format.color
        location = CHROMA_LOCATIONS[color.chroma_location]
        stream = self._container.add_stream(
            encoder.codec,
            video_format.frame_rate,
            options={**encoder.options, "chroma_sample_location": location},
            width=video_format.width + self._missing[1],
            height=video_format.height + self._missing[0],
            time_base=self._time_base,
        )
        if not isinstance(stream, VideoStream):
            raise VideoError(f"{encoder.codec} is no video codec")
        context = stream.codec_context
        context.pix_fmt = "yuv420p"
        context.sample_aspect_ratio = video_format.sample_aspect_ratio
        context.colorspace = color.matrix
        context.color_primaries = color.primaries
        context.color_trc = color.transfer
        context.color_range = 2 if color.full_range else 1
        context.flags |= Flags.frame_duration
        # H.264 frame threads: its slice threads cost quality; FFV1 knows slices only
        context.thread_type = ThreadType.AUTO
        if video_format.rotation:
            stream.set_display_rotation(-video_format.rotation)  # counter-clockwise
        return stream

    def _add_audio(self, index: int, note: Note) -> Stream | None:
        try:
            return add_track(self._container, self._tracks[index])
        except VideoError as error:
            note(f"audio track {index} ({self._tracks[index].codec}) dropped: {error}")
            return None

    def write_frame(self, frame: Frame) -> None:
        """Encode one picture.

        Raises:
            VideoError: its time is negative, which mp4 cannot express for pictures.
        """
        if frame.pts < 0 and self._suffix == ".mp4":
            raise VideoError(f"a picture at {frame.pts * self._time_base} s, mp4 begins at 0")
        y = frame.y
        if any(self._missing):
            y = np.pad(y, [(0, count) for count in self._missing], mode="edge")
        picture = to_picture((y, frame.u, frame.v), "yuv420p", self._video.width)
        picture.pts, picture.time_base = frame.pts, self._time_base
        picture.duration = frame.duration
        self._encode(picture)

    def write_audio(self, packet: AudioPacket) -> None:
        """Put one audio packet into its stream."""
        stream = self._audio[packet.track]
        if stream is None:
            return
        copy: Packet[Stream] = Packet(packet.data)
        copy.stream = stream
        copy.time_base = self._tracks[packet.track].time_base
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.is_keyframe = packet.is_keyframe
        with _told():
            self._container.mux(copy)

    def finish(self) -> None:
        """Encode what is still under way and complete the file."""
        self._encode(None)
        with _told():
            self._container.close()

    def abort(self) -> None:
        """Let go of the file as it is."""
        with suppress(av.FFmpegError, OSError):
            self._container.close()

    def _encode(self, picture: av.VideoFrame | None) -> None:
        with _told():
            self._container.mux(self._video.encode(picture))


def _choose_encoder(suffix: str, video_format: VideoFormat, note: Note) -> _Encoder:
    if suffix == ".mp4":
        return H264
    aspect = video_format.sample_aspect_ratio
    if aspect == 1:
        return FFV1
    if video_format.width % 2 == 0 and video_format.height % 2 == 0:
        return H264_LOSSLESS
    note(f"sample aspect ratio {aspect} is lost: mkv of an odd size cannot hold it")
    return FFV1


@contextmanager
def _told() -> Iterator[None]:
    """Turn FFmpeg's refusals into ours; those of the file system are `OSError`s already."""
    try:
        yield
    except OSError:
        raise
    except av.FFmpegError as error:
        raise VideoError(f"FFmpeg refuses to write this ({error.strerror})") from error
