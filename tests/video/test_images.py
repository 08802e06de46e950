import numpy as np
import pytest

from kinema.errors import FileError, VideoError
from kinema.video.frame import ColorDescription
from kinema.video.images import is_pattern, numbered_name


def write_images(kit, folder, count=3, **changes):
    folder.mkdir(exist_ok=True)
    color = ColorDescription(matrix=1, chroma_location=1)
    frames = kit.frames(count, 33, 17)
    kit.write(folder / "f-%03d.png", kit.format(33, 17, color=color), frames, **changes)
    return frames


@pytest.mark.parametrize("name", ["f-%03d.png", "f-%d.png", ""])
def test_pictures_come_back_nearly_as_they_were(kit, tmp_path, notes, name):
    frames = write_images(kit, tmp_path / "d")
    reader, back, _ = kit.read(tmp_path / "d" / name, note=notes.append)
    assert (reader.format.width, reader.format.height, reader.num_frames_hint) == (33, 17, 3)
    assert reader.format.color.matrix == 1
    for frame, other in zip(frames, back, strict=True):
        assert np.abs(frame.y.astype(int) - other.y).max() <= 2  # twice rounded, through RGB
    assert "25 frames/s assumed" in notes[0]
    assert "rgb24 converted" in notes[1]


def test_a_single_image_is_a_video_of_one_frame(kit, tmp_path):
    frames = write_images(kit, tmp_path / "d", 1)
    _, back, _ = kit.read(tmp_path / "d" / "f-001.png", note=lambda text: None)
    assert np.abs(frames[0].y.astype(int) - back[0].y).max() <= 2


def test_folder_is_read_in_the_order_of_numbers(kit, tmp_path):
    write_images(kit, tmp_path / "d", 2)
    (tmp_path / "d" / "f-001.png").rename(tmp_path / "d" / "f-10.png")
    (tmp_path / "d" / "f-002.png").rename(tmp_path / "d" / "f-9.png")
    _, back, _ = kit.read(tmp_path / "d", note=lambda text: None)
    assert back[0].y[0, 0] > back[1].y[0, 0]  # frame 1 is brighter than frame 0


def test_missing_number_is_named(kit, tmp_path):
    write_images(kit, tmp_path / "d")
    (tmp_path / "d" / "f-002.png").unlink()
    with pytest.raises(VideoError, match=r"f-002\.png is missing"):
        kit.read(tmp_path / "d" / "f-%03d.png")


def test_nothing_to_read_is_an_error(kit, tmp_path):
    with pytest.raises(FileError, match=r"holds no \.png"):
        kit.read(tmp_path)
    with pytest.raises(FileError, match="no such files"):
        kit.read(tmp_path / "f-%03d.png")


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_damaged_picture_is_named(kit, tmp_path, data):
    (tmp_path / "x1.png").write_bytes(data)
    with pytest.raises(VideoError, match=r"x1\.png"):
        kit.read(tmp_path, note=lambda text: None)


def test_change_of_size_is_named(kit, tmp_path):
    write_images(kit, tmp_path / "d", 2)
    kit.write(tmp_path / "d" / "g%d.png", kit.format(8, 8), kit.frames(1, 8, 8))
    with pytest.raises(VideoError, match="frame 2 is 8x8, the video began as 33x17"):
        kit.read(tmp_path / "d", note=lambda text: None)


def test_existing_pictures_are_kept_unless_asked(kit, tmp_path):
    write_images(kit, tmp_path / "d")
    with pytest.raises(FileError, match=r"f-001\.png exists already"):
        write_images(kit, tmp_path / "d")
    write_images(kit, tmp_path / "d", overwrite=True)


def test_exception_leaves_no_picture_behind(kit, tmp_path):
    with pytest.raises(VideoError):
        kit.write(tmp_path / "f%d.png", kit.format(), [kit.frame(0), kit.frame(1, 8, 8)])
    assert list(tmp_path.iterdir()) == []


def test_patterns():
    assert is_pattern("a/frames-%04d.png")
    assert not is_pattern("a%d/frames.png")
    assert numbered_name("f-%04d.png", 7) == "f-0007.png"
    assert numbered_name("f%d.png", 123) == "f123.png"
