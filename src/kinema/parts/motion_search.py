"""Search for the motion field of a picture; encoder only, ordinary floating point.

    pyramids --- full search at 1/8 --- choices at 1/4, 1/2, 1 --- calm --- choices at 1 --- field

Each scale tries shifts of a vector, then what is cheap to code: the vectors beside it, the field of
the picture before, none. A *choice* takes for every block the value of least cost, a quarter of the
blocks at a time, so that what a vector costs beside its neighbours is known when it is chosen. What
was found is then taken over into a calmer field, in groups of blocks, where it is worth its bits.

What blocks cost, and how choices are made among fields, is told in `kinema.parts.motion_choice`.

Source: the dual-domain codec (arXiv 2512.10450) estimates its flow with a network; instead, a
hierarchical block search as block codecs have it, by rate and distortion.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import ShapeError
from kinema.parts.motion_choice import Scale, around, calm, choose, shifts, to_units
from kinema.parts.motion_field import BLOCK, FIELD_LIMIT, VECTOR_UNITS
from kinema.parts.planes import LUMA_WEIGHT, pad_plane
from kinema.parts.quality import rd_lambda

COARSE_SIDE = 640  # pictures with a longer side begin at 1/16 instead of 1/8
REACH = 12  # samples of the coarsest scale that the full search goes: 96 (192) luma samples
OUTLIER = 20.0  # levels; cells that differ more do not speak for a common motion
NEARNESS = 0.02  # levels that a sample of distance is worth, so that ties go to the shortest
FINEST_STEPS = (1.0, 0.5, 0.25)  # luma samples, at full size


@torch.no_grad()
def estimate_field(
    current_y: Tensor, reference_y: Tensor, previous_field: Tensor | None, crf: Tensor
) -> Tensor:
    """Find the field that predicts a picture from a reference.

    Args:
        current_y: luma, (B, 1, H, W), 0 to 255, H and W multiples of 16.
        reference_y: likewise, as the decoder knows it.
        previous_field: (B, 2, H/16, W/16), quarter luma samples, tried among other values; or None.
        crf: (B,) qualities, 0 to 63: which residuals matter, and so what a vector may cost.

    Returns:
        (B, 2, H/16, W/16) fp32, whole numbers of quarter luma samples up to FIELD_LIMIT.

    Raises:
        ShapeError: sizes differ, or are no multiples of 16.
    """
    height, width = current_y.shape[-2:]
    if current_y.shape != reference_y.shape or height % BLOCK or width % BLOCK:
        found = f"{tuple(current_y.shape)} and {tuple(reference_y.shape)}"
        raise ShapeError(f"pictures are {found}; expected equal, sides multiples of {BLOCK}")
    with torch.autocast(current_y.device.type, enabled=False):
        scales = _build_scales(current_y.float(), reference_y.float(), crf)
        field, common = _search_fully(scales[-1])
        usual = [common, torch.zeros_like(field)]
        if previous_field is not None:
            usual.append(previous_field.float() / VECTOR_UNITS)
        field = _refine(scales, field, torch.stack(usual))
        return (field * VECTOR_UNITS).round().clamp(-FIELD_LIMIT, FIELD_LIMIT)


def estimate_fields(
    current_y: Tensor,
    reference_y: Tensor,
    previous_field: Tensor | None,
    crf: Tensor,
    factors: Sequence[int],
) -> list[Tensor]:
    """Find fields in pictures reduced by factors, each then brought back to the full size.

    One vector found at 1/2 speaks for 32x32 samples and counts in half samples of luma: fields are
    smoother, reach farther and cost fewer bits, and are wrong where fine things move.

    Args:
        current_y: as `estimate_field`.
        reference_y: likewise.
        previous_field: likewise.
        crf: likewise.
        factors: powers of two; 1 gives what `estimate_field` gives.
    """
    height, width = current_y.shape[-2:]
    fields = []
    for factor in factors:
        if factor == 1:
            fields.append(estimate_field(current_y, reference_y, previous_field, crf))
            continue
        current, reference = (
            F.avg_pool2d(pad_plane(plane.float(), BLOCK * factor), factor)
            for plane in (current_y, reference_y)
        )
        previous = None
        if previous_field is not None:
            wide = pad_plane(previous_field.float(), factor)
            previous = F.avg_pool2d(wide, factor) / factor
        small = estimate_field(current, reference, previous, crf)
        field = factor * small.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        field = field[..., : height // BLOCK, : width // BLOCK]
        fields.append(field.clamp(-FIELD_LIMIT, FIELD_LIMIT))
    return fields


def _build_scales(current: Tensor, reference: Tensor, crf: Tensor) -> list[Scale]:
    """Halve both pictures again and again; the coarsest scale comes last."""
    water = _water(crf)
    scales = [Scale(current, reference, water, 0)]
    top = 3 if max(current.shape[-2:]) <= COARSE_SIDE else 4
    for level in range(1, top + 1):
        current, reference = F.avg_pool2d(current, 2), F.avg_pool2d(reference, 2)
        scales.append(Scale(current, reference, water, level))
    return scales


def _water(crf: Tensor) -> Tensor:
    """Energy per sample below which nothing is coded, (B, 1, 1)."""
    water = 1 / (2 * math.log(2) * LUMA_WEIGHT * rd_lambda(crf.float()))
    return water.view(-1, 1, 1)


def _search_fully(scale: Scale) -> tuple[Tensor, Tensor]:
    """Compare with every whole shift: the best of each block, and the best of all, twice a field.

    A window reaches one sample beyond its block.
    """
    (count, _, height, width), block = scale.current.shape, scale.block
    padded = F.pad(scale.reference, [REACH] * 4, mode="replicate")[:, 0]
    shifted = padded.unfold(1, height, 1).unfold(2, width, 1)
    difference = padded.new_empty(shifted.shape)
    torch.sub(shifted, scale.current[:, :, None], out=difference)
    difference = difference.abs_().view(count, -1, height, width)
    cost = F.avg_pool2d(difference, block + 2, block, 1, count_include_pad=False)
    span = torch.arange(-REACH, REACH + 1, device=cost.device).float()
    offsets = torch.stack(torch.meshgrid(span, span, indexing="xy"), -1).view(-1, 2)
    cost += NEARNESS * offsets.abs().sum(1)[:, None, None]
    best = offsets[cost.argmin(1)].permute(0, 3, 1, 2)
    common = offsets[cost.clamp(max=OUTLIER).mean((2, 3)).argmin(1)]
    return best * scale.unit, common[:, :, None, None].expand_as(best) * scale.unit


def _refine(scales: list[Scale], field: Tensor, usual: Tensor) -> Tensor:
    """Choose again and again, from coarse to fine.

    Args:
        scales: finest first.
        field: to begin with, (B, 2, h, w).
        usual: fields whose vectors are cheap, (K, B, 2, h, w), luma samples.
    """

    def cheap(field: Tensor) -> Tensor:
        return torch.cat([to_units(around(field)), usual])

    for scale in reversed(scales[1:-1]):
        field = choose(scale, field, cheap)
        field = choose(scale, field, shifts(scale.unit, 2 if scale is scales[-2] else 1))
    field = choose(scales[1], field, cheap)
    for step in FINEST_STEPS:
        field = choose(scales[0], field, shifts(step))
    field = calm(scales[0], field, usual)
    for step in FINEST_STEPS:
        field = choose(scales[0], field, shifts(step))
    return choose(scales[0], field, cheap)


class Partner(NamedTuple):
    """The other one of two predictions that are blended.

    Attributes:
        reference_y: luma, (B, 1, H, W), as the decoder knows it.
        field: (B, 2, H/16, W/16), quarter luma samples.
        weight: of the own prediction in the blend, above 0, at most 1.
    """

    reference_y: Tensor
    field: Tensor
    weight: float


@torch.no_grad()
def settle_field(
    current_y: Tensor,
    reference_y: Tensor,
    found: Tensor,
    origin: Tensor | None,
    partner: Partner,
    crf: Tensor,
) -> Tensor:
    """Take what is expected, but for blocks where what was found is worth its bits.

    Args:
        current_y: luma, (B, 1, H, W), 0 to 255, H and W multiples of 16.
        reference_y: likewise, as the decoder knows it.
        found: field found by itself, (B, 2, H/16, W/16), quarter luma samples.
        origin: field from which vectors are coded as differences; None if nothing is expected.
        partner: what the prediction is blended with.
        crf: (B,) qualities, 0 to 63.

    Returns:
        (B, 2, H/16, W/16) fp32, whole numbers of quarter luma samples up to FIELD_LIMIT.
    """
    found, weight = found.float() / VECTOR_UNITS, partner.weight
    start = torch.zeros_like(found) if origin is None else origin.float() / VECTOR_UNITS
    water = _water(crf) / weight**2
    beside, other = partner.reference_y.float(), partner.field[None] / VECTOR_UNITS
    moved = Scale(beside, beside, water, 0).predict(other)[0][:, None]
    rest = (current_y.float() - (1 - weight) * moved) / weight
    scale = Scale(rest, reference_y.float(), water, 0)

    def cheap(field: Tensor) -> Tensor:
        apart = to_units(around(field - start)) + start
        return torch.cat([apart, start[None], found[None]])

    field = found if origin is None else start
    for step in FINEST_STEPS:
        field = choose(scale, field, cheap, start)
        field = choose(scale, field, shifts(step), start)
    field = choose(scale, field, cheap, start)
    return (field * VECTOR_UNITS).round().clamp(-FIELD_LIMIT, FIELD_LIMIT)
