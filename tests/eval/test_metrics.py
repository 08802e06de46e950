import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from kinema.errors import ConfigError, ShapeError, VideoError
from kinema.eval.metrics import Scores, psnr_rgb, score_frames, vmaf_of_frames
from kinema.video.frame import Frame


def flat_frame(y=120, u=128, v=128, width=32, height=24):
    half = ((height + 1) // 2, (width + 1) // 2)
    planes = (np.full((height, width), y), np.full(half, u), np.full(half, v))
    return Frame(*(plane.astype(np.uint8) for plane in planes), pts=0, duration=1)


def decibels(error):
    return 20 * math.log10(255 / error)


def test_psnr_of_a_known_error_with_its_weights():
    scores = score_frames([(flat_frame(), flat_frame(y=122, u=132, v=129))])
    assert scores.psnr_y == pytest.approx(decibels(2))
    assert scores.psnr_u == pytest.approx(decibels(4))
    assert scores.psnr_v == pytest.approx(decibels(1))
    expected = (6 * decibels(2) + decibels(4) + decibels(1)) / 8
    assert scores.psnr_yuv_611 == pytest.approx(expected)


def test_psnr_is_averaged_over_frames_not_pooled():
    source = flat_frame()
    scores = score_frames([(source, flat_frame(y=121)), (source, flat_frame(y=130))])
    assert scores.psnr_y == pytest.approx((decibels(1) + decibels(10)) / 2)


def test_identical_pictures_score_100():
    scores = score_frames([(flat_frame(), flat_frame())], extras=frozenset({"psnr_rgb"}))
    assert scores.psnr_yuv_611 == 100.0
    assert scores.psnr_rgb == 100.0


def test_rgb_psnr_of_a_luma_error():
    """219 steps of luma are 255 of R, G and B alike: 100 -> 110 moves grey by 12 (98 to 109)."""
    grey = [round((y - 16) * 255 / 219) for y in (100, 110)]
    found = psnr_rgb(flat_frame(y=100), flat_frame(y=110))
    assert found == pytest.approx(decibels(grey[1] - grey[0]))


def test_ms_ssim_is_measured_when_asked_for():
    rows, columns = np.mgrid[0:176, 0:192]
    source = flat_frame(width=192, height=176)
    source = replace(source, y=(128 + 60 * np.sin(rows / 3 + columns / 5)).astype(np.uint8))
    blurred = replace(source, y=(source.y // 16 * 16).astype(np.uint8))
    scores = score_frames([(source, blurred)], extras=frozenset({"ms_ssim_y"}))
    assert scores.ms_ssim_y is not None
    assert 0.8 < scores.ms_ssim_y < 1
    assert score_frames([(source, blurred)]).ms_ssim_y is None


def test_scores_are_asked_for_by_name():
    scores = Scores(psnr_y=1.0, psnr_u=2.0, psnr_v=3.0, psnr_yuv_611=1.5)
    assert scores.value("psnr_v") == 3.0
    for name in ("vmaf", "psnr", "value"):
        with pytest.raises(ConfigError, match=name):
            scores.value(name)


def test_no_frames_and_other_sizes_are_refused():
    with pytest.raises(VideoError, match="no frames"):
        score_frames([])
    with pytest.raises(ShapeError):
        score_frames([(flat_frame(), flat_frame(width=34))])


@pytest.mark.usefixtures("needs_ffmpeg")
def test_vmaf_prefers_the_source_to_a_coarse_copy():
    rows, columns = np.mgrid[0:176, 0:192]
    source = flat_frame(width=192, height=176)
    source = replace(source, y=(128 + 60 * np.sin(rows / 3 + columns / 5)).astype(np.uint8))
    coarse = replace(source, y=(source.y // 48 * 48).astype(np.uint8))
    same = vmaf_of_frames([(source, source)] * 2, Fraction(25))
    worse = vmaf_of_frames([(source, coarse)] * 2, Fraction(25))
    assert same > 90
    assert worse < same - 10
