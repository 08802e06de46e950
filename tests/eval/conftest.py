"""Synthetic clips, and a stand-in for our codec: the benchmark must not need a trained model."""

import importlib.util
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kinema.video.frame import Frame, VideoFormat
from kinema.video.writing import create_video

STAND_IN = """
import sys, zlib
import numpy as np

command, source, target = sys.argv[1:4]
if command == "encode":
    step = 2 + int(float(sys.argv[sys.argv.index("--crf") + 1]))
    header, *frames = open(source, "rb").read().split(b"FRAME\\n")
    samples = np.frombuffer(b"".join(frames), np.uint8).astype(int)
    coarse = np.clip((samples + step // 2) // step * step, 0, 255).astype(np.uint8)
    open(target, "wb").write(zlib.compress(coarse.tobytes(), 9))
else:
    open(target, "wb").write(zlib.decompress(open(source, "rb").read()))
"""


def make_frames(width: int, height: int, num_frames: int) -> list[Frame]:
    """Moving waves with a little noise: codes like video, the same at every call."""
    generator = np.random.default_rng(1)
    rows, columns = np.mgrid[0:height, 0:width]
    noise = generator.normal(0, 4, (height, width))
    half = ((height + 1) // 2, (width + 1) // 2)
    frames = []
    for index in range(num_frames):
        wave = 40 * np.sin((columns + 2 * index) / 7) + 30 * np.cos((rows - index) / 5)
        y = np.clip(128 + wave + np.roll(noise, index, axis=1), 16, 235).astype(np.uint8)
        u = np.clip(118 + wave[::2, ::2] / 4, 16, 240).astype(np.uint8)
        v = np.clip(140 - wave[::2, ::2] / 3, 16, 240).astype(np.uint8)
        assert u.shape == half
        frames.append(Frame(y=y, u=u, v=v, pts=index, duration=1))
    return frames


def write_clip(path: Path, width: int, height: int, num_frames: int) -> Path:
    video = VideoFormat(
        width=width, height=height, frame_rate=Fraction(25), time_base=Fraction(1, 25)
    )
    with create_video(str(path), video, overwrite=True) as writer:
        for frame in make_frames(width, height, num_frames):
            writer.write(frame)
    return path


@pytest.fixture
def even_clip(tmp_path):
    return write_clip(tmp_path / "waves.y4m", 96, 64, 5)


@pytest.fixture
def odd_clip(tmp_path):
    return write_clip(tmp_path / "odd.y4m", 75, 53, 3)


@pytest.fixture
def stand_in(tmp_path):
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    return (sys.executable, str(script))


@pytest.fixture
def needs_ffmpeg():
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        pytest.skip("imageio_ffmpeg is not installed: no encoders to run")
