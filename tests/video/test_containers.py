import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinema.errors import FileError, VideoError
from kinema.video.frame import ColorDescription

BT709 = {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1}


def silent(text):
    pass


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "libx264"),
        ("a.mkv", "ffv1"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mpeg4"),
    ],
)
def test_every_container_gives_all_frames_in_display_order(kit, tmp_path, name, codec):
    path = kit.file(tmp_path / name, codec=codec, count=12)
    reader, frames, _ = kit.read(path, note=silent)
    times = [frame.pts * reader.format.time_base for frame in frames]
    assert times == [Fraction(index, 25) for index in range(12)]
    assert reader.format.frame_rate == 25
    assert reader.num_frames_hint == 12
    for index, frame in enumerate(frames):
        assert np.abs(frame.y.astype(int) - kit.frame(index).y).mean() < 6


@pytest.mark.parametrize("size", [(33, 17), (416, 240)])
def test_lossless_video_is_read_sample_by_sample(kit, tmp_path, notes, size):
    path = kit.file(tmp_path / "a.mkv", codec="ffv1", size=size, count=3)
    _, frames, _ = kit.read(path, note=notes.append)
    assert kit.same_planes(frames, kit.frames(3, *size))
    assert notes == []


def test_description_is_complete(kit, tmp_path):
    path = kit.file(
        tmp_path / "a.mp4",
        rotation=90,
        context={**BT709, "sample_aspect_ratio": Fraction(4, 3)},
        options={"chroma_sample_location": "topleft"},
    )
    video_format = kit.read(path)[0].format
    assert video_format.color == ColorDescription(
        matrix=1, primaries=1, transfer=1, full_range=False, chroma_location=3
    )
    assert (video_format.rotation, video_format.sample_aspect_ratio) == (90, Fraction(4, 3))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_counted_clockwise(kit, tmp_path, rotation):
    path = kit.file(tmp_path / "a.mp4", rotation=rotation, count=2)
    assert kit.read(path)[0].format.rotation == rotation


def test_full_range_is_kept_and_flagged(kit, tmp_path, notes):
    path = kit.file(tmp_path / "a.mkv", codec="ffv1", context={"color_range": 2}, count=2)
    reader, frames, _ = kit.read(path, note=notes.append)
    assert reader.format.color.full_range
    assert kit.same_planes(frames, kit.frames(2))
    assert notes == []


def test_varying_frame_rate_keeps_every_time(kit, tmp_path):
    pts = (0, 1, 2, 5, 6, 9, 20, 21)
    path = kit.file(tmp_path / "a.mp4", pts=pts, time_base=Fraction(1, 30))
    reader, frames, _ = kit.read(path)
    times = [frame.pts * reader.format.time_base * 30 for frame in frames]
    assert times == list(pts)
    lengths = [frame.duration * reader.format.time_base * 30 for frame in frames]
    assert lengths[:-1] == list(np.diff(pts))


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le", "bgr0"])
def test_other_formats_are_converted_with_a_note(kit, tmp_path, notes, pixel_format):
    path = kit.file(tmp_path / "a.mkv", codec="ffv1", pixel_format=pixel_format, count=3)
    _, frames, _ = kit.read(path, note=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith(f"{path}: {pixel_format} converted to 8-bit 4:2:0")
    if pixel_format != "bgr0":
        assert np.abs(frames[0].y.astype(int) - kit.frame(0).y).max() <= 1


@pytest.mark.parametrize("start_s", [0.2, 0.52, 0.92])
def test_start_seeks_to_the_very_frame(kit, tmp_path, start_s):
    path = kit.file(tmp_path / "a.mp4", count=25, options={"g": "10"})
    everything = kit.read(path)[1]
    reader, frames, _ = kit.read(path, start_s=start_s)
    assert frames[0].pts * reader.format.time_base == Fraction(str(start_s))
    assert kit.same_planes(frames, everything[-len(frames) :])


def test_interlaced_video_is_noted(kit, tmp_path, notes):
    path = kit.file(tmp_path / "a.mp4", count=3, options={"x264-params": "interlaced=1"})
    kit.read(path, note=notes.append)
    assert notes == [f"{path}: interlaced; its fields are coded together as they are"]


def test_change_of_size_on_the_way_is_named(kit, tmp_path):
    first = kit.file(tmp_path / "a.ts", count=10, options={"bf": "0"})
    second = kit.file(tmp_path / "b.ts", count=10, size=(96, 80), options={"bf": "0"})
    path = tmp_path / "c.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(VideoError, match="is 96x80, the video began as 64x48"):
        kit.read(path, note=silent)


def test_missing_file_is_a_file_error(kit, tmp_path):
    with pytest.raises(FileError, match=r"none\.mp4: cannot be opened \(No such file"):
        kit.read(tmp_path / "none.mp4")


@pytest.mark.parametrize("data", [b"", b"text, not video\n" * 100])
def test_other_files_are_no_video(kit, tmp_path, data):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.mp4: no video"):
        kit.read(tmp_path / "a.mp4")


def test_sound_alone_is_no_video(kit, tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 200), np.int16), layout="stereo")
        tone.sample_rate = 8000
        container.mux(stream.encode(tone))
    with pytest.raises(VideoError, match="no video stream, found audio"):
        kit.read(path)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.mp4", "libx264", {}),  # its index is at the end
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mkv", "libx264", {}),
        ("a.mkv", "ffv1", {}),
    ],
)
def test_truncated_file_is_an_error_that_names_it(kit, tmp_path, name, codec, container):
    path = kit.file(tmp_path / name, codec=codec, container=container, count=50, size=(160, 96))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError) as caught:
        kit.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_damage_in_the_middle_is_named_with_its_place(kit, tmp_path):
    path = kit.file(tmp_path / "a.mp4", count=50, size=(160, 96), options={"crf": "1"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = os.urandom(200)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.mp4: picture \d+, after \d\.\d\d\d s"):
        kit.read(path)


def test_logging_of_ffmpeg_is_left_as_it_was(kit, tmp_path):
    level = av.logging.get_level()
    kit.read(kit.file(tmp_path / "a.mp4", count=2))
    assert av.logging.get_level() == level


def real_clips():
    folder = Path(os.environ.get("KINEMA_CLIPS", "/nonexistent"))
    return sorted(folder.glob("dev_eval/d0[14]*.mkv")) + sorted(folder.glob("train/t00*.mp4"))


@pytest.mark.skipif(not real_clips(), reason="KINEMA_CLIPS names no folder of real clips")
@pytest.mark.parametrize("path", real_clips(), ids=lambda path: path.stem)
def test_real_clips_are_read_and_written_exactly(kit, tmp_path, notes, path):
    reader, frames, _ = kit.read(path, num_frames=10, note=notes.append)
    assert len(frames) == 10
    copy = kit.write(tmp_path / "copy.mkv", reader.format, frames)
    reader_of_copy, back, _ = kit.read(copy)
    assert kit.same_planes(frames, back)
    assert reader_of_copy.format.color == reader.format.color
    assert notes == []
