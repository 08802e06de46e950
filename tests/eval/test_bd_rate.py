import math

import pytest

from kinema.errors import ConfigError
from kinema.eval.bd_rate import RdCurve, compare_curves, mean_curve

pytest.importorskip("bjontegaard", reason="bjontegaard is not installed")

QUALITIES = (30.0, 33.0, 36.0, 39.0, 42.0)
RATES = (0.05, 0.1, 0.22, 0.5, 1.3)


def curve(rates, qualities):
    return RdCurve.from_points(list(zip(rates, qualities, strict=True)))


@pytest.mark.parametrize("method", ["akima", "pchip", "cubic"])
@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.0, 1.25])
def test_a_constant_rate_ratio_is_the_bd_rate(method, ratio):
    test = curve([ratio * rate for rate in RATES], QUALITIES)
    found = compare_curves(curve(RATES, QUALITIES), test, method=method)
    assert found.bd_rate_percent == pytest.approx(100 * (ratio - 1), abs=1e-9)
    assert found.quality_overlap == 1.0
    assert found.quality_range == (30.0, 42.0)


def test_a_constant_gain_is_the_bd_psnr():
    better = curve(RATES, [quality + 0.75 for quality in QUALITIES])
    found = compare_curves(curve(RATES, QUALITIES), better)
    assert found.bd_quality == pytest.approx(0.75, abs=1e-9)
    assert found.rate_overlap == pytest.approx(1.0)
    assert found.quality_overlap == pytest.approx(11.25 / 12.75)


def test_straight_lines_in_log_rate_give_the_closed_form():
    """Quality = 10 log2(rate) against 9 log2(rate): the mean distance of the two lines."""
    rates = (1.0, 2.0, 4.0, 8.0, 16.0)
    anchor = curve(rates, [10 * math.log2(rate) for rate in rates])
    test = curve(rates, [9 * math.log2(rate) for rate in rates])
    # log2 rates at quality q: q / 10 and q / 9, averaged over 0..36: 18 (1/9 - 1/10) = 0.2
    found = compare_curves(anchor, test)
    assert found.bd_rate_percent == pytest.approx(100 * (2**0.2 - 1), rel=1e-9)
    assert found.bd_quality == pytest.approx(-2.0, rel=1e-9)


@pytest.mark.parametrize(
    ("anchor", "test", "published"),
    [
        (  # JCTVC-E137, as quoted by the tests of Netflix's VMAF
            ((108048.8736, 43.6471), (61279.976, 40.3953), (33905.6656, 37.247),
             (18883.6928, 34.2911)),
            ((108061.2784, 43.6768), (61299.9936, 40.4232), (33928.7472, 37.2761),
             (18910.912, 34.3147)),
            -0.465215420752807,
        ),
        (
            ((40433.8848, 37.5761), (7622.7456, 35.3756), (2394.488, 33.8977),
             (1017.6184, 32.0603)),
            ((40370.12, 37.5982), (7587.0024, 35.4025), (2390.0944, 33.9194),
             (1017.0984, 32.0822)),
            -1.8779823450567612,
        ),
    ],
)  # fmt: skip
def test_published_numbers_are_met(anchor, test, published):
    curves = RdCurve.from_points(anchor), RdCurve.from_points(test)
    assert compare_curves(*curves, method="pchip").bd_rate_percent == pytest.approx(
        published, abs=1e-3
    )
    assert compare_curves(*curves).bd_rate_percent == pytest.approx(published, abs=0.05)


def test_curves_without_common_quality_have_no_bd_rate_but_a_bd_psnr():
    higher = curve(RATES, [quality + 20 for quality in QUALITIES])
    found = compare_curves(curve(RATES, QUALITIES), higher)
    assert found.bd_rate_percent is None
    assert found.quality_overlap == 0.0
    assert found.bd_quality == pytest.approx(20.0)


def test_points_may_come_in_any_order():
    points = list(zip(RATES, QUALITIES, strict=True))
    assert RdCurve.from_points(points[::-1]) == RdCurve.from_points(points)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(1, 30), (2, 31), (3, 32)], "found 3 rate points"),
        ([(1, 30), (2, 31), (3, 30.5), (4, 33)], "does not rise"),
        ([(1, 30), (2, 31), (2, 32), (4, 33)], "does not rise"),
        ([(0, 30), (2, 31), (3, 32), (4, 33)], "not usable"),
        ([(1, 30), (2, math.nan), (3, 32), (4, 33)], "not usable"),
    ],
)
def test_points_that_are_no_curve_are_refused(points, message):
    with pytest.raises(ConfigError, match=message):
        RdCurve.from_points(points)


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="linear"):
        compare_curves(curve(RATES, QUALITIES), curve(RATES, QUALITIES), method="linear")


def test_the_mean_curve_averages_point_by_point():
    second = curve([3 * rate for rate in RATES], [quality + 2 for quality in QUALITIES])
    mean = mean_curve([curve(RATES, QUALITIES), second])
    assert mean is not None
    assert mean.rates == pytest.approx([2 * rate for rate in RATES])
    assert mean.qualities == pytest.approx([quality + 1 for quality in QUALITIES])
    assert mean_curve([curve(RATES, QUALITIES), curve(RATES[:4], QUALITIES[:4])]) is None
    assert mean_curve([]) is None
