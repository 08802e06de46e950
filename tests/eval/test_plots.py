"""Plots of rate-distortion curves: nothing is cut off."""

from fractions import Fraction

import pytest

from kinema.eval import plots
from kinema.eval.conditions import Conditions
from kinema.eval.metrics import Scores
from kinema.eval.processes import ProcessCost
from kinema.eval.results import BenchResult, ClipInfo, Curve, RatePoint

COST = ProcessCost(seconds=1.0, peak_bytes=1)
CODECS = ("x265-placebo", "kinema dual-domain", "kinema lstvc", "kinema cama", "x264-placebo")


def curve(clip, codec, offset):
    points = []
    for quality in range(4):
        psnr = 44.0 - 3 * quality + offset
        scores = Scores(psnr_y=psnr, psnr_u=psnr, psnr_v=psnr, psnr_yuv_611=psnr)
        points.append(
            RatePoint(
                quality=quality,
                size_bytes=1000,
                bpp=0.4 / 2**quality,
                rate_kbps=100.0,
                scores=scores,
                encode=COST,
                decode=COST,
                is_cached=False,
            )
        )
    is_anchor = not codec.startswith("kinema")
    return Curve(clip=clip, codec=codec, is_anchor=is_anchor, points=tuple(points))


@pytest.mark.parametrize("num_clips", [1, 2, 4, 9])
def test_legend_lies_within_the_figure(num_clips, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing to draw with")
    names = [f"c{number}_clip_416x240" for number in range(num_clips)]
    clips = [
        ClipInfo(name=n, width=416, height=240, frame_rate=Fraction(25), num_frames=9, md5="")
        for n in names
    ]
    curves = [curve(name, codec, i) for name in names for i, codec in enumerate(CODECS)]
    result = BenchResult(
        conditions=Conditions(),
        versions={},
        clips=tuple(clips),
        curves=tuple(curves),
        comparisons=(),
    )
    drawn = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, _path: drawn.append(figure))
    plots.plot_result(result, tmp_path / "curves.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
