import hashlib

import numpy as np
import pytest

from kinema.errors import VideoError
from kinema.eval.clips import DecodedFile, prepare_clip
from kinema.eval.results import ClipInfo
from kinema.video.frame import Frame
from kinema.video.reading import open_video


def planes_of(path):
    with open_video(str(path)) as reader:
        return [frame.planes for frame in reader if isinstance(frame, Frame)]


def test_a_prepared_clip_holds_the_first_frames_and_names_them(even_clip, tmp_path):
    clip = prepare_clip(even_clip, _folder(tmp_path), 3)
    source, prepared = planes_of(even_clip), planes_of(clip.y4m)
    assert clip.info.num_frames == len(prepared) == 3
    assert (clip.info.width, clip.info.height) == (96, 64)
    digest = hashlib.md5()
    for expected, found in zip(source[:3], prepared, strict=True):
        for plane, copy in zip(expected, found, strict=True):
            np.testing.assert_array_equal(plane, copy)
            digest.update(plane.tobytes())
    assert clip.info.md5 == digest.hexdigest()
    assert clip.even_y4m == clip.y4m


def test_an_odd_clip_is_padded_by_its_border_and_never_cropped(odd_clip, tmp_path):
    clip = prepare_clip(odd_clip, _folder(tmp_path), 96)
    assert (clip.info.width, clip.info.height, clip.info.num_frames) == (75, 53, 3)
    assert clip.even_size == (76, 54)
    for (y, u, v), (padded_y, padded_u, padded_v) in zip(
        planes_of(odd_clip), planes_of(clip.even_y4m), strict=True
    ):
        np.testing.assert_array_equal(padded_y, np.pad(y, ((0, 1), (0, 1)), mode="edge"))
        np.testing.assert_array_equal(padded_u, u)
        np.testing.assert_array_equal(padded_v, v)


def test_decoded_pictures_are_cropped_and_rounded_once(odd_clip, tmp_path):
    clip = prepare_clip(odd_clip, _folder(tmp_path), 96)
    raw = tmp_path / "decoded.yuv"
    deep = [p.astype("<u2") * 4 + 1 for planes in planes_of(clip.even_y4m) for p in planes]
    raw.write_bytes(b"".join(plane.tobytes() for plane in deep))
    decoded = DecodedFile(path=raw, width=76, height=54, bit_depth=10)
    for planes, frame in zip(planes_of(odd_clip), decoded.frames(clip.info), strict=True):
        for expected, found in zip(planes, frame.planes, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("stored", "expected"), [(0, 0), (1, 0), (2, 1), (1021, 255), (1023, 255)])
def test_ten_bits_round_half_up_and_saturate(stored, expected, tmp_path):
    raw = tmp_path / "deep.yuv"
    raw.write_bytes(np.full(6, stored, "<u2").tobytes())
    info = ClipInfo(name="dot", width=2, height=2, frame_rate=25, num_frames=1, md5="")
    decoded = DecodedFile(path=raw, width=2, height=2, bit_depth=10)
    (frame,) = decoded.frames(info)
    assert all(np.all(plane == expected) for plane in frame.planes)


def test_a_lost_frame_is_noticed(even_clip, tmp_path):
    clip = prepare_clip(even_clip, _folder(tmp_path), 96)
    raw = tmp_path / "short.yuv"
    raw.write_bytes(bytes(4 * 96 * 64 * 3 // 2))
    with pytest.raises(VideoError, match=r"4\.00 frames.*expected .*5 frames"):
        list(DecodedFile(path=raw, width=96, height=64).frames(clip.info))


def _folder(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder
