"""Small videos made on the fly: moving gradients, sine tones, any container FFmpeg writes."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from kinema.video.frame import AudioPacket, Frame, VideoFormat
from kinema.video.reading import VideoReader, open_video
from kinema.video.writing import create_video

SAMPLE_RATE = 48000


def video_format(width=64, height=48, **changes) -> VideoFormat:
    rate = changes.pop("frame_rate", Fraction(25))
    return VideoFormat(
        width=width,
        height=height,
        frame_rate=rate,
        time_base=changes.pop("time_base", None) or 1 / rate,
        **changes,
    )


def make_frame(index: int, width: int = 64, height: int = 48, pts: int | None = None) -> Frame:
    """Smooth, unlike its neighbours in time, different in every plane."""
    rows, columns = np.mgrid[0:height, 0:width]
    y = (rows * 2 + columns + 7 * index) % 200 + 20
    chroma = (112 + y[::2, ::2] // 8, 146 - y[::2, ::2] // 8)
    planes = [plane.astype(np.uint8) for plane in (y, *chroma)]
    return Frame(*planes, pts=index if pts is None else pts, duration=1)


def make_frames(count: int, width: int = 64, height: int = 48) -> list[Frame]:
    return [make_frame(index, width, height) for index in range(count)]


@dataclass
class Recipe:
    """A file to be made through PyAV alone, independent of the code under test."""

    count: int = 12
    size: tuple[int, int] = (64, 48)
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    pts: tuple[int, ...] | None = None
    time_base: Fraction = Fraction(1, 25)
    audio: str | None = None
    seconds: float | None = None
    rotation: int = 0
    options: dict = field(default_factory=dict)
    context: dict = field(default_factory=dict)
    container: dict = field(default_factory=dict)


def make_file(path: Path, **settings) -> Path:
    recipe = Recipe(**settings)
    width, height = recipe.size
    pts = recipe.pts or tuple(range(recipe.count))
    with av.open(str(path), "w", container_options=recipe.container) as container:
        video = container.add_stream(
            recipe.codec,
            rate=25,
            options=recipe.options,
            width=width,
            height=height,
            time_base=recipe.time_base,
        )
        video.codec_context.pix_fmt = recipe.pixel_format
        for name, value in recipe.context.items():
            setattr(video.codec_context, name, value)
        if recipe.rotation:
            video.set_display_rotation(-recipe.rotation)
        audio = container.add_stream(recipe.audio, rate=SAMPLE_RATE) if recipe.audio else None
        if audio:
            audio.layout = "stereo"
        for index, time in enumerate(pts):
            container.mux(video.encode(_picture(index, time, recipe)))
            if audio:
                container.mux(audio.encode(_tone(index)))
        container.mux(video.encode(None))
        if audio:
            container.mux(audio.encode(None))
    return path


def _picture(index: int, pts: int, recipe: Recipe) -> av.VideoFrame:
    frame = make_frame(index, *recipe.size)
    picture = av.VideoFrame(*recipe.size, "yuv420p")
    for target, plane in zip(picture.planes, frame.planes, strict=True):
        rows = np.frombuffer(target, np.uint8).reshape(target.height, target.line_size)
        rows[:, : plane.shape[1]] = plane
    if recipe.pixel_format != "yuv420p":
        picture = picture.reformat(format=recipe.pixel_format)
    picture.pts, picture.time_base = pts, recipe.time_base
    return picture


def _tone(index: int) -> av.AudioFrame:
    count = SAMPLE_RATE // 25
    times = np.arange(index * count, (index + 1) * count) / SAMPLE_RATE
    samples = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    tone = av.AudioFrame.from_ndarray(np.repeat(samples, 2)[None], format="s16", layout="stereo")
    tone.sample_rate, tone.pts = SAMPLE_RATE, index * count
    return tone


def read(path: Path | str, **settings) -> tuple[VideoReader, list[Frame], list[AudioPacket]]:
    """The closed reader, which still tells the format, and everything it gave."""
    with open_video(str(path), **settings) as reader:
        items = list(reader)
    frames = [item for item in items if isinstance(item, Frame)]
    return reader, frames, [item for item in items if isinstance(item, AudioPacket)]


def write(path: Path | str, video_format: VideoFormat, items, **settings) -> Path | str:
    with create_video(str(path), video_format, **settings) as writer:
        for item in items:
            writer.write(item)
    return path


def same_planes(frames: list[Frame], others: list[Frame]) -> bool:
    return len(frames) == len(others) and all(
        np.array_equal(plane, other)
        for frame, other_frame in zip(frames, others, strict=True)
        for plane, other in zip(frame.planes, other_frame.planes, strict=True)
    )


@pytest.fixture
def kit() -> SimpleNamespace:
    """What every test here uses."""
    return SimpleNamespace(
        format=video_format,
        frame=make_frame,
        frames=make_frames,
        file=make_file,
        read=read,
        write=write,
        same_planes=same_planes,
    )


@pytest.fixture
def notes() -> list[str]:
    return []
