"""Bilinear samples of rows of features, at fixed-point positions with whole-number weights.

A position is a whole number of 1/64 cell, a weight a whole number of 1/4096, four of which make 1;
positions beyond the border count as on it. With rows on the grid, sums stay below 2**24 of these
parts, so they are exact in fp32.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

CELL = 64  # positions have this many units in a cell of the grid that is sampled


class Corners(NamedTuple):
    """The four cells around positions, and what each has to say.

    Attributes:
        rows: places of the cells in a table of rows, (..., 4) int32.
        weight: (..., 4), 0 to 1, 1 together; multiples of 1/4096 for whole positions.
    """

    rows: Tensor
    weight: Tensor


def corners(position: Tensor, size: tuple[int, int], start: Tensor, stride: int = 1) -> Corners:
    """Find the cells around positions; gradients reach positions through the weights.

    Args:
        position: (N, L, 2, ...), in 1/CELL of a cell, right and down from the middle of the first.
        size: (h, w) of what is sampled; its rows follow each other line by line.
        start: row of the first cell, int32; its shape broadcasts to (N, L, ...).
        stride: rows from a cell to the next.

    Returns:
        tensors of shape (N, L, ..., 4).
    """
    height, width = size
    limit = position.new_tensor((width - 1, height - 1)).view(2, *[1] * (position.dim() - 3))
    position = (position * (1 / CELL)).clamp(torch.zeros_like(limit), limit)
    cell = position.detach().floor().clamp_(max=(limit - 1).clamp(min=0))
    right, below = (position - cell).unbind(2)  # of the last cell that has a neighbour after it
    column, row = cell.unbind(2)
    first = (row * width).add_(column).mul_(stride).to(torch.int32) + start
    to_right, to_below = stride * (width > 1), stride * width * (height > 1)
    steps = (0, to_right, to_below, to_below + to_right)
    rows = first[..., None] + torch.tensor(steps, dtype=torch.int32, device=position.device)
    last = right * below
    upper = 1 - below
    weights = (upper - (right - last), right - last, below - last, last)
    return Corners(rows, torch.stack(weights, -1))


class _MixRows(torch.autograd.Function):
    """Sums of four weighted rows; torch's own has a backward pass that takes twice as long."""

    @staticmethod
    def forward(ctx: FunctionCtx, table: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, weight)
        return F.embedding_bag(rows, table, mode="sum", per_sample_weights=weight)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, Tensor]:
        table, rows, weight = ctx.saved_tensors  # type: ignore[attr-defined]  # torch's own
        gradient, flat = gradients[0].contiguous(), rows.flatten()
        order = flat.argsort()
        uses = torch.bincount(flat, minlength=len(table))
        with torch.autocast(table.device.type, enabled=False):
            to_weight = torch.matmul(table[rows], gradient[:, :, None]).squeeze(2)
            to_table = F.embedding_bag(
                torch.div(order, rows.shape[1], rounding_mode="floor"),
                gradient,
                uses.cumsum(0) - uses,
                mode="sum",
                per_sample_weights=weight.flatten()[order],
            )
        return to_table, None, to_weight


def sample(table: Tensor, place: Corners) -> Tensor:
    """Mix rows of features, four at a time; not rounded.

    Args:
        table: (R, C), on the grid.
        place: (..., 4).

    Returns:
        (..., C), type of `table`.
    """
    rows, weight = place.rows.reshape(-1, 4), place.weight.to(table.dtype).reshape(-1, 4)
    mixed = _MixRows.apply(table, rows, weight)  # type: ignore[no-untyped-call]  # torch's own
    return mixed.view(*place.rows.shape[:-1], -1)


def to_rows(x: Tensor) -> Tensor:
    """(N, C, h, w) to (N, h w, C)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).contiguous()


def to_cells(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, h w, C) to (N, C, h, w) with `size` (h, w), channels last in memory."""
    return rows.view(len(rows), *size, -1).permute(0, 3, 1, 2)


def first_rows(field: Tensor, heads: int) -> Tensor:
    """Where each picture and head starts among rows in order of picture, cell, head.

    Args:
        field: (N, h w, 2); its values do not matter.
        heads: how many.

    Returns:
        (N, 1, heads) int32.
    """
    count, cells = field.shape[:2]
    pictures = torch.arange(count, dtype=torch.int32, device=field.device) * (cells * heads)
    return pictures.view(-1, 1, 1) + torch.arange(heads, dtype=torch.int32, device=field.device)


@lru_cache(maxsize=8)
def cell_positions(size: tuple[int, int], device: torch.device) -> Tensor:
    """Positions of all cells, line by line: (h w, 2), right and down, in 1/CELL of a cell."""
    with torch.inference_mode(mode=False):  # what is kept must also serve a training step
        lines, columns = (CELL * torch.arange(length, device=device) for length in size)
        return torch.cartesian_prod(lines, columns).view(-1, 2).flip(1)
