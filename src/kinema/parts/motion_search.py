"""Search for the motion field of a picture; encoder only, ordinary floating point.

    pyramids --- full search at 1/8 --- choice at 1/4 --- trials and steps at 1/4, 1/2, 1 --- field

What a vector is worth shows only in the prediction, where it is mixed with its neighbours. So the
full search over blocks is only a start; from there fields are judged by real warps. Two moves
alternate: a *step* moves all vectors down the gradient at once; a *trial* gives every second vector
of every second row (their windows do not overlap) other values, and keeps what is cheapest.

Costs are bits: those of the residual of each 8x8 cell, by the logarithm of its energy over the
level below which nothing is coded at this quality, and those of a vector beside its neighbours.

Source: the dual-domain codec (arXiv 2512.10450) estimates its flow with a network; instead, the
control-grid interpolation of Sullivan and Baker (ICASSP 1991), with steps after Lucas and Kanade
(IJCAI 1981).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import ShapeError
from kinema.parts.motion_field import BLOCK, FIELD_LIMIT, VECTOR_UNITS, sample_plane
from kinema.parts.planes import LUMA_WEIGHT
from kinema.parts.quality import rd_lambda

COARSE_SIDE = 640  # pictures with a longer side begin at 1/16 instead of 1/8
REACH = 12  # samples of the coarsest scale that the full search goes: 96 (192) luma samples
OUTLIER = 20.0  # levels; cells that differ more do not speak for a common motion
NEARNESS = 0.02  # levels that a sample of distance is worth, so that ties go to the shortest
CELL_BITS = 32.0  # half a bit for each doubling of the energy of each of 64 components
VECTOR_BITS = 5.0  # for each doubling of a vector's difference to its neighbours
STIFFNESS = 0.4  # of the field in steps: squared gradient that pulls towards the neighbours
DAMPING = 0.5  # squared gradient below which steps become short
LONGEST_STEP = 1.0  # samples of a scale
PARITIES = ((0, 0), (1, 1), (0, 1), (1, 0))  # of the vectors that are tried together

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
        usual = [torch.zeros_like(field)]
        if previous_field is not None:
            usual.append(previous_field.float() / VECTOR_UNITS)
        field = _choose(scales[2], torch.stack([field, common, *usual]))
        field = _refine(scales, field, torch.stack(usual))
        return (field * VECTOR_UNITS).round().clamp(-FIELD_LIMIT, FIELD_LIMIT)


class _Scale:
    """Both pictures at one scale. Fields are in luma samples at every scale.

    Attributes:
        current: (B, 1, H, W).
        block: samples from one vector to the next.
        unit: luma samples to a sample of this scale.
        water: energy per sample below which nothing is coded, (B, 1, 1).
        across, down: weights of vectors for each column (W, w) and row (H, h).
    """

    def __init__(self, current: Tensor, reference: Tensor, water: Tensor, level: int) -> None:
        self.current, self.reference, self.water = current, reference, water
        self.unit, self.block = 2**level, BLOCK >> level
        self.across = _tents(current.shape[3], self.block, current.device)
        self.down = _tents(current.shape[2], self.block, current.device)

    def predict(self, fields: Tensor) -> Tensor:
        """Warp the reference by fields (K, B, 2, h, w), bilinearly: (K, B, H, W)."""
        flow = self.down @ (fields * (1 / self.unit) @ self.across.T)
        references = self.reference.expand(len(fields), -1, -1, -1, -1)
        found = sample_plane(references.flatten(0, 1), flow.flatten(0, 1), 1)
        return found.view(flow[:, :, 0].shape)

    def bits(self, fields: Tensor) -> Tensor:
        """Bits of the residuals of fields (K, B, 2, h, w), by 8x8 luma cell: (K, B, 2h, 2w)."""
        residual = self.predict(fields).sub_(self.current[:, 0])
        energy = F.avg_pool2d(residual.square_(), self.block // 2)
        return torch.log2_(1 + energy / self.water).mul_(CELL_BITS)


def _build_scales(current: Tensor, reference: Tensor, crf: Tensor) -> list[_Scale]:
    """Halve both pictures again and again; the coarsest scale comes last."""
    water = 1 / (2 * math.log(2) * LUMA_WEIGHT * rd_lambda(crf.float()))
    scales = [_Scale(current, reference, water.view(-1, 1, 1), 0)]
    top = 3 if max(current.shape[-2:]) <= COARSE_SIDE else 4
    for level in range(1, top + 1):
        current, reference = F.avg_pool2d(current, 2), F.avg_pool2d(reference, 2)
        scales.append(_Scale(current, reference, water.view(-1, 1, 1), level))
    return scales


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


def _choose(scale: _Scale, fields: Tensor) -> Tensor:
    """Take each vector from the field (K, B, 2, h, w) whose prediction around it costs least."""
    bits = F.avg_pool2d(scale.bits(fields), 4, 2, 1, divisor_override=1)
    best = (bits + NEARNESS * fields.abs().sum(2)).argmin(0, keepdim=True)
    return fields.gather(0, best[:, :, None].expand(-1, -1, 2, -1, -1))[0]


def _refine(scales: list[_Scale], field: Tensor, usual: Tensor) -> Tensor:
    """Alternate trials and steps, from coarse to fine; in the end, try what costs little.

    Args:
        scales: finest first.
        field: to begin with, (B, 2, h, w).
        usual: fields whose vectors are cheap, (K, B, 2, h, w), quarter luma samples.
    """
    for scale in reversed(scales[1:-1]):
        for _ in range(2):
            field = _try(scale, _step(scale, field, 2), _around)
    field = _to_units(_step(scales[0], field, 3))
    return _try(scales[0], field, lambda f: torch.cat([_to_units(_around(f)[-1:]), usual]))


def _try(scale: _Scale, field: Tensor, others: Others) -> Tensor:
    """Replace vectors, a quarter of them at a time, where another value costs fewer bits.

    A vector reaches 4x4 cells, those of one parity do not overlap: trying them together is trying
    each alone.
    """
    cells = scale.bits(field[None])
    for row, column in PARITIES:
        if row >= field.shape[2] or column >= field.shape[3]:
            continue
        part = (..., slice(row, None, 2), slice(column, None, 2))
        tried = others(field)
        values = torch.cat([field[None], tried])[part].clone()
        tried[:] = field
        tried[part] = values[1:]
        cells = torch.cat([cells, scale.bits(tried)])
        margins = _margins(cells, row, column)
        bits = F.avg_pool2d(F.pad(cells, margins), 4, divisor_override=1)
        beside = values - _around(field)[-1][part]
        bits += VECTOR_BITS * torch.log2(1 + VECTOR_UNITS * beside.abs()).sum(2)
        best = bits.argmin(0, keepdim=True)
        spread = best.repeat_interleave(4, 2).repeat_interleave(4, 3)
        cells = cells.gather(0, F.pad(spread, [-margin for margin in margins]))
        field = field.clone()
        field[part] = values.gather(0, best[:, :, None].expand(-1, -1, 2, -1, -1))[0]
    return field


def _step(scale: _Scale, field: Tensor, count: int) -> Tensor:
    """Move all vectors down the gradient of the residuals' bits, `count` times.

    The matrix of the least-squares problem is lumped onto its diagonal of 2x2 blocks: then a step
    never overshoots as far as pictures are linear.
    """
    stiffness, damping = STIFFNESS * scale.block**2, DAMPING * scale.block**2
    wanted = _gradient(scale.current)
    for _ in range(count):
        found = scale.predict(field[None])[0][:, None]
        gradient = _gradient(found).add_(wanted).mul_(0.5)
        residual = scale.current - found
        energy = F.avg_pool2d(residual * residual, scale.block // 2)
        weight = scale.water[:, None] / (scale.water[:, None] + energy)
        weighted = gradient * F.interpolate(weight, scale_factor=scale.block // 2)
        x, y = gradient.chunk(2, 1)
        products = torch.cat([weighted * x, weighted[:, 1:] * y, weighted * residual], 1)
        sums = scale.down.T @ (products @ scale.across)
        pull = (_around(field)[-1] - field) * (stiffness / scale.unit)
        xx, xy, yy = sums[:, :3].unbind(1)
        move = _solve(xx + stiffness + damping, xy, yy + stiffness + damping, sums[:, 3:] + pull)
        field = field + move.clamp(-LONGEST_STEP, LONGEST_STEP) * scale.unit
    return field


def _solve(xx: Tensor, xy: Tensor, yy: Tensor, right: Tensor) -> Tensor:
    """Solve a symmetric 2x2 system at every place: (B, h, w) three times, (B, 2, h, w)."""
    x, y = right.unbind(1)
    return torch.stack([yy * x - xy * y, xx * y - xy * x], 1) / (xx * yy - xy * xy)[:, None]


def _gradient(plane: Tensor) -> Tensor:
    """Central differences of (B, 1, H, W), none across the border: (B, 2, H, W), x first."""
    gradient = plane.new_zeros(len(plane), 2, *plane.shape[2:])
    torch.sub(plane[:, 0, :, 2:], plane[:, 0, :, :-2], out=gradient[:, 0, :, 1:-1])
    torch.sub(plane[:, 0, 2:], plane[:, 0, :-2], out=gradient[:, 1, 1:-1])
    return gradient.mul_(0.5)


def _margins(cells: Tensor, row: int, column: int) -> list[int]:
    """Cells to add to (..., 2h, 2w) left, right, top, bottom: then windows of a parity tile them.

    Below 0 where cells belong to no window.
    """
    height, width = cells.shape[-2:]
    left, top = 1 - 2 * column, 1 - 2 * row
    right = (width // 2 - column + 1) // 2 * 4 - width - left
    return [left, right, top, (height // 2 - row + 1) // 2 * 4 - height - top]


def _around(field: Tensor) -> Tensor:
    """The vectors above, below, left and right of each, then their mean: (5, B, 2, h, w)."""
    tall = F.pad(field, (0, 0, 1, 1), mode="replicate")
    wide = F.pad(field, (1, 1, 0, 0), mode="replicate")
    four = torch.stack([tall[:, :, :-2], tall[:, :, 2:], wide[..., :-2], wide[..., 2:]])
    return torch.cat([four, four.mean(0, keepdim=True)])


def _tents(length: int, block: int, device: torch.device) -> Tensor:
    """What each vector weighs at each sample, as `upsample_field` has it: (length, vectors)."""
    vectors = torch.arange(length // block, device=device)
    place = (torch.arange(length, device=device) + 0.5) / block - 0.5
    place = place.clamp(0, len(vectors) - 1)
    return (1 - (place[:, None] - vectors).abs()).clamp(min=0)


def _to_units(field: Tensor) -> Tensor:
    """Round vectors in luma samples to quarters."""
    return (field * VECTOR_UNITS).round() / VECTOR_UNITS
