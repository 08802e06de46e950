"""Search for the motion field of a picture; encoder only, ordinary floating point.

    pyramids --- full search at 1/8 --- choices at 1/4, 1/2, 1 --- field

Each scale tries shifts of a vector, then what is cheap to code: the vectors beside it, the field of
the picture before, none. A *choice* takes for every block the value of least cost, a quarter of the
blocks at a time, so that what a vector costs beside its neighbours is known when it is chosen.

Costs are bits: those of the residual of each 8x8 cell, by the logarithm of its energy over the
level below which nothing is coded at this quality, and those of a vector beside its neighbours.
Blocks are judged alone, though the decoder blends them where they meet.

Source: the dual-domain codec (arXiv 2512.10450) estimates its flow with a network; instead, a
hierarchical block search as block codecs have it, by rate and distortion.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import ShapeError
from kinema.parts.motion_field import BLOCK, FIELD_LIMIT, VECTOR_UNITS
from kinema.parts.planes import LUMA_WEIGHT, pad_plane
from kinema.parts.quality import rd_lambda
from kinema.parts.warping import fetch

COARSE_SIDE = 640  # pictures with a longer side begin at 1/16 instead of 1/8
REACH = 12  # samples of the coarsest scale that the full search goes: 96 (192) luma samples
OUTLIER = 20.0  # levels; cells that differ more do not speak for a common motion
NEARNESS = 0.02  # levels that a sample of distance is worth, so that ties go to the shortest
CELL_BITS = 32.0  # half a bit for each doubling of the energy of each of 64 components
VECTOR_BITS = 5.0  # for each doubling of a vector's difference to its neighbours
PARITIES = ((0, 0), (1, 1), (0, 1), (1, 0))  # of the vectors that are chosen together
FINEST_STEPS = (1.0, 0.5, 0.25)  # luma samples, at full size

Others = Callable[[Tensor], Tensor]  # from a field to others, (K, B, 2, h, w)


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


class _Scale:
    """Both pictures at one scale. Fields are in luma samples at every scale.

    Attributes:
        current: (B, 1, H, W).
        reference: likewise.
        block: samples from one vector to the next.
        unit: luma samples to a sample of this scale.
        water: energy per sample below which nothing is coded, (B, 1, 1).
    """

    def __init__(self, current: Tensor, reference: Tensor, water: Tensor, level: int) -> None:
        self.current, self.reference, self.water = current, reference, water
        self.unit, self.block = 2**level, BLOCK >> level

    def predict(self, fields: Tensor) -> Tensor:
        """Move blocks of the reference by fields (K, B, 2, h, w): (K, B, H, W)."""
        vectors = (fields * (1 / self.unit)).repeat_interleave(self.block, 3)
        return fetch(self.reference, vectors.repeat_interleave(self.block, 4))

    def bits(self, fields: Tensor) -> Tensor:
        """Bits of the residuals of fields (K, B, 2, h, w), by block: (K, B, h, w)."""
        residual = self.predict(fields).sub_(self.current[:, 0])
        cell = max(1, self.block // 2)
        energy = F.avg_pool2d(residual.square_(), cell)
        bits = torch.log2_(1 + energy / self.water).mul_(CELL_BITS)
        return F.avg_pool2d(bits, self.block // cell).mul_(4)  # cells of 8x8 luma samples


def _build_scales(current: Tensor, reference: Tensor, crf: Tensor) -> list[_Scale]:
    """Halve both pictures again and again; the coarsest scale comes last."""
    water = _water(crf)
    scales = [_Scale(current, reference, water, 0)]
    top = 3 if max(current.shape[-2:]) <= COARSE_SIDE else 4
    for level in range(1, top + 1):
        current, reference = F.avg_pool2d(current, 2), F.avg_pool2d(reference, 2)
        scales.append(_Scale(current, reference, water, level))
    return scales


def _water(crf: Tensor) -> Tensor:
    """Energy per sample below which nothing is coded, (B, 1, 1)."""
    water = 1 / (2 * math.log(2) * LUMA_WEIGHT * rd_lambda(crf.float()))
    return water.view(-1, 1, 1)


def _search_fully(scale: _Scale) -> tuple[Tensor, Tensor]:
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


def _refine(scales: list[_Scale], field: Tensor, usual: Tensor) -> Tensor:
    """Choose again and again, from coarse to fine.

    Args:
        scales: finest first.
        field: to begin with, (B, 2, h, w).
        usual: fields whose vectors are cheap, (K, B, 2, h, w), luma samples.
    """

    def cheap(field: Tensor) -> Tensor:
        return torch.cat([_to_units(_around(field)), usual])

    for scale in reversed(scales[1:-1]):
        field = _choose(scale, field, cheap)
        field = _choose(scale, field, _shifts(scale.unit, 2 if scale is scales[-2] else 1))
    field = _choose(scales[1], field, cheap)
    for step in FINEST_STEPS:
        field = _choose(scales[0], field, _shifts(step))
    return _choose(scales[0], field, cheap)


def _choose(scale: _Scale, field: Tensor, others: Others, origin: Tensor | None = None) -> Tensor:
    """Replace vectors, a quarter of them at a time, where another value costs fewer bits."""
    fields = torch.cat([field[None], others(field)])
    bits = scale.bits(fields)
    field = field.clone()
    origin = torch.zeros_like(field) if origin is None else origin
    for row, column in PARITIES:
        part = (..., slice(row, None, 2), slice(column, None, 2))
        beside = (fields - origin)[part] - _around(field - origin)[-1][part]
        vector_bits = VECTOR_BITS * torch.log2(1 + VECTOR_UNITS * beside.abs()).sum(2)
        best = (bits[part] + vector_bits).argmin(0, keepdim=True)
        spread = best[:, :, None].expand(-1, -1, 2, -1, -1)
        field[part] = fields[part].gather(0, spread)[0]
    return field


def _shifts(step: float, count: int = 1) -> Others:
    """Shifts by up to `count` steps each way, in luma samples."""
    span = torch.arange(-count, count + 1) * step
    shifts = torch.cartesian_prod(span, span)
    shifts = shifts[shifts.abs().sum(1) > 0][:, None, :, None, None]
    return lambda field: field + shifts.to(field.device)


def _around(field: Tensor) -> Tensor:
    """The vectors above, below, left and right of each, then their mean: (5, B, 2, h, w)."""
    tall = F.pad(field, (0, 0, 1, 1), mode="replicate")
    wide = F.pad(field, (1, 1, 0, 0), mode="replicate")
    four = torch.stack([tall[:, :, :-2], tall[:, :, 2:], wide[..., :-2], wide[..., 2:]])
    return torch.cat([four, four.mean(0, keepdim=True)])


def _to_units(field: Tensor) -> Tensor:
    """Round vectors in luma samples to quarters."""
    return (field * VECTOR_UNITS).round() / VECTOR_UNITS


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
    moved = _Scale(beside, beside, water, 0).predict(other)[0][:, None]
    rest = (current_y.float() - (1 - weight) * moved) / weight
    scale = _Scale(rest, reference_y.float(), water, 0)

    def cheap(field: Tensor) -> Tensor:
        apart = _to_units(_around(field - start)) + start
        return torch.cat([apart, start[None], found[None]])

    field = found if origin is None else start
    for step in FINEST_STEPS:
        field = _choose(scale, field, cheap, start)
        field = _choose(scale, field, _shifts(step), start)
    field = _choose(scale, field, cheap, start)
    return (field * VECTOR_UNITS).round().clamp(-FIELD_LIMIT, FIELD_LIMIT)
