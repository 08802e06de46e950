import json

import pytest

from kinema.errors import VideoError
from kinema.eval import anchor_runs
from kinema.eval.anchor_runs import AnchorCache, cache_key, run_anchor
from kinema.eval.anchors import Anchor
from kinema.eval.clips import prepare_clip
from kinema.eval.conditions import Conditions

pytestmark = pytest.mark.usefixtures("needs_ffmpeg")

ALL_INTRA = Conditions()
LOW_DELAY = Conditions(structure="low-delay", intra_period=32)
RANDOM_ACCESS = Conditions(structure="random-access", intra_period=32)


@pytest.fixture
def clip(even_clip, tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return prepare_clip(even_clip, folder, 5)


def run(clip, name, conditions, quality, *, cache=None, extras=frozenset()):
    anchor = Anchor.from_name(name)
    return run_anchor(clip, anchor, conditions, quality, extras=extras, cache=cache)


@pytest.mark.parametrize(
    ("name", "conditions"),
    [
        ("x264-medium", ALL_INTRA),
        ("x265-medium", ALL_INTRA),
        ("x264-veryslow", LOW_DELAY),
        ("x265-fast", LOW_DELAY),
        ("x265-medium", RANDOM_ACCESS),
        ("svtav1-8", RANDOM_ACCESS),
        ("vvenc-faster", RANDOM_ACCESS),
    ],
)
def test_every_anchor_gives_rate_and_quality_that_fall_with_qp(clip, name, conditions):
    fine, coarse = (run(clip, name, conditions, quality) for quality in (20, 44))
    assert 0 < coarse.size_bytes < fine.size_bytes
    assert 20 < coarse.scores.psnr_yuv_611 < fine.scores.psnr_yuv_611 < 60
    assert fine.scores.psnr_y > 35
    assert fine.bpp == pytest.approx(fine.size_bytes * 8 / (96 * 64 * 5))
    assert fine.rate_kbps == pytest.approx(fine.size_bytes * 8 * 25 / 5 / 1000)
    assert fine.encode.seconds > 0
    assert fine.decode.seconds > 0


def test_no_anchor_pays_for_advertisement(clip):
    """At the worst quality a frame is some 30 bytes; x264's text alone would be 0.7 kB."""
    for name in ("x264-medium", "x265-medium"):
        assert run(clip, name, ALL_INTRA, 51).size_bytes < 800


def test_odd_pictures_are_scored_at_their_own_size(odd_clip, tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    point = run(prepare_clip(odd_clip, folder, 5), "x265-medium", ALL_INTRA, 20)
    assert point.scores.psnr_yuv_611 > 35
    assert point.bpp == pytest.approx(point.size_bytes * 8 / (75 * 53 * 3))


def test_a_second_run_comes_from_the_cache(clip, tmp_path, monkeypatch):
    cache = AnchorCache(tmp_path / "cache")
    first = run(clip, "x264-ultrafast", ALL_INTRA, 30, cache=cache)
    monkeypatch.setattr(anchor_runs, "run_measured", _refuse)
    second = run(clip, "x264-ultrafast", ALL_INTRA, 30, cache=cache)
    assert second.is_cached
    assert not first.is_cached
    assert (second.size_bytes, second.scores) == (first.size_bytes, first.scores)
    for other in ({"quality": 31}, {"name": "x264-superfast"}):
        settings = {"name": "x264-ultrafast", "quality": 30} | other
        with pytest.raises(VideoError, match="refused"):
            run(clip, settings["name"], ALL_INTRA, settings["quality"], cache=cache)
    with pytest.raises(VideoError, match="refused"):  # a score that is not in the cache
        run(clip, "x264-ultrafast", ALL_INTRA, 30, cache=cache, extras=frozenset({"psnr_rgb"}))


def test_a_spoilt_cache_is_measured_again(clip, tmp_path):
    cache = AnchorCache(tmp_path)
    first = run(clip, "x264-ultrafast", ALL_INTRA, 30, cache=cache)
    (stored,) = (tmp_path / "anchors").iterdir()
    for spoilt in ("{", "{}", json.dumps({"extras": [], "point": {}}), "[]"):
        stored.write_text(spoilt)
        again = run(clip, "x264-ultrafast", ALL_INTRA, 30, cache=cache)
        assert not again.is_cached
        assert again.size_bytes == first.size_bytes


def test_the_key_depends_on_the_frames_and_the_settings(clip):
    key = cache_key(clip.info, ["-qp", "30"])
    assert key == cache_key(clip.info, ["-qp", "30"])
    assert key != cache_key(clip.info, ["-qp", "31"])


def test_a_failing_encoder_is_named(clip):
    with pytest.raises(VideoError, match="x264-medium encoder on waves"):
        run(clip, "x264-medium", ALL_INTRA, -400)


def _refuse(*_, **__):
    raise VideoError("refused")
