"""What cannot be meant is refused before work begins, and what fails leaves nothing behind."""

import runpy
from pathlib import Path

import pytest

from kinema.bitstream.limits import Limits
from kinema.codec import encoding as encoding_module
from kinema.codec.decoding import decode_file
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.errors import (
    ConfigError,
    FileError,
    LimitError,
    VideoError,
)

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]
draw, write_clip, encoded = KIT["draw"], KIT["write_clip"], KIT["encoded"]
read, same_planes, times, make_file = (
    KIT["read"],
    KIT["same_planes"],
    KIT["times"],
    KIT["make_file"],
)


def decoded(source, target, note=lambda _: None, **settings):
    return decode_file(source, str(target), DecodeSettings(**settings), note=note)


def frames_of(path, **settings):
    with KinReader(path, settings=DecodeSettings(**settings)) as reader:
        frames = list(reader)
        assert reader.lost == []
    return frames


@pytest.fixture
def kin(tmp_path):
    """Ten frames, coded."""
    clip = write_clip(tmp_path / "clip.mkv", draw(10))
    return encoded(tmp_path / "clip.kin", clip, crf=20)


def test_pictures_too_large_to_decode_are_not_encoded(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding_module, "CODEC_LIMITS", Limits(max_samples=1000))
    clip = write_clip(tmp_path / "a.y4m", draw(1))
    with pytest.raises(LimitError, match="samples per picture"):
        encoded(tmp_path / "a.kin", clip)
    assert [p.name for p in tmp_path.iterdir()] == ["a.y4m"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out", "ends in nothing"),
        ("out.txt", "ends in .txt"),
        ("clip.kin", "ends in .kin"),
        ("gone/out.mkv", "does not exist"),
        ("folder.mkv", "is a folder"),
        ("clip.mkv", "exists"),
        ("out.png", "one name for all pictures"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(tmp_path, kin, target, message):
    (tmp_path / "folder.mkv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ConfigError, FileError, VideoError), match=message):
        decoded(kin, tmp_path / target)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out", "ends in nothing"),
        ("out.mp4", "expected .kin"),
        ("gone/out.kin", "does not exist"),
        ("folder.kin", "is a folder"),
        ("clip.kin", "overwriting"),
        ("same.kin", "same file"),
    ],
)
def test_encoding_refuses_such_targets_before_it_opens_the_source(tmp_path, kin, target, message):
    (tmp_path / "folder.kin").mkdir()
    same = tmp_path / "same.kin"
    same.symlink_to(tmp_path / "source.mkv")
    (tmp_path / "source.mkv").write_bytes(b"no video")
    source = tmp_path / ("source.mkv" if target == "same.kin" else "no such file")
    with pytest.raises((ConfigError, FileError), match=message):
        encoded(tmp_path / target, source, overwrite=target == "same.kin")


@pytest.mark.parametrize("make_fail", ["source", "progress"])
def test_a_failed_encoding_leaves_an_existing_target_alone(tmp_path, kin, make_fail):
    data = write_clip(tmp_path / "cut.y4m", draw(10)).read_bytes()
    source = tmp_path / "cut.y4m"
    source.write_bytes(data[: len(data) * 2 // 3] if make_fail == "source" else data)

    def progress(*_):
        if make_fail == "progress":
            raise KeyboardInterrupt

    before = kin.read_bytes()
    with pytest.raises((VideoError, KeyboardInterrupt)):
        encode_file(str(source), kin, EncodeSettings(overwrite=True), progress=progress)
    assert kin.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.kin", "clip.mkv", "cut.y4m"]


def test_a_failed_decoding_leaves_nothing_behind(tmp_path, kin):
    def progress(done, *_):
        if done == 5:
            raise KeyboardInterrupt

    for name in ("a.mkv", "a.y4m", "%d.png"):
        with pytest.raises(KeyboardInterrupt):
            decode_file(kin, str(tmp_path / name), DecodeSettings(), progress=progress)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.kin", "clip.mkv"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "outer"}, "known: intra"),
        ({"structure": "low-delay"}, "can do all-intra"),
        ({"intra_period": 8}, "intra period 8"),
        ({"crf": 64}, "crf 64"),
    ],
)
def test_settings_that_no_model_can_do_are_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        encoded(tmp_path / "a.kin", "no such file", **settings)
