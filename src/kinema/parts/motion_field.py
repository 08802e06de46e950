"""Motion fields, and cells of features that move by them; exact.

A *field* holds one vector per 16x16 luma block: (B, 2, h, w), channel 0 is dx (right), 1 is dy
(down), whole numbers of quarter luma samples in [-FIELD_LIMIT, FIELD_LIMIT]. It points backwards:
prediction(p) = reference(p + v(p)). Pictures move by it in `kinema.parts.warping`.

Source: composed fields, RVRT (arXiv 2206.02146), second-order alignment.
"""

import torch
from torch import Tensor

from kinema.errors import ShapeError
from kinema.parts.sampling import (
    CELL,
    cell_positions,
    corners,
    first_rows,
    sample,
    to_cells,
    to_rows,
)

FIELD_LIMIT = 1023  # quarter luma samples: 255.75 samples either way
BLOCK = 16  # luma samples on a side of what one vector stands for
VECTOR_UNITS = 4  # vectors are in quarters of a luma sample
assert CELL == BLOCK * VECTOR_UNITS  # a vector's unit is 1/64 of a cell, the distance of two


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
        (B, C, h, w), values at p + offset(p).

    Raises:
        ShapeError: sizes differ.
    """
    size = (values.shape[2], values.shape[3])
    if tuple(offsets.shape) != (len(values), 2, *size):
        raise ShapeError(f"offsets {tuple(offsets.shape)} for values {tuple(values.shape)}")
    shift = to_rows(offsets.to(values.dtype))
    position = cell_positions(size, shift.device).to(shift.dtype) + shift
    place = corners(position, size, first_rows(shift, 1)[:, :, 0])
    return to_cells(sample(to_rows(values).flatten(0, 1), place), size)
