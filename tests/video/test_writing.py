import subprocess
import sys
from fractions import Fraction

import pytest

from kinema.errors import FileError, VideoError
from kinema.video.frame import AudioTrack, Frame
from kinema.video.writing import create_video

NAMES = ["a.mp4", "a.mkv", "a.y4m", "a_64x48_25.yuv", "f%d.png"]


def only(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_exception_leaves_nothing_behind(kit, tmp_path, name):
    def interrupted():
        yield kit.frame(0)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        kit.write(tmp_path / name, kit.format(), interrupted())
    assert only(tmp_path) == []


@pytest.mark.parametrize("name", NAMES)
def test_file_appears_when_it_is_complete(kit, tmp_path, name):
    with create_video(str(tmp_path / name), kit.format()) as writer:
        for frame in kit.frames(3):
            writer.write(frame)
        assert all(part.endswith(".part") for part in only(tmp_path))
    assert writer.num_frames == 3
    assert len(only(tmp_path)) == (3 if name.endswith("png") else 1)
    assert not any(part.endswith(".part") for part in only(tmp_path))


@pytest.mark.parametrize("name", NAMES[:4])
def test_existing_file_is_kept_unless_asked(kit, tmp_path, name):
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(FileError, match="exists already"):
        create_video(str(tmp_path / name), kit.format())
    with (
        pytest.raises(RuntimeError),
        create_video(str(tmp_path / name), kit.format(), overwrite=True),
    ):
        raise RuntimeError
    assert (tmp_path / name).read_bytes() == b"precious"
    kit.write(tmp_path / name, kit.format(), kit.frames(2), overwrite=True)
    assert len(kit.read(tmp_path / name)[1]) == 2


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none/a.mp4", FileError, "does not exist"),
        ("a.gif", VideoError, "ends in .gif, expected .mp4"),
        ("a", VideoError, "ends in nothing"),
        ("one.png", VideoError, "frames-%04d.png"),
    ],
)
def test_target_that_cannot_be_is_refused(kit, tmp_path, name, error, message):
    with pytest.raises(error, match=message):
        create_video(str(tmp_path / name), kit.format())


def test_folder_is_not_replaced(kit, tmp_path):
    (tmp_path / "a.mkv").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        create_video(str(tmp_path / "a.mkv"), kit.format(), overwrite=True)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_written_is_an_error(kit, tmp_path, name):
    with pytest.raises(VideoError, match="no frame was written"):
        kit.write(tmp_path / name, kit.format(), [])
    assert only(tmp_path) == []


def test_frames_that_do_not_fit_are_refused(kit, tmp_path):
    with pytest.raises(VideoError, match=r"frame 1 has \(rows, columns\) \(8, 8\), expected"):
        kit.write(tmp_path / "a.mkv", kit.format(), [kit.frame(0), kit.frame(1, 8, 8)])
    with pytest.raises(VideoError, match="frame 1 has time 0, expected more than 0"):
        kit.write(tmp_path / "a.mkv", kit.format(), [kit.frame(0), kit.frame(0)])


@pytest.mark.parametrize("name", ["a.y4m", "a_64x48_25.yuv", "f%d.png"])
def test_what_a_target_cannot_hold_is_noted(kit, tmp_path, notes, name):
    track = AudioTrack(codec="aac", time_base=Fraction(1, 100), sample_rate=48000, layout="mono")
    frames = [Frame(*frame.planes, pts=frame.pts**2) for frame in kit.frames(4)]
    video_format = kit.format(rotation=90)
    kit.write(tmp_path / name, video_format, frames, audio_tracks=[track], note=notes.append)
    assert "cannot hold 1 audio track(s) or rotation by 90 degrees" in notes[0]
    assert "the frame rate varies" in notes[1]
    assert len(notes) == 2


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001)])
def test_rounding_to_milliseconds_is_no_varying_rate(kit, tmp_path, notes, rate):
    frames = [Frame(*f.planes, pts=round(1000 * f.pts / rate)) for f in kit.frames(40, 8, 8)]
    video_format = kit.format(8, 8, frame_rate=rate, time_base=Fraction(1, 1000))
    kit.write(tmp_path / "a.y4m", video_format, frames, note=notes.append)
    assert notes == []


def test_closed_pipe_is_a_file_error():
    code = (
        "import numpy as np, sys\n"
        "from fractions import Fraction\n"
        "from kinema.errors import FileError\n"
        "from kinema.video.frame import Frame, VideoFormat\n"
        "from kinema.video.writing import create_video\n"
        "planes = [np.zeros((s, s), np.uint8) for s in (512, 256, 256)]\n"
        "rate = Fraction(25)\n"
        "f = VideoFormat(width=512, height=512, frame_rate=rate, time_base=1 / rate)\n"
        "try:\n"
        "    with create_video('-', f) as writer:\n"
        "        for i in range(20): writer.write(Frame(*planes, pts=i))\n"
        "except FileError as error: sys.exit(str(error))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(100)
        process.stdout.close()
        assert b"standard output: cannot be written" in process.stderr.read()
