"""What is expected of a motion field: motion known elsewhere in time, scaled by distance; exact.

A picture between two others that are already known moves as these do, at their speed. What lies
at p in it is expected in the other pictures along a straight line, so that the known field is read
where this line meets the picture it belongs to.

Source: direct mode of block codecs (temporal scaling of vectors), with the field read along itself.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from kinema.parts.motion_field import FIELD_LIMIT, sample_cells


class Motion(NamedTuple):
    """A known field.

    Attributes:
        start: display index of the picture it belongs to, minus that of the present frame.
        distance: display index of the picture it points to, minus that of the picture it
            belongs to; not 0.
        field: (B, 2, h, w), whole quarter luma samples.
    """

    start: int
    distance: int
    field: Tensor


def scale_field(field: Tensor, numerator: int, denominator: int) -> Tensor:
    """Lengthen or shorten vectors; fp64 makes quotients correctly rounded, then half to even.

    Args:
        field: (B, 2, h, w), whole quarter luma samples.
        numerator: of the factor, any sign.
        denominator: likewise, not 0.

    Returns:
        same shape and type, up to FIELD_LIMIT.
    """
    if numerator == denominator:
        return field
    divisor = torch.full((), denominator, dtype=torch.float64, device=field.device)
    scaled = torch.round(field.double() * numerator / divisor)
    return scaled.clamp(-FIELD_LIMIT, FIELD_LIMIT).to(field.dtype)


def expect_field(known: Iterable[Motion], distance: int) -> Tensor | None:
    """Expect the field from the present frame to one at `distance`.

    Of the known fields, one that passes by the present frame comes first, then one of the frame
    itself, then a shorter one.

    Args:
        known: fields of the references.
        distance: display index of the reference minus that of the present frame.

    Returns:
        (B, 2, h, w), whole quarter luma samples; None if nothing is known.
    """
    best = min(known, key=_usefulness, default=None)
    if best is None:
        return None
    if _passes_by(best):
        back = scale_field(best.field, best.start, best.distance)
        best = best._replace(field=torch.round(sample_cells(best.field, back)))
    return scale_field(best.field, distance, best.distance)


def _passes_by(motion: Motion) -> bool:
    """Whether the present frame lies between both pictures."""
    return motion.start * (motion.start + motion.distance) < 0


def _usefulness(motion: Motion) -> tuple[bool, bool, int]:
    return not _passes_by(motion), motion.start != 0, abs(motion.distance)
