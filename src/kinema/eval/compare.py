"""Codecs against a reference anchor: per clip, averaged over clips, and on the class-mean curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from kinema.errors import ConfigError
from kinema.eval.bd_rate import RdCurve, compare_curves, mean_curve
from kinema.eval.results import BenchResult, Comparison, Curve

CLASS_MEAN = "class mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageGain:
    """Mean over clips of per-clip deltas.

    Attributes:
        codec, reference: who is compared with whom.
        num_clips: clips that gave a BD-rate.
        bd_rate_percent, bd_quality, quality_overlap: means; None where no clip gave one.
        lowest_overlap: of the clip that overlaps least.
    """

    codec: str
    reference: str
    num_clips: int
    bd_rate_percent: float | None
    bd_quality: float | None
    quality_overlap: float | None
    lowest_overlap: float | None


def compare_with_reference(
    curves: Sequence[Curve], reference: str, metric: str
) -> tuple[Comparison, ...]:
    """Compare every codec but the reference with the reference, clip by clip and class mean last.

    Args:
        curves: of one run, so of one delay class.
        reference: name of the codec that counts as 0 %.
        metric: the score, such as "psnr_yuv_611".
    """
    anchors = {curve.clip: curve for curve in curves if curve.codec == reference}
    found: list[Comparison] = []
    for codec in dict.fromkeys(curve.codec for curve in curves):
        if codec == reference:
            continue
        tests = [curve for curve in curves if curve.codec == codec and curve.clip in anchors]
        pairs = [(anchors[test.clip], test) for test in tests]
        found += [_compare_clip(anchor, test, metric) for anchor, test in pairs]
        if len(pairs) > 1:
            found.append(_compare_means(pairs, metric))
    return tuple(found)


def _compare_clip(anchor: Curve, test: Curve, metric: str) -> Comparison:
    names = {"codec": test.codec, "reference": anchor.codec, "metric": metric}
    try:
        bd = compare_curves(anchor.to_rd_curve(metric), test.to_rd_curve(metric))
    except ConfigError as error:
        return Comparison(clip=test.clip, bd=None, reason=str(error), **names)
    reason = "" if bd.bd_rate_percent is not None else "the curves share no quality"
    return Comparison(clip=test.clip, bd=bd, reason=reason, **names)


def _compare_means(pairs: Sequence[tuple[Curve, Curve]], metric: str) -> Comparison:
    anchor, test = pairs[0]
    names = {"codec": test.codec, "reference": anchor.codec, "metric": metric}
    try:
        means = [_mean_of([pair[side] for pair in pairs], metric) for side in (0, 1)]
        bd = compare_curves(*means)
    except ConfigError as error:
        return Comparison(clip=CLASS_MEAN, bd=None, reason=str(error), **names)
    return Comparison(clip=CLASS_MEAN, bd=bd, **names)


def _mean_of(curves: Sequence[Curve], metric: str) -> RdCurve:
    mean = mean_curve([curve.to_rd_curve(metric) for curve in curves])
    if mean is None:
        raise ConfigError(f"{curves[0].codec}: the clips differ in their number of points")
    return mean


def average_gains(result: BenchResult) -> tuple[AverageGain, ...]:
    """Average the per-clip comparisons of each codec."""
    gains = []
    per_clip = [c for c in result.comparisons if c.clip != CLASS_MEAN]
    for codec in dict.fromkeys(comparison.codec for comparison in per_clip):
        group = [c for c in per_clip if c.codec == codec]
        bds = [c.bd for c in group if c.bd is not None]
        rates = [bd.bd_rate_percent for bd in bds if bd.bd_rate_percent is not None]
        qualities = [bd.bd_quality for bd in bds if bd.bd_quality is not None]
        overlaps = [bd.quality_overlap for bd in bds if bd.bd_rate_percent is not None]
        gains.append(
            AverageGain(
                codec=codec,
                reference=group[0].reference,
                num_clips=len(rates),
                bd_rate_percent=fmean(rates) if rates else None,
                bd_quality=fmean(qualities) if qualities else None,
                quality_overlap=fmean(overlaps) if overlaps else None,
                lowest_overlap=min(overlaps, default=None),
            )
        )
    return tuple(gains)
