"""Creates every kind of video; what is written appears complete or not at all."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from kinema.errors import FileError, VideoError
from kinema.video.frame import AudioPacket, AudioTrack, Frame, Item, Note, VideoFormat, log_note
from kinema.video.pending import PendingFile, PendingFolder, Replacement
from kinema.video.raw import RawSink
from kinema.video.y4m import FRAME_HEADER, y4m_header

CONTAINERS = (".mp4", ".mkv")  # these hold audio, rotation and exact times; the others do not
SUFFIXES = (*CONTAINERS, ".y4m", ".yuv", ".png")


class Sink(Protocol):
    """Where the pictures of one video go."""

    def write_frame(self, frame: Frame) -> None:
        """Take one picture."""

    def write_audio(self, packet: AudioPacket) -> None:
        """Take one audio packet, or leave it aside."""

    def finish(self) -> None:
        """Complete what was written."""

    def abort(self) -> None:
        """Let go of it as it is."""


class VideoWriter:
    """A video being written; a context manager.

    Leaving it without an exception completes the file and gives it its name; an exception removes
    what was written.

    Args:
        name: the target, for messages.
        format: of all frames.
        sink: what writes.
        replacement: what gives the file its name in the end; None for standard output.
        note: told when the target cannot hold the times of the frames.
    """

    def __init__(
        self,
        name: str,
        format: VideoFormat,
        sink: Sink,
        replacement: Replacement | None,
        note: Note | None,
    ) -> None:
        self._name = name
        self._format = format
        self._sink = sink
        self._replacement = replacement
        self._note = note
        self._last_pts: int | None = None
        self.num_frames = 0

    def write(self, item: Item) -> None:
        """Append a frame, in display order, or an audio packet, near the frames of its time.

        Raises:
            FileError: the file cannot be written.
            VideoError: the frame has another size than the video, or does not follow the last one.
        """
        with _named(self._name):
            if isinstance(item, AudioPacket):
                self._sink.write_audio(item)
            else:
                self._check(item)
                self._sink.write_frame(item)
                self._last_pts = item.pts
                self.num_frames += 1

    def _check(self, frame: Frame) -> None:
        expected = (self._format.height, self._format.width)
        where = f"{self._name}: frame {self.num_frames}"
        if frame.y.shape != expected:
            raise VideoError(f"{where} has (rows, columns) {frame.y.shape}, expected {expected}")
        if self._last_pts is None:
            return
        step = frame.pts - self._last_pts
        if step <= 0:
            raise VideoError(f"{where} has time {frame.pts}, expected more than {self._last_pts}")
        usual = 1 / self._format.frame_rate
        time_base = self._format.time_base
        if self._note and abs(step * time_base - usual) > time_base + usual / 10:
            self._note(f"{self._name}: the frame rate varies, which this kind of file cannot hold")
            self._note = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_complete = False
        try:
            if error is None:
                with _named(self._name):
                    self._finish()
                is_complete = True
        finally:
            if not is_complete:
                self._sink.abort()
                if self._replacement:
                    self._replacement.discard()

    def _finish(self) -> None:
        if not self.num_frames:
            raise VideoError(f"{self._name}: no frame was written")
        self._sink.finish()
        if self._replacement:
            self._replacement.commit()


def create_video(
    target: str,
    format: VideoFormat,
    audio_tracks: Sequence[AudioTrack] = (),
    *,
    overwrite: bool = False,
    note: Note = log_note,
) -> VideoWriter:
    """Begin a video file.

    Args:
        target: .mp4 (H.264, visually lossless), .mkv (FFV1, lossless), .y4m, .yuv, a pattern such
            as frames-%04d.png, or `-` for Y4M on standard output.
        format: of all frames.
        audio_tracks: of the packets that will come; mp4 and mkv hold them.
        overwrite: whether an existing file may be replaced.
        note: told, in a line each, what the target cannot hold.

    Raises:
        FileError: the target exists, or cannot be created.
        VideoError: there is no way to write this kind of file.
    """
    suffix = ".y4m" if target == "-" else Path(target).suffix.lower()
    if suffix not in SUFFIXES:
        raise VideoError(f"{target}: ends in {suffix or 'nothing'}, expected {' '.join(SUFFIXES)}")
    if suffix in CONTAINERS:
        from kinema.video.muxing import MuxSink  # here: it brings in FFmpeg

        file = PendingFile(Path(target), overwrite=overwrite)
        sink = MuxSink(file.path, suffix, format, audio_tracks, note)
        return VideoWriter(target, format, sink, file, None)
    lost = [f"{len(audio_tracks)} audio track(s)"] * bool(audio_tracks)
    lost += [f"rotation by {format.rotation} degrees"] * bool(format.rotation)
    if lost:
        note(f"{target}: {suffix} cannot hold {' or '.join(lost)}")
    if target == "-":
        output = RawSink(sys.stdout.buffer, y4m_header(format), FRAME_HEADER, keep_open=True)
        return VideoWriter("standard output", format, output, None, note)
    if suffix == ".png":
        return _create_images(target, format, note, overwrite=overwrite)
    return _create_raw(target, format, note, overwrite=overwrite)


def _create_raw(target: str, format: VideoFormat, note: Note, *, overwrite: bool) -> VideoWriter:
    file = PendingFile(Path(target), overwrite=overwrite)
    with _named(target):
        output = file.path.open("wb")
    if Path(target).suffix.lower() == ".y4m":
        sink = RawSink(output, y4m_header(format), FRAME_HEADER)
    else:
        sink = RawSink(output)
    return VideoWriter(target, format, sink, file, note)


def _create_images(target: str, format: VideoFormat, note: Note, *, overwrite: bool) -> VideoWriter:
    from kinema.video import images  # here: it brings in FFmpeg

    if not images.is_pattern(target):
        raise VideoError(f"{target}: one name for all pictures, expected one like frames-%04d.png")
    first = Path(target).parent / images.numbered_name(Path(target).name, 1)
    folder = PendingFolder(Path(target), first, overwrite=overwrite)
    with _named(target):
        folder.path.mkdir()
    sink = images.PngSink(folder.path, Path(target).name, format)
    return VideoWriter(target, format, sink, folder, note)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn the system's errors into ours, with the name of the file."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{name}: cannot be written ({error.strerror})") from error
