import errno
import io
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kinema.errors import FileError, VideoError
from kinema.video import raw
from kinema.video.raw import layout_of


@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 1)])
def test_planes_come_back_bit_for_bit(kit, tmp_path, size):
    frames = kit.frames(3, *size)
    path = tmp_path / f"clip_{size[0]}x{size[1]}_50.yuv"
    kit.write(path, kit.format(*size), frames)
    reader, back, _ = kit.read(path)
    assert kit.same_planes(frames, back)
    assert reader.format.frame_rate == 50
    assert reader.num_frames_hint == 3
    assert [frame.pts for frame in back] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("BQMall_832x480_60.yuv", Fraction(60)),
        ("Beauty_1920x1080_120fps_420_8bit_YUV.yuv", Fraction(120)),
        ("a_416x240_29.97.yuv", Fraction(30000, 1001)),
        ("b_416x240_23.976_420.yuv", Fraction(24000, 1001)),
        ("c_416x240_12.5.yuv", Fraction(25, 2)),
        ("d_416x240_420.yuv", None),
        ("e_416x240_8bit.yuv", None),
        ("f-2x2_352x288.yuv", None),
    ],
)
def test_name_tells_size_and_rate(kit, tmp_path, notes, name, rate):
    (tmp_path / name).write_bytes(b"")
    reader, frames, _ = kit.read(tmp_path / name, note=notes.append)
    assert frames == []
    assert reader.format.frame_rate == (rate or 25)
    assert (len(notes) == 1 and "25 frames/s assumed" in notes[0]) is (rate is None)


def test_name_without_size_is_refused(kit, tmp_path):
    (tmp_path / "akiyo_qcif.yuv").write_bytes(bytes(100))
    with pytest.raises(VideoError, match="Name_WxH_fps"):
        kit.read(tmp_path / "akiyo_qcif.yuv")


def test_file_that_ends_within_a_picture_is_named(kit, tmp_path):
    path = tmp_path / "cut_64x48_25.yuv"
    path.write_bytes(bytes(4608 + 100))
    with pytest.raises(VideoError, match="frame 1 ends after 100 of 4608 bytes"):
        kit.read(path)


def test_ten_bits_and_full_chroma_are_converted_with_a_note(kit, tmp_path, notes):
    path = tmp_path / "deep_16x8_25_10bit_444.yuv"
    planes = [np.full((8, 16), value * 4, "<u2") for value in (100, 60, 200)]
    path.write_bytes(b"".join(map(bytes, planes)))
    _, (frame,), _ = kit.read(path, note=notes.append)
    assert [int(plane[0, 0]) for plane in frame.planes] == [100, 60, 200]
    assert frame.u.shape == (4, 8)
    assert notes == [f"{path}: yuv444p10le converted to 8-bit 4:2:0"]


def test_layouts_round_chroma_up():
    assert layout_of("yuv420p", 5, 3).size_bytes == 15 + 2 * 6
    assert layout_of("yuv422p10le", 5, 3).size_bytes == 30 + 2 * 18
    assert layout_of("yuva444p", 5, 3).size_bytes == 60
    assert layout_of("gray", 5, 3).size_bytes == 15


def test_a_header_that_promises_huge_pictures_costs_no_memory(kit, tmp_path):
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W99999 H99999 F25:1\nFRAME\nabc")
    (tmp_path / "a_99999x99999_25.yuv").write_bytes(b"abc")
    for name in ("a.y4m", "a_99999x99999_25.yuv"):
        tracemalloc.start()
        try:
            with pytest.raises(VideoError, match=r"truncated|3 bytes"):
                kit.read(tmp_path / name)
            assert tracemalloc.get_traced_memory()[1] < 10**8
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("first_piece", [1, 7, 100_000])
def test_pictures_come_in_pieces_of_any_size(kit, tmp_path, monkeypatch, first_piece):
    monkeypatch.setattr(raw, "FIRST_PIECE_BYTES", first_piece)
    kit.write(tmp_path / "a.y4m", kit.format(), kit.frames(3))
    assert kit.same_planes(kit.read(tmp_path / "a.y4m")[1], kit.frames(3))


def test_a_full_disk_leaves_nothing_behind(kit, tmp_path, monkeypatch):
    """The rest of a buffer finds no room either, when the file is closed."""

    class Full(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def full(path, mode):
        path.touch()
        return io.BufferedWriter(Full())

    monkeypatch.setattr(Path, "open", full)
    for name in ("a.y4m", "a_64x48_25.yuv"):
        with pytest.raises(FileError, match=rf"{name}: cannot be written \(No space left"):
            kit.write(tmp_path / name, kit.format(), kit.frames(9))
    assert list(tmp_path.iterdir()) == []
