"""Prediction of a picture by a motion field: blocks that overlap, blended where they meet.

A sample in the middle half of a 16x16 luma block is fetched by the block's own vector; nearer to a
border, the vectors across it have a say too, half of it on the border itself. A dense flow between
block centres instead would be wrong wherever two things move differently.

Samples lie at quarters of luma, eighths of chroma samples; weights are whole sixteenths (eighths)
each way. Every sum of weighted samples is a whole multiple of 2**-12 and small enough for fp32, so
results are the same bits everywhere.

Source: overlapped block motion compensation, Orchard and Sullivan (IEEE TIP 3(5), 1994). The
dual-domain codec (arXiv 2512.10450) warps by a dense decoded flow instead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import ShapeError
from kinema.nn.exact import round_through
from kinema.parts.motion_field import BLOCK, VECTOR_UNITS
from kinema.parts.planes import pack_planes, unpack_planes


def warp_picture(x: Tensor, field: Tensor) -> Tensor:
    """Predict a packed picture from `x` by `field`.

    Args:
        x: (B, 96, 2h, 2w) picture units, whole samples, 0 to 255.
        field: (B, 2, h, w), whole quarter luma samples.

    Returns:
        (B, 96, 2h, 2w), picture units, whole samples; gradients pass to `x`.

    Raises:
        ShapeError: the field does not have one vector per 16x16 luma samples.
    """
    if tuple(x.shape[-2:]) != (2 * field.shape[-2], 2 * field.shape[-1]):
        found, expected = tuple(x.shape[-2:]), tuple(2 * n for n in field.shape[-2:])
        raise ShapeError(f"packed picture is {found}, its field needs {expected}")
    return pack_planes(*warp_planes(*unpack_planes(x), field))


def warp_planes(y: Tensor, u: Tensor, v: Tensor, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Predict planes; positions outside a plane move to its nearest sample.

    Args:
        y: luma, (B, 1, H, W), whole numbers 0 to 255.
        u: first chroma plane, (B, 1, H/2, W/2), likewise.
        v: second chroma plane, likewise.
        field: (B, 2, H/16, W/16), whole quarter luma samples.

    Returns:
        planes of the same shapes; whole numbers, rounded once, half to even.

    Raises:
        ShapeError: sizes do not fit.
    """
    height, width = field.shape[-2] * BLOCK, field.shape[-1] * BLOCK
    sizes = [tuple(plane.shape[-2:]) for plane in (y, u, v)]
    if sizes != [(height, width), *[(height // 2, width // 2)] * 2]:
        raise ShapeError(f"planes are {sizes}; the field is for {(height, width)}, chroma half")
    sides = torch.stack(_neighbours(field.to(y.dtype)))
    luma = _blend(y, sides, BLOCK, VECTOR_UNITS)
    both = _blend(torch.cat([u, v]), sides.repeat(1, 2, 1, 1, 1), BLOCK // 2, 2 * VECTOR_UNITS)
    first, second = both.chunk(2)
    return luma, first, second


def fetch(plane: Tensor, vectors: Tensor) -> Tensor:
    """Fetch each sample from where vectors point, bilinearly, not rounded.

    Args:
        plane: (B, 1, H, W).
        vectors: K of them for each place, (K, B, 2, H, W), in samples; positions outside the plane
            move to its nearest sample.

    Returns:
        (K, B, H, W); gradients pass to the plane.
    """
    count, _, height, width = plane.shape
    columns = torch.arange(width, dtype=plane.dtype, device=plane.device)
    rows = torch.arange(height, dtype=plane.dtype, device=plane.device)[:, None]
    x = (vectors[:, :, 0] + columns).clamp(0, width - 1)
    y = (vectors[:, :, 1] + rows).clamp(0, height - 1)
    column, row = x.floor(), y.floor()
    table = F.pad(plane, (0, 1, 0, 1), mode="replicate")
    stride = width + 1
    first = torch.arange(count, dtype=torch.int32, device=plane.device) * ((height + 1) * stride)
    index = row.to(torch.int32) * stride + column.to(torch.int32) + first[:, None, None]
    index, flat = index.flatten(), table.flatten()
    corners = [flat[k:].index_select(0, index) for k in (0, 1, stride, stride + 1)]
    across, down = (x - column).flatten(), (y - row).flatten()
    above = torch.lerp(corners[0], corners[1], across)
    return torch.lerp(above, torch.lerp(corners[2], corners[3], across), down).view(x.shape)


def _neighbours(field: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each quarter of a block its own vector, that beside, above or below, and across.

    (B, 2, h, w) -> four times (B, 2, 2h, 2w); beyond the border lies the outermost vector again.
    """
    wide = F.pad(field, (1, 1, 1, 1), mode="replicate")
    twice = wide.repeat_interleave(2, 2).repeat_interleave(2, 3)
    own = slice(2, -2)
    beside = _take_turns(twice, 3)
    above = _take_turns(twice, 2)
    return twice[:, :, own, own], beside[:, :, own], above[..., own], _take_turns(beside, 2)


def _take_turns(values: Tensor, axis: int) -> Tensor:
    """What lies two places before each even place, two after each odd one; borders of two go."""
    length = values.shape[axis] - 4
    before, after = values.narrow(axis, 0, length), values.narrow(axis, 4, length)
    shape = [1] * values.dim()
    shape[axis] = length
    is_odd = torch.tensor([False, True], device=values.device).repeat(length // 2).view(shape)
    return torch.where(is_odd, after, before)


def _blend(plane: Tensor, sides: Tensor, block: int, unit: int) -> Tensor:
    """Fetch a plane (B, 1, H, W) by four fields for each quarter of its blocks, and weigh.

    Args:
        plane: whole samples.
        sides: (4, B, 2, 2 H/block, 2 W/block), as `_neighbours` gives them, in 1/unit of a sample.
        block: samples on a block's side.
        unit: a power of two.
    """
    height, width = plane.shape[-2:]
    down, across = _own_weight(height, block, plane)[:, None], _own_weight(width, block, plane)
    weights = (down * across, down * (1 - across), (1 - down) * across, (1 - down) * (1 - across))
    vectors = sides.repeat_interleave(block // 2, 3).repeat_interleave(block // 2, 4)
    found = fetch(plane, vectors * (1 / unit))
    total = found[0] * weights[0]
    for one, weight in zip(found[1:], weights[1:], strict=True):
        total = total + one * weight
    return round_through(total)[:, None]


def _own_weight(length: int, block: int, like: Tensor) -> Tensor:
    """What a block's own vector weighs along one axis: 1 in the middle half, 1/2 at the border."""
    place = torch.arange(block, dtype=like.dtype, device=like.device)
    away = (place - (block - 1) / 2).abs() * (2 / block)
    return (1.5 - away).clamp(max=1).repeat(length // block)
