"""Material on disk: what is found, in which order, and what of it lands in the bank."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from kinema.errors import ConfigError
from kinema.train import sources
from kinema.train.sources import Clip, build_bank, find_sources


def bank_of(folder, tmp_path):
    return build_bank(find_sources([folder]), tmp_path / "bank")


def frames_of(planes, clip):
    data = np.fromfile(planes, np.uint8)[clip.start :][: clip.num_frames * clip.frame_bytes]
    return data.reshape(clip.num_frames, clip.height * 3 // 2, clip.width)


def test_video_becomes_one_clip(material, tmp_path):
    planes, clips = bank_of(material, tmp_path)
    assert clips == [Clip(start=0, num_frames=6, width=160, height=144)]
    assert planes.stat().st_size == 6 * clips[0].frame_bytes
    frames = frames_of(planes, clips[0])
    assert not np.array_equal(frames[0], frames[1])


def test_videos_are_found_in_order_at_any_depth(material, video, tmp_path):
    (material / "deep" / "er").mkdir(parents=True)
    video(material / "deep" / "er" / "b.avi", num_frames=2)
    video(material / "a.y4m", codec="wrapped_avframe", num_frames=3)
    (material / "notes.txt").write_text("no video")
    _, clips = bank_of(material, tmp_path)
    assert [clip.num_frames for clip in clips] == [3, 6, 2]
    assert [clip.start for clip in clips] == [0, 3 * 34560, 9 * 34560]


def test_index_cuts_a_video_into_clips(material, tmp_path):
    listed = {"file": "clip.mkv", "clips": [{"offset": 0, "len": 2}, {"offset": 3, "len": 9}]}
    (material / "index.json").write_text(json.dumps({"sources": [listed]}))
    _, clips = bank_of(material, tmp_path)
    assert clips == [Clip(0, 2, 160, 144), Clip(3 * 34560, 3, 160, 144)]


@pytest.mark.parametrize("text", ["{", "[]", '{"sources": [{"clips": []}]}', '{"sources": [1]}'])
def test_index_that_says_something_else_is_refused(text, material):
    (material / "index.json").write_text(text)
    with pytest.raises(ConfigError, match=r"index\.json: expected sources"):
        find_sources([material])


def test_folder_of_images_is_one_clip_in_order_of_numbers(image, tmp_path):
    for index in (10, 2, 1):
        image(tmp_path / "frames" / f"im{index}.png", index=index)
    found = find_sources([tmp_path / "frames"])
    assert [path.name for path in found[0].paths] == ["im1.png", "im2.png", "im10.png"]
    planes, clips = build_bank(found, tmp_path / "bank")
    assert clips == [Clip(0, 3, 160, 144)]
    brightness = frames_of(planes, clips[0])[:, :144].astype(int)
    assert abs(brightness[1] - brightness[0]).mean() < abs(brightness[2] - brightness[0]).mean()


def test_vimeo_layout_takes_the_training_list_only(image, tmp_path):
    for name in ("00001/0001", "00001/0002", "00002/0001"):
        for number in (1, 2, 3):
            image(tmp_path / "vimeo" / "sequences" / name / f"im{number}.png", size=(96, 64))
    (tmp_path / "vimeo" / "sep_trainlist.txt").write_text("00001/0002\n00002/0001\n")
    _, clips = bank_of(tmp_path / "vimeo", tmp_path)
    assert [(clip.num_frames, clip.width, clip.height) for clip in clips] == [(3, 96, 64)] * 2


@pytest.mark.parametrize("size", [(161, 144), (160, 145), (161, 145)])
def test_odd_last_rows_and_columns_are_dropped(size, image, video, tmp_path):
    image(tmp_path / "images" / "a" / "1.png", size=size)
    video(tmp_path / "images" / "v.mkv", size=size, num_frames=1)
    planes, clips = bank_of(tmp_path / "images", tmp_path)
    assert [(clip.width, clip.height) for clip in clips] == [(160, 144)] * 2
    video_frame, image_frame = (frames_of(planes, clip)[0].astype(int) for clip in clips)
    assert abs(video_frame - image_frame).mean() < 2


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p", "yuv422p"])
def test_other_formats_are_converted(pix_fmt, material, video, tmp_path):
    expected = frames_of(*(lambda p, c: (p, c[0]))(*bank_of(material, tmp_path)))
    video(tmp_path / "clip.mkv", pix_fmt=pix_fmt)
    planes, clips = build_bank(find_sources([tmp_path])[:1], tmp_path / "other")
    found = frames_of(planes, clips[0])
    assert abs(found.astype(int) - expected).mean() < 2


def test_pictures_of_another_size_end_the_clip(image, tmp_path):
    for index, size in enumerate([(96, 64), (96, 64), (64, 64), (96, 64)]):
        image(tmp_path / "frames" / f"{index}.png", size=size)
    _, clips = bank_of(tmp_path / "frames", tmp_path)
    assert clips == [Clip(0, 2, 96, 64)]


def test_small_pictures_are_left_out(image, material, tmp_path):
    image(material / "small" / "1.png", size=(160, 62))
    _, clips = bank_of(material, tmp_path)
    assert len(clips) == 1
    image(tmp_path / "only" / "1.png", size=(62, 160))
    with pytest.raises(ConfigError, match="no picture has 64 rows and columns"):
        bank_of(tmp_path / "only", tmp_path)


def test_what_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere is not a folder"):
        find_sources([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="no video and no images"):
        find_sources([tmp_path])


def test_bank_is_made_once(material, tmp_path, monkeypatch):
    first = bank_of(material, tmp_path)
    monkeypatch.setattr(sources, "_frames", None)
    assert bank_of(material, tmp_path) == first
    assert sorted(p.suffix for p in (tmp_path / "bank").iterdir()) == [".json", ".planes"]


def test_bank_is_made_anew_after_an_interruption(material, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(sources, "_frames", None)
        with pytest.raises(TypeError):
            bank_of(material, tmp_path)
    assert len(bank_of(material, tmp_path)[1]) == 1


class FakeCapture:
    """An OpenCV video of two pictures."""

    def __init__(self, _path):
        self.left = 2

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((145, 161, 3), 50 + self.left, np.uint8)

    def release(self):
        self.left = None


def test_opencv_decodes_where_pyav_is_missing(material, image, tmp_path, monkeypatch):
    image(material / "images" / "im1.png", index=1)
    image(material / "images" / "im2.png", index=2)
    fake = SimpleNamespace(
        COLOR_BGR2YUV_I420=0,
        IMREAD_COLOR=1,
        VideoCapture=FakeCapture,
        imread=lambda path, _mode: np.full((144, 160, 3), int(path[-5]), np.uint8),
        cvtColor=lambda x, _code: np.resize(x[..., 0], (x.shape[0] * 3 // 2, x.shape[1])),
    )
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "cv2", fake)
    planes, clips = bank_of(material, tmp_path)
    assert [clip.num_frames for clip in clips] == [2, 2]
    assert [int(frame[0, 0]) for clip in clips for frame in frames_of(planes, clip)] == [
        51,
        50,
        1,
        2,
    ]
