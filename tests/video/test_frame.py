import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from kinema.errors import ShapeError, VideoError
from kinema.video.frame import Frame


def plane(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


def test_chroma_of_an_odd_size_is_rounded_up():
    frame = Frame(plane(5, 7), plane(3, 4), plane(3, 4), pts=0)
    assert [p.shape for p in frame.planes] == [(5, 7), (3, 4), (3, 4)]


@pytest.mark.parametrize("chroma", [(2, 3), (3, 3), (5, 7)])
def test_chroma_of_another_size_is_refused(chroma):
    with pytest.raises(ShapeError, match="chroma planes"):
        Frame(plane(5, 7), plane(*chroma), plane(3, 4), pts=0)


def test_samples_of_another_type_are_refused():
    with pytest.raises(ShapeError, match="uint8"):
        Frame(plane(2, 2), plane(1, 1), plane(1, 1, dtype=np.float32), pts=0)


@pytest.mark.parametrize(
    "changes",
    [{"width": 0}, {"rotation": 45}, {"frame_rate": Fraction(0), "time_base": Fraction(1)}],
)
def test_format_that_makes_no_sense_is_refused(kit, changes):
    with pytest.raises(VideoError):
        kit.format(**changes)


def test_types_come_without_ffmpeg_and_torch():
    code = "import sys, kinema.video.frame; sys.exit('av' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
