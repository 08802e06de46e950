"""Motion fields and what moves by them: pictures, other fields, cells of features; all exact.

A *field* holds one vector per 16x16 luma block: (B, 2, h, w), channel 0 is dx (right), 1 is dy
(down), whole numbers of quarter luma samples in [-FIELD_LIMIT, FIELD_LIMIT]. It points backwards:
prediction(p) = reference(p + v(p)). A *flow* is the field made dense, in 1/16 luma sample.

Positions have a whole part, which selects samples, and a fraction of few bits, which weighs them.
Every sum of weighted samples is a whole multiple of a power of two and small enough for fp32, so
results are the same bits everywhere. Results of `exact=False` are not rounded; gradients pass.

Source: the pixel-domain alignment of the dual-domain codec (arXiv 2512.10450), warp of the previous
picture by a coded flow. Deviations: the flow is bilinear between block centres, as in control-grid
interpolation, instead of learned; vectors and weights are whole numbers; the border is repeated.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import ShapeError
from kinema.parts.planes import MIDDLE, STEPS_PER_LEVEL, pack_planes, unpack_planes

FIELD_LIMIT = 1023  # quarter luma samples: 255.75 samples either way
BLOCK = 16  # luma samples on a side of what one vector stands for
VECTOR_UNITS = 4  # vectors are in quarters of a luma sample
FLOW_UNITS = 16  # flows are in sixteenths
CELL_UNITS = BLOCK * VECTOR_UNITS  # a vector's unit is 1/64 of a cell, the distance of two vectors


def upsample_field(field: Tensor, *, exact: bool = True) -> Tensor:
    """Make a field dense: bilinear between block centres, constant beyond the outermost ones.

    A centre lies between samples 7 and 8 of its block, so weights are odd multiples of 1/32 each
    way, and their products of 1/1024. The exact result is rounded once, half to even.

    Args:
        field: (B, 2, h, w), quarter luma samples.
        exact: round to whole numbers.

    Returns:
        flow (B, 2, 16h, 16w), 1/16 luma sample.
    """
    scale = FLOW_UNITS / VECTOR_UNITS
    flow = _interpolate_rows(field * scale)
    flow = _interpolate_rows(flow.transpose(2, 3)).transpose(2, 3).contiguous()
    return torch.round(flow) if exact else flow


def warp_planes(
    y: Tensor, u: Tensor, v: Tensor, flow: Tensor, *, exact: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Predict planes: each sample is fetched from where its flow points, bilinearly.

    Luma positions have 4 bits after the point. The flow of a chroma sample is the mean of that of
    its four luma samples, rounded half to even, and counts 1/32 of a chroma sample. Positions
    outside the plane move to its nearest sample.

    Args:
        y: luma, (B, 1, H, W); whole numbers 0 to 255 where results are to be exact.
        u: first chroma plane, (B, 1, H/2, W/2), likewise.
        v: second chroma plane, likewise.
        flow: (B, 2, H, W), 1/16 luma sample, whole numbers where results are to be exact.
        exact: round results to whole numbers, half to even.

    Returns:
        planes of the same shapes.

    Raises:
        ShapeError: sizes do not fit.
    """
    size = (y.shape[-2] // 2, y.shape[-1] // 2)
    if flow.shape[-2:] != y.shape[-2:] or u.shape[-2:] != size or v.shape[-2:] != size:
        shapes = [tuple(t.shape[-2:]) for t in (y, u, v, flow)]
        raise ShapeError(f"planes and flow are {shapes}; chroma must be half of luma, flow equal")
    chroma_flow = F.avg_pool2d(flow, 2)
    if exact:
        chroma_flow = torch.round(chroma_flow)
    results = [sample_plane(y, flow, FLOW_UNITS)]
    results += [sample_plane(c, chroma_flow, 2 * FLOW_UNITS) for c in (u, v)]
    if exact:
        results = [torch.round(result) for result in results]
    return results[0], results[1], results[2]


def sample_plane(plane: Tensor, flow: Tensor, unit: int) -> Tensor:
    """Fetch each sample of a plane from where its flow points, bilinearly, not rounded.

    Args:
        plane: (B, 1, H, W).
        flow: (B, 2, H, W), in 1/unit of a sample.
        unit: a power of two.
    """
    return _fetch(plane.flatten(), plane.shape[-1], _locate(flow, unit)).view(plane.shape)


def warp_picture(x: Tensor, field: Tensor, *, exact: bool = True) -> Tensor:
    """Predict a packed picture from `x` by `field`.

    Args:
        x: (B, 96, 2h, 2w) picture units; whole samples, 0 to 255, where results are to be exact.
        field: (B, 2, h, w), quarter luma samples.
        exact: round vectors of the flow and samples.

    Returns:
        (B, 96, 2h, 2w), picture units; whole samples if `exact`.

    Raises:
        ShapeError: the field does not have one vector per 16x16 luma samples.
    """
    if tuple(x.shape[-2:]) != (2 * field.shape[-2], 2 * field.shape[-1]):
        found, expected = tuple(x.shape[-2:]), tuple(2 * n for n in field.shape[-2:])
        raise ShapeError(f"packed picture is {found}, its field needs {expected}")
    flow = upsample_field(field, exact=exact)
    return pack_planes(*warp_planes(*unpack_planes(x), flow, exact=exact))


def compose_fields(first: Tensor, second: Tensor) -> Tensor:
    """Chain two fields: where p is two pictures ago.

    Exact for whole-number fields: the second is sampled where the first points (6 bits after the
    point), the sum is rounded half to even and clamped.

    Args:
        first: from a picture to its reference, (B, 2, h, w), quarter luma samples.
        second: from that reference to its own, likewise.

    Returns:
        first(p) + second(p + first(p)), (B, 2, h, w), whole numbers up to FIELD_LIMIT.
    """
    total = first + sample_cells(second, first)
    return torch.round(total).clamp(-FIELD_LIMIT, FIELD_LIMIT)


def sample_cells(values: Tensor, offsets: Tensor) -> Tensor:
    """Fetch values between cells, bilinearly.

    The result is not rounded. For whole values in [-2048, 2047] and whole offsets it is an exact
    multiple of 2**-12 in fp32; gradients pass to both.

    Args:
        values: (B, C, h, w).
        offsets: (B, 2, h, w), in 1/64 cell, from each cell to where its value comes from; a field
            is one. Positions outside move to the nearest cell.

    Returns:
        (B, C, h, w), values at p + offset(p); channels-last in memory.

    Raises:
        ShapeError: sizes differ.
    """
    batch, channels, height, width = values.shape
    if tuple(offsets.shape) != (batch, 2, height, width):
        raise ShapeError(f"offsets {tuple(offsets.shape)} for values {tuple(values.shape)}")
    table = values.permute(0, 2, 3, 1).reshape(-1, channels)
    index, across, down = _locate(offsets.to(values.dtype), CELL_UNITS)
    found = _fetch(table, width, (index, across[:, None], down[:, None]))
    return found.view(batch, height, width, channels).permute(0, 3, 1, 2)


def whole_picture(x: Tensor) -> Tensor:
    """Round a packed picture (B, 96, H/8, W/8) to whole samples, as `to_samples` rounds planes."""
    levels = (x * (1 / STEPS_PER_LEVEL)).round() + MIDDLE
    return (levels.clamp(0, 255) - MIDDLE) * STEPS_PER_LEVEL


def _interpolate_rows(values: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 16h, w): 16 rows for each, none rounded, edges repeated."""
    batch, channels, height, width = values.shape
    padded = torch.cat([values[:, :, :1], values, values[:, :, -1:]], 2)
    steps = torch.arange(1, 2 * BLOCK, 2, dtype=values.dtype, device=values.device)
    weight = (steps / (2 * BLOCK)).view(1, 1, 1, BLOCK, 1)
    above, below = padded[:, :, :-1, None], padded[:, :, 1:, None]
    rows = torch.lerp(above, below, weight).reshape(batch, channels, -1, width)
    return rows[:, :, BLOCK // 2 : BLOCK // 2 + BLOCK * height]


def _locate(shift: Tensor, unit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where samples come from, for a batch of planes laid out one after the other.

    Args:
        shift: (B, 2, H, W), in 1/unit of a sample.
        unit: a power of two.

    Returns:
        index of the sample up left of each position, int32, and the position's fractions to the
        right and down, in [0, 1); (B H W,) each.
    """
    batch, _, height, width = shift.shape
    columns = torch.arange(width, dtype=shift.dtype, device=shift.device)
    rows = torch.arange(height, dtype=shift.dtype, device=shift.device)[:, None]
    x = (shift[:, 0] * (1 / unit) + columns).clamp(0, width - 1)
    y = (shift[:, 1] * (1 / unit) + rows).clamp(0, height - 1)
    column, row = x.detach().floor(), y.detach().floor()
    first = torch.arange(batch, dtype=torch.int32, device=shift.device) * (height * width)
    index = row.to(torch.int32) * width + column.to(torch.int32) + first[:, None, None]
    return index.flatten(), (x - column).flatten(), (y - row).flatten()


def _fetch(table: Tensor, width: int, place: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Weigh the four neighbours of each position.

    Args:
        table: (N,) samples, or (N, C) rows of them, of planes one after the other.
        width: of a plane.
        place: index and fractions from `_locate`; fractions broadcast against the rows.

    Returns:
        a sample or row for each position. A neighbour that lies beyond a plane weighs nothing.
    """
    index, across, down = place
    table = torch.cat([table, table.new_zeros(width + 1, *table.shape[1:])])
    corners = [table[k:].index_select(0, index) for k in (0, 1, width, width + 1)]
    above = torch.lerp(corners[0], corners[1], across)
    below = torch.lerp(corners[2], corners[3], across)
    return torch.lerp(above, below, down)
