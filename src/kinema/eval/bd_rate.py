"""Bjontegaard deltas between two rate-distortion curves, and how far the curves overlap."""

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from kinema.errors import ConfigError
from kinema.eval.processes import import_extra

MIN_POINTS = 4
METHODS = ("akima", "pchip", "cubic")


@dataclass(frozen=True, slots=True)
class RdCurve:
    """Rates (any unit above 0, the same in both curves) and qualities (dB or any rising score)."""

    rates: tuple[float, ...]
    qualities: tuple[float, ...]

    @classmethod
    def from_points(cls, points: Sequence[tuple[float, float]]) -> "RdCurve":
        """Sort (rate, quality) points by rate and check that they form a curve.

        Raises:
            ConfigError: fewer than 4 points, a rate that is not positive, or a quality that does
                not rise with the rate.
        """
        if len(points) < MIN_POINTS:
            raise ConfigError(f"found {len(points)} rate points, a curve needs {MIN_POINTS}")
        ordered = sorted(points)
        if not all(math.isfinite(rate + quality) and rate > 0 for rate, quality in ordered):
            raise ConfigError(f"found a rate or quality that is not usable among {ordered}")
        for lower, upper in itertools.pairwise(ordered):
            if upper[0] <= lower[0] or upper[1] <= lower[1]:
                raise ConfigError(
                    f"quality does not rise with rate: {lower[1]:.3f} at {lower[0]:.5g}, "
                    f"then {upper[1]:.3f} at {upper[0]:.5g}"
                )
        return cls(tuple(rate for rate, _ in ordered), tuple(quality for _, quality in ordered))


@dataclass(frozen=True, slots=True, kw_only=True)
class BdResult:
    """How a tested curve lies against an anchor.

    Attributes:
        bd_rate_percent: mean rate difference at equal quality, negative = the tested codec saves;
            None where the curves share no quality.
        bd_quality: mean quality difference at equal rate (BD-PSNR in dB, positive = better);
            None where they share no rate.
        quality_range: lowest and highest quality both curves reach (low > high: none).
        quality_overlap, rate_overlap: shared part of the joint range, 0..1 (rates as logarithms).
    """

    bd_rate_percent: float | None
    bd_quality: float | None
    quality_range: tuple[float, float]
    quality_overlap: float
    rate_overlap: float


def compare_curves(anchor: RdCurve, test: RdCurve, *, method: str = "akima") -> BdResult:
    """Return the Bjontegaard deltas of `test` against `anchor` over what they have in common.

    Args:
        anchor: the curve that counts as 0 %.
        test: the curve that is judged.
        method: interpolation: "akima", "pchip" (as in the JCT-VC sheets) or "cubic" (VCEG-M33).

    Raises:
        ConfigError: unknown method, or the package bjontegaard is missing.
    """
    if method not in METHODS:
        raise ConfigError(f"found method {method!r}, expected one of: {', '.join(METHODS)}")
    package = import_extra("bjontegaard")
    arguments = (anchor.rates, anchor.qualities, test.rates, test.qualities)
    options = {"method": method, "require_matching_points": False, "min_overlap": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns about the overlap we report
        bd_rate = float(package.bd_rate(*arguments, **options))
        bd_quality = float(package.bd_psnr(*arguments, **options))
    log_rates = [tuple(math.log(rate) for rate in curve.rates) for curve in (anchor, test)]
    low = max(anchor.qualities[0], test.qualities[0])
    high = min(anchor.qualities[-1], test.qualities[-1])
    return BdResult(
        bd_rate_percent=bd_rate if math.isfinite(bd_rate) else None,
        bd_quality=bd_quality if math.isfinite(bd_quality) else None,
        quality_range=(low, high),
        quality_overlap=_overlap(anchor.qualities, test.qualities),
        rate_overlap=_overlap(*log_rates),
    )


def _overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the length of the shared range over that of the joint range."""
    shared = min(max(first), max(second)) - max(min(first), min(second))
    joint = max(max(first), max(second)) - min(min(first), min(second))
    return max(0.0, shared) / joint


def mean_curve(curves: Sequence[RdCurve]) -> RdCurve | None:
    """Average several clips point by point: mean rate and mean quality at equal settings.

    Returns:
        None if there are no curves or they differ in their number of points.
    """
    if not curves or len({len(curve.rates) for curve in curves}) != 1:
        return None
    rates = [sum(column) / len(curves) for column in zip(*(c.rates for c in curves), strict=True)]
    qualities = [
        sum(column) / len(curves) for column in zip(*(c.qualities for c in curves), strict=True)
    ]
    return RdCurve(tuple(rates), tuple(qualities))
