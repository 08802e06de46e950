"""Cuts are found at the right frame; flashes, fades, pans, noise and still pictures have none."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from kinema.bitstream.headers import FrameType
from kinema.codec.encoder import Encoder
from kinema.codec.look_ahead import SourceFrame, with_cuts, without_cuts
from kinema.codec.reader import KinReader
from kinema.codec.scene_cuts import change, change_with_motion, shrink
from kinema.video.frame import AudioPacket, Frame

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
SIZE = (240, 416)


def texture(seed, size=SIZE):
    """A picture with large shapes, small ones and some grain; float grey levels."""
    chance = np.random.default_rng(seed)
    picture = np.full(size, 128.0)
    for cell, strength in ((80, 40), (24, 20), (8, 10)):
        rows, columns = -(-size[0] // cell), -(-size[1] // cell)
        coarse = chance.normal(0, strength, (rows, columns))
        picture += np.kron(coarse, np.ones((cell, cell)))[: size[0], : size[1]]
    return picture + chance.normal(0, 3, size)


def frame(picture, pts=0):
    y = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    chroma = np.full(((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2), 128, np.uint8)
    return Frame(y, chroma, chroma, pts, 1)


def cuts(pictures, **settings):
    """Numbers of the frames at which scenes begin."""
    marked = with_cuts((frame(picture, pts) for pts, picture in enumerate(pictures)), **settings)
    return [source.frame.pts for source in marked if source.is_cut]


A, B, C = (texture(seed) for seed in (1, 2, 3))
GREY = np.full(SIZE, 128.0)


def grain(picture, count, strength=4, seed=9):
    chance = np.random.default_rng(seed)
    return [picture + chance.normal(0, strength, picture.shape) for _ in range(count)]


def test_cuts_are_found_where_they_are():
    assert cuts([A] * 5 + [B] * 3 + [C] * 4) == [5, 8]
    assert cuts(grain(A, 6) + grain(B, 6)) == [6]
    assert cuts([A, B, B, B]) == [1]
    assert cuts([A] * 5 + [B]) == [5]


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (3, 300), (270, 480), (1080, 1920)])
def test_pictures_of_any_size_are_looked_at(shape):
    a, b = (texture(seed, shape) for seed in (1, 2))
    rows, columns = shrink(frame(a).y).shape
    assert rows <= 32
    assert columns <= 56
    assert cuts([a, a, a, b, b, b]) == [3] or min(shape) < 100


def test_pictures_of_another_size_begin_a_scene():
    assert cuts([A] * 4 + [A[:200]] * 4) == [4]


def test_an_inverted_picture_begins_a_scene():
    assert cuts([A] * 4 + [255 - A] * 4) == [4]


@pytest.mark.parametrize("flash", [A + 90, 0.3 * A + 170, GREY + 127, C])
@pytest.mark.parametrize("length", [1, 2])
def test_flashes_are_no_cuts(flash, length):
    assert cuts([A] * 5 + [flash] * length + [A] * 5) == []


def test_what_lasts_longer_than_a_flash_is_a_scene():
    assert cuts([A] * 5 + [C] * 3 + [A] * 5) == [5, 8]


def test_without_look_ahead_a_flash_counts_but_not_its_end():
    assert cuts([A] * 5 + [C] + [A] * 5, look_ahead=0) == [5]
    assert cuts([A] * 5 + [B] * 5, look_ahead=0) == [5]


def test_a_cut_at_a_flash_is_one():
    assert cuts([A] * 5 + [GREY + 127] + [B] * 5) == [6]


@pytest.mark.parametrize("length", [6, 12, 25])
def test_fades_are_no_cuts(length):
    part = np.linspace(0, 1, length)
    still = [A] * 4
    to_black = [16 + (A - 16) * (1 - p) for p in part]
    from_black = to_black[::-1]
    across = [A * (1 - p) + B * p for p in part]
    assert cuts(still + to_black + [GREY * 0 + 16] * 3) == []
    assert cuts([GREY * 0 + 16] * 3 + from_black + still) == [] or length < 12
    assert cuts([*still, *across, B, B, B]) == []
    assert cuts([255 - (255 - A) * (1 - p) for p in part]) == []


@pytest.mark.parametrize(("step_y", "step_x"), [(0, 16), (0, 64), (24, 0), (-16, -48)])
def test_pans_are_no_cuts(step_y, step_x):
    wide = texture(4, (720, 1600))
    corners = [(360 + step_y * (i - 5), 600 + step_x * (i - 5)) for i in range(10)]
    assert cuts([wide[y - 120 : y + 120, x - 208 : x + 208] for y, x in corners]) == []


def test_a_cut_in_the_middle_of_a_pan_is_found():
    wide = [texture(seed, (240, 1000)) for seed in (5, 6)]
    assert cuts([wide[i // 6][:, 40 * (i % 6) :][:, :416] for i in range(12)]) == [6]


def test_noise_and_stills_have_no_cuts():
    assert cuts(grain(GREY, 12, strength=60)) == []
    assert cuts([np.kron(noise[:30, :52], np.ones((8, 8))) for noise in grain(GREY, 12, 40)]) == []
    assert cuts([A] * 12) == cuts([GREY] * 12) == cuts([A * 0] * 12) == cuts(grain(A, 12)) == []


def test_change_ignores_brightness_and_contrast_and_motion_is_searched():
    a, b = shrink(frame(A).y), shrink(frame(0.6 * A + 40).y)
    assert change(a, a) == pytest.approx(0, abs=1e-9)
    assert change(a, b) < 0.01
    moved = np.roll(a, (2, -5), (0, 1))
    assert change(a, moved) > 0.5
    assert change_with_motion(a, moved) < 0.01
    assert change_with_motion(a, shrink(frame(B).y)) > 0.5


def test_everything_comes_through_in_order_and_soon():
    sound = AudioPacket(0, 0, 0, 0, True, b"")
    taken = []

    def items():
        for pts in range(6):
            taken.append(pts)
            yield frame(A, pts)
            yield sound

    for count, item in enumerate(with_cuts(items())):
        assert isinstance(item, SourceFrame) != count % 2
        if isinstance(item, SourceFrame):
            assert item.frame.pts == count // 2
            assert len(taken) == min(count // 2 + 3, 6)
    assert count == 11
    assert [type(item) for item in without_cuts([sound, frame(A)])] == [AudioPacket, SourceFrame]


def scenes(lengths):
    """Small pictures: still scenes, one unlike the other."""
    pictures = [
        texture(seed, (48, 64)) for seed, length in enumerate(lengths) for _ in range(length)
    ]
    return [frame(picture, pts) for pts, picture in enumerate(pictures)]


def types(path):
    return "".join(p.header.frame_type.name for p in KIT["packets_of"](path))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"intra_period": 4}, "IPPPIPIPPPIPPIPP"),
        ({"intra_period": -1}, "IPPPPPIPPPPPPIPP"),
        ({"intra_period": 8, "refresh": 3}, "IPPIPPIPPIPPIIPP"),
        ({"intra_period": 8, "scene_cuts": False}, "IPPPPPPPIPPPPPPP"),
        ({"structure": "all-intra"}, "IIIIIIIIIIIIIIII"),
    ],
)
def test_scenes_begin_with_intra_frames_and_restart_the_period(tmp_path, toy, settings, expected):
    clip = KIT["write_clip"](tmp_path / "a.mkv", scenes((6, 7, 3)))
    path = KIT["encoded"](tmp_path / "a.kin", clip, model=toy, **settings)
    assert types(path) == expected
    with KinReader(path, model=toy) as reader:
        frames = list(reader)
        assert (len(frames), reader.lost) == (16, [])
        for place in (5, 6, 14):
            sought = next(reader.seek((place + 0.5) / 25))
            assert KIT["same_planes"]([sought], [frames[place]])


def test_a_live_encoder_is_told_of_scenes(toy):
    encoder = Encoder(toy, intra_period=4)
    coded = []
    for index, picture in enumerate(scenes((3, 5))):
        if index == 3:
            encoder.begin_scene()
        coded.append(encoder.encode(picture, crf=20).header)
    assert [header.frame_type for header in coded] == [
        FrameType.I if index in (0, 3, 7) else FrameType.P for index in range(8)
    ]
    assert [header.display_index for header in coded] == list(range(8))
