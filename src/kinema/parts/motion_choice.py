"""Choices among motion fields, by what their blocks cost; encoder only, ordinary floating point.

Costs are bits: those of the residual of each 8x8 cell, by the logarithm of its energy over the
level below which nothing is coded, and those of a vector beside its neighbours. Blocks are judged
alone, though the decoder blends them where they meet.

Source: rate and distortion of blocks as block codecs weigh them; groups of blocks stand for their
larger partitions.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.parts.motion_field import BLOCK, VECTOR_UNITS
from kinema.parts.warping import fetch

CELL_BITS = 32.0  # half a bit for each doubling of the energy of each of 64 components
VECTOR_BITS = 5.0  # for each doubling of a vector's difference to its neighbours
PARITIES = ((0, 0), (1, 1), (0, 1), (1, 0))  # of the vectors that are chosen together
GROUPS = (8, 4, 2, 1)  # blocks on a side that are tried as one

Others = Callable[[Tensor], Tensor]  # from a field to others, (K, B, 2, h, w)


class Scale:
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


@torch.no_grad()
def calm(scale: Scale, found: Tensor, usual: Tensor) -> Tensor:
    """Keep of what was found what is worth its bits, many blocks at a time.

    Vectors that follow noise hold each other: none of them can leave its neighbours alone. So this
    begins with the cheapest of all fields, and takes over what was found by groups of blocks.

    Args:
        scale: what residuals are measured at.
        found: (B, 2, h, w), luma samples.
        usual: fields whose vectors are cheap, (K, B, 2, h, w).
    """
    fixed = torch.cat([found[None], usual])
    fixed_bits = scale.bits(fixed)
    cheapest = (fixed_bits + _vector_bits(fixed)).sum((2, 3)).argmin(0)
    field = _take(fixed, cheapest[:, None, None].expand(-1, *found.shape[2:]))
    for side in GROUPS:
        groups = [_middle(found, side)[None], around(_middle(field, side))[:-1]]
        fields = torch.cat([field[None], _spread(torch.cat(groups), side, field.shape)])
        bits = torch.cat([scale.bits(fields), fixed_bits])
        field = _replace(torch.cat([fields, fixed]), bits, torch.zeros_like(field), side, 1)
    return field


def choose(scale: Scale, field: Tensor, others: Others, origin: Tensor | None = None) -> Tensor:
    """Replace vectors, a quarter of them at a time, where another value costs fewer bits.

    Args:
        scale: what residuals are measured at.
        field: (B, 2, h, w), luma samples.
        others: gives fields with the other values.
        origin: field from which vectors are coded as differences; None: from zero.
    """
    fields = torch.cat([field[None], others(field)])
    origin = torch.zeros_like(field) if origin is None else origin
    return _replace(fields, scale.bits(fields), origin, 1, 0)


def _replace(fields: Tensor, bits: Tensor, origin: Tensor, side: int, margin: int) -> Tensor:
    """Take groups of blocks from the cheapest fields; the first one is what stands.

    Args:
        fields: (K, B, 2, h, w).
        bits: of their residuals, (K, B, h, w).
        origin: as `choose`.
        side: of groups, in blocks.
        margin: blocks around a group whose vectors count as well.
    """
    field = fields[0]
    rows, columns = (torch.arange(n, device=field.device) // side % 2 for n in field.shape[2:])
    for row, column in PARITIES:
        part = (rows[:, None] == row) & (columns == column)
        vector_bits = _vector_bits(torch.where(part, fields, field) - origin)
        cost = _sum_groups(bits, side, 0) + _sum_groups(vector_bits, side, margin)
        best = _spread(cost.argmin(0), side, field.shape)
        field = torch.where(part, _take(fields, best), field)
    return field


def shifts(step: float, count: int = 1) -> Others:
    """Shifts by up to `count` steps each way, in luma samples."""
    span = torch.arange(-count, count + 1) * step
    shifts = torch.cartesian_prod(span, span)
    shifts = shifts[shifts.abs().sum(1) > 0][:, None, :, None, None]
    return lambda field: field + shifts.to(field.device)


def around(field: Tensor) -> Tensor:
    """The vectors above, below, left and right of each, then their mean: (5, B, 2, h, w)."""
    tall = F.pad(field, (0, 0, 1, 1), mode="replicate")
    wide = F.pad(field, (1, 1, 0, 0), mode="replicate")
    four = torch.stack([tall[:, :, :-2], tall[:, :, 2:], wide[..., :-2], wide[..., 2:]])
    return torch.cat([four, four.mean(0, keepdim=True)])


def to_units(field: Tensor) -> Tensor:
    """Round vectors in luma samples to quarters."""
    return (field * VECTOR_UNITS).round() / VECTOR_UNITS


def _vector_bits(field: Tensor) -> Tensor:
    """Bits of vectors beside their neighbours, (..., B, 2, h, w): (..., B, h, w)."""
    flat = field.view(-1, *field.shape[-3:])
    beside = (flat - around(flat)[-1]).view_as(field)
    return VECTOR_BITS * torch.log2(1 + VECTOR_UNITS * beside.abs()).sum(-3)


def _take(fields: Tensor, index: Tensor) -> Tensor:
    """Vectors of the fields (K, B, 2, h, w) that `index` (B, h, w) names: (B, 2, h, w)."""
    index = index[None, :, None].expand(1, *fields.shape[1:])
    return fields.gather(0, index)[0]


def _sum_groups(bits: Tensor, side: int, margin: int) -> Tensor:
    """Sum (K, B, h, w) over groups and as many blocks around them: (K, B, ...) by groups."""
    height, width = bits.shape[2:]
    padded = F.pad(bits, (margin, margin + -width % side, margin, margin + -height % side))
    return F.avg_pool2d(padded, side + 2 * margin, side, divisor_override=1)


def _middle(field: Tensor, side: int) -> Tensor:
    """Median vectors of groups, by component, in whole units: (B, 2, ...) by groups."""
    height, width = field.shape[2:]
    padded = F.pad(field, (0, -width % side, 0, -height % side), mode="replicate")
    tall = padded.unfold(2, side, side).unfold(3, side, side).flatten(4)
    return to_units(tall.median(-1).values)


def _spread(groups: Tensor, side: int, shape: torch.Size) -> Tensor:
    """Give every block what its group has: (..., h, w), of a field of `shape`."""
    tall = groups.repeat_interleave(side, -2)[..., : shape[2], :]
    return tall.repeat_interleave(side, -1)[..., : shape[3]]
