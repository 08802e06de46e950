"""Finds the crf at which something that falls with crf crosses zero, in few measurements."""

from collections.abc import Callable
from dataclasses import dataclass

from kinema.parts.quality import CRF_UNITS, MAX_CRF


@dataclass(frozen=True, slots=True)
class Point:
    """A crf that was tried, and by how much it should rise, in crf, judging by what came of it."""

    crf: float
    excess: float


def search_crf(
    measure: Callable[[float], float], start: float, tolerance: float, max_steps: int
) -> list[Point]:
    """Try one crf after the other until one is good enough.

    Args:
        measure: gives the excess of a crf: about how far zero lies above it, in crf.
        start: tried first.
        tolerance: an excess of at most this much, up or down, is good enough.
        max_steps: how many are tried at most, 1 or more.

    Returns:
        all that was tried, in that order; the last one is good enough unless the steps, or the
        range of crf, were used up.
    """
    tried: list[Point] = []
    crf = start
    while len(tried) < max_steps and crf not in [point.crf for point in tried]:
        tried.append(Point(crf, measure(crf)))
        if abs(tried[-1].excess) <= tolerance:
            break
        crf = _next_crf(tried)
    return tried


def _next_crf(tried: list[Point]) -> float:
    """Interpolate between the closest points on both sides of zero; else go on as it went."""
    low = max((p for p in tried if p.excess > 0), key=lambda p: p.crf, default=None)
    high = min((p for p in tried if p.excess <= 0), key=lambda p: p.crf, default=None)
    if low and high:
        guess = low.crf + (high.crf - low.crf) * low.excess / (low.excess - high.excess)
    else:
        guess = tried[-1].crf + tried[-1].excess / _slope(tried)
    return round(min(max(guess, 0.0), MAX_CRF) * CRF_UNITS) / CRF_UNITS


def _slope(tried: list[Point]) -> float:
    """How much the excess really falls per crf, judging by the last two points; about 1."""
    if len(tried) < 2:
        return 1.0
    before, last = tried[-2:]
    slope = (before.excess - last.excess) / (last.crf - before.crf)
    return min(max(slope, 0.3), 3.0)
