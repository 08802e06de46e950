import pytest

from kinema.errors import ConfigError
from kinema.eval.anchors import Anchor, default_qualities, encoder_arguments, select_anchors
from kinema.eval.conditions import Conditions

ALL_INTRA = Conditions()
LOW_DELAY = Conditions(structure="low-delay", intra_period=32)
ONE_INTRA = Conditions(structure="low-delay", intra_period=-1)
RANDOM_ACCESS = Conditions(structure="random-access", intra_period=32)
PAPER = Conditions(preset="paper", structure="low-delay", intra_period=10)


def arguments(name, conditions, quality=27):
    return " ".join(encoder_arguments(Anchor.from_name(name), conditions, quality))


def test_standard_anchors_follow_the_delay_class():
    names = [anchor.name for anchor in select_anchors(None, ALL_INTRA)]
    assert names == ["x265-medium", "x264-medium"]
    names = [anchor.name for anchor in select_anchors(None, RANDOM_ACCESS)]
    assert names == ["x265-medium", "x265-slow", "svtav1-4", "svtav1-6", "vvenc-medium"]
    assert [anchor.name for anchor in select_anchors(None, PAPER)] == ["x265-placebo"]


def test_a_bare_name_stands_for_its_standard_presets():
    names = [anchor.name for anchor in select_anchors(("x265",), LOW_DELAY)]
    assert names == ["x265-placebo", "x265-veryslow"]
    assert [anchor.name for anchor in select_anchors(("x264",), RANDOM_ACCESS)] == ["x264-medium"]
    assert select_anchors((), ALL_INTRA) == ()


@pytest.mark.parametrize("name", ["vtm-medium", "x265-quick", "svtav1-99", "", "vvenc-"])
def test_unknown_anchors_are_refused(name):
    with pytest.raises(ConfigError, match="found anchor"):
        select_anchors((name,), RANDOM_ACCESS)


@pytest.mark.parametrize("conditions", [ALL_INTRA, LOW_DELAY])
@pytest.mark.parametrize("name", ["svtav1-6", "vvenc-medium"])
def test_delay_classes_are_never_mixed(name, conditions):
    with pytest.raises(ConfigError, match="random-access only"):
        select_anchors((name,), conditions)


def test_all_intra_is_intra_and_fixed_qp():
    for name in ("x264-medium", "x265-medium"):
        line = arguments(name, ALL_INTRA)
        assert "keyint=1:" in line
        assert "qp=27" in line
        assert "-tune psnr" in line


def test_x265_is_not_charged_for_its_version_text():
    assert all("info=0" in arguments("x265-medium", c) for c in (ALL_INTRA, RANDOM_ACCESS))


def test_low_delay_is_tuned_for_psnr_and_latency():
    x265 = arguments("x265-placebo", LOW_DELAY)
    assert "-tune zerolatency" in x265
    assert "psy-rd=0:psy-rdoq=0:aq-mode=0" in x265
    assert "frame-threads=1" in x265
    x264 = arguments("x264-veryslow", LOW_DELAY)
    assert "-tune psnr,zerolatency" in x264
    assert "sliced-threads=0" in x264


def test_one_intra_frame_is_spelt_as_each_encoder_wants_it():
    assert "keyint=-1:" in arguments("x265-placebo", ONE_INTRA)
    assert "keyint=infinite:" in arguments("x264-placebo", ONE_INTRA)


def test_random_access_uses_crf_and_the_intra_period():
    assert "crf=27" in arguments("x265-slow", RANDOM_ACCESS)
    assert "-crf 27 -g 32" in arguments("svtav1-4", RANDOM_ACCESS)
    assert "-qp 27 -qpa 0 -g 32" in arguments("vvenc-medium", RANDOM_ACCESS)


def test_every_default_curve_has_enough_points():
    for conditions in (ALL_INTRA, LOW_DELAY, RANDOM_ACCESS, PAPER):
        for anchor in select_anchors(None, conditions):
            qualities = default_qualities(anchor, conditions)
            assert len(qualities) >= 4
            assert list(qualities) == sorted(set(qualities))
    assert default_qualities(Anchor("x265", "placebo"), PAPER) == (15, 19, 23, 27)
