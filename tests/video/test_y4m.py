import io
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from kinema.errors import VideoError
from kinema.video.frame import ColorDescription
from kinema.video.y4m import open_y4m, y4m_header


def parse(data: bytes, note=lambda text: None):
    source = open_y4m(io.BytesIO(data), "clip", note)
    return source.format, list(source.items)


@pytest.mark.parametrize("size", [(64, 48), (33, 17)])
def test_everything_a_header_holds_comes_back(kit, tmp_path, size):
    video_format = kit.format(
        *size,
        frame_rate=Fraction(30000, 1001),
        sample_aspect_ratio=Fraction(4, 3),
        color=ColorDescription(full_range=True, chroma_location=2),
    )
    frames = kit.frames(3, *size)
    reader, back, _ = kit.read(kit.write(tmp_path / "clip.y4m", video_format, frames))
    assert kit.same_planes(frames, back)
    assert reader.format == video_format


def test_ffmpeg_reads_what_is_written(kit, tmp_path):
    av = pytest.importorskip("av")
    frames = kit.frames(2)
    path = kit.write(tmp_path / "clip.y4m", kit.format(), frames)
    with av.open(str(path)) as container:
        pictures = [picture.to_ndarray() for picture in container.decode(video=0)]
    assert np.array_equal(pictures[1][:48], frames[1].y)


@pytest.mark.parametrize("location", [0, 1, 2, 3])
def test_chroma_location_has_a_tag(kit, location):
    header = y4m_header(kit.format(2, 2, color=ColorDescription(chroma_location=location)))
    video_format, frames = parse(header + b"FRAME\n" + bytes(6))
    assert video_format.color.chroma_location == location
    assert len(frames) == 1


@pytest.mark.parametrize(
    ("chroma", "size_bytes"),
    [
        ("422", 8),
        ("444", 12),
        ("411", 8),
        ("mono", 4),
        ("444alpha", 16),
        ("420p10", 12),
        ("mono16", 8),
    ],
)
def test_other_chroma_is_converted_with_a_note(notes, chroma, size_bytes):
    data = f"YUV4MPEG2 W2 H2 F25:1 C{chroma}\nFRAME\n".encode() + bytes([128] * size_bytes)
    _, (frame,) = parse(data, notes.append)
    assert frame.u.shape == (1, 1)
    assert "converted to 8-bit 4:2:0" in notes[0]


def test_grey_keeps_its_samples(kit):
    y = kit.frame(0, 8, 4).y
    _, (frame,) = parse(b"YUV4MPEG2 W8 H4 F25:1 Cmono\nFRAME\n" + y.tobytes())
    assert np.array_equal(frame.y, y)
    assert (frame.u == 128).all()


def test_unknown_rate_and_interlacing_are_noted(notes):
    video_format, _ = parse(b"YUV4MPEG2 W2 H2 F0:0 It A0:0\n", notes.append)
    assert video_format.frame_rate == 25
    assert video_format.sample_aspect_ratio == 1
    assert "25 frames/s assumed" in notes[0]
    assert "interlaced" in notes[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF....", "expected a Y4M header"),
        (b"YUV4MPEG2 W2 H2", "expected a Y4M header"),
        (b"YUV4MPEG2 W0 H2 F25:1\n", "W0"),
        (b"YUV4MPEG2 W2 Hx F25:1\n", "Hx"),
        (b"YUV4MPEG2 H2 F25:1\n", "gives W"),
        (b"YUV4MPEG2 W2 H2 F25:1 C999\n", "C999"),
        (b"YUV4MPEG2 W2 H2 F25:1\nFRAME\n1234", "frame 0 ends after 4 of 6 bytes"),
        (b"YUV4MPEG2 W2 H2 F25:1\nFRAME\n123456FRAME\n", "frame 1 holds no samples"),
        (b"YUV4MPEG2 W2 H2 F25:1\nFRAME\n123456FRAM", "frame 1 begins with"),
    ],
)
def test_damage_is_named(data, message):
    with pytest.raises(VideoError, match=message):
        parse(data)


def test_pipes_carry_it_both_ways(kit, tmp_path):
    frames = kit.frames(2)
    path = kit.write(tmp_path / "clip.y4m", kit.format(), frames)
    code = (
        "from kinema.video.reading import open_video\n"
        "from kinema.video.writing import create_video\n"
        "with open_video('-') as reader, create_video('-', reader.format) as writer:\n"
        "    for item in reader: writer.write(item)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=path.read_bytes(), capture_output=True, check=True
    )
    assert done.stdout == path.read_bytes()
