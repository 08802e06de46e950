"""What `info` tells comes from headers and packets alone, for sound files and others."""

import runpy
from pathlib import Path

import pytest

from kinema.codec.description import describe
from kinema.errors import BitstreamError

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]


@pytest.fixture
def kin(tmp_path):
    clip = KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](5))
    return KIT["encoded"](tmp_path / "clip.kin", clip, crf=20.5)


def test_a_sound_file(kin):
    facts = describe(kin)
    size = kin.stat().st_size
    assert facts["frames"] == 5
    assert facts["seconds"] == 0.2
    assert facts["crf"] == "20.5"
    assert (facts["model"], facts["structure"], facts["audio"]) == ("intra", "all-intra", "none")
    assert (facts["size_bytes"], facts["audio_bytes"]) == (size, 0)
    assert facts["rate_kbps"] == round(8 * size / 0.2 / 1000, 3)
    assert facts["bpp"] == round(8 * size / (5 * 48 * 32), 6)
    assert facts["damaged_places"] == 0


def test_files_of_unknown_models_are_described_too(tmp_path, kin):
    other = KIT["rewritten"](kin, tmp_path / "other.kin", model_number=99, numeric_profile=9)
    assert describe(other)["model"] == "unknown (99)"


def test_damage_is_counted(kin):
    KIT["flipped"](kin, 1)
    kin.write_bytes(kin.read_bytes()[:-4])
    assert describe(kin)["damaged_places"] == 2
    assert describe(kin)["frames"] == 4


def test_no_frames_are_no_division_by_zero(tmp_path, kin):
    empty = KIT["rewritten"](kin, tmp_path / "empty.kin", lambda packet: None)
    facts = describe(empty)
    assert (facts["frames"], facts["crf"], facts["seconds"]) == (0, "none", 0.0)


def test_what_is_no_kin_file_is_refused(tmp_path):
    (tmp_path / "a.kin").write_bytes(b"hello")
    with pytest.raises(BitstreamError, match="starts with"):
        describe(tmp_path / "a.kin")
