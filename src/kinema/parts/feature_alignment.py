"""CAMA's alignment in exact arithmetic: features of the frame before, moved in two stages.

    F @1/8 --- begin, or keep --- F @1/8 --- down --- F @1/16 --- down --- F @1/32
    for each scale, coarse ones first, with what the coarser one found:
    F --- warp by field --- F~;  F, F~ --- head --- coarse offsets, weights --- kernel --- F'
    F', F~ --- head --- fine offsets, weights --- kernel along both --- context of the scale

Kernels begin as plain warping. A field is sampled as it is, blocks and all; offsets bridge them.

Source: two-stage flow-guided deformable warping of CAMA (arXiv 2512.12936), whose section on it is
known up to the coarse offsets; kernels as DCNv2 (arXiv 1811.11168). Unstated, ours: the fine stage,
bounds, groups, widths; scales 1/8 to 1/32 instead of 1 to 1/4, so that it is quick on a CPU.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.blocks import GridBlock
from kinema.nn.exact import (
    HIGH,
    LOW,
    Activation,
    GridConv,
    GridLayer,
    add_clipped,
)
from kinema.parts.deformable import POINTS, WINDOW
from kinema.parts.planes import CHANNELS
from kinema.parts.sampling import (
    CELL,
    cell_positions,
    corners,
    first_rows,
    sample,
    to_cells,
    to_rows,
)

ONE = 64  # a weight of this is 1; weights are whole numbers from 0 to 2 ONE - 1


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Widths and bounds; scales from coarse to fine, 1/32, 1/16 and 1/8."""

    widths: tuple[int, int, int] = (64, 64, 32)
    groups: tuple[int, int, int] = (4, 4, 2)  # each with its own offsets
    hidden_channels: int = 32  # of the heads
    coarse_limit: int = 256  # 1/64 cell: the first stage leaves the field by up to 4 cells
    fine_limit: int = 64  # 1/64 cell: the second leaves the first by up to one

    def __post_init__(self) -> None:
        for width, groups in zip(self.widths, self.groups, strict=True):
            if width % groups:
                raise ConfigError(f"{width} channels in {groups} groups: expected a multiple")


class Kernel(GridLayer):
    """DCNv2 at given places with given weights; begins as the middle tap alone."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.mix = GridConv(POINTS * channels, channels, Activation.LINEAR, gain=0.0)
        with torch.no_grad():
            taps = self.mix.weight.view(channels, groups, POINTS, -1)
            taps[:, :, POINTS // 2] = torch.eye(channels).view(channels, groups, -1)

    def forward(
        self, table: Tensor, offsets: Tensor, weights: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Gather and mix.

        Args:
            table: features by rows, (N, h w, C) on the grid.
            offsets: from each cell, (N, h w, 2, groups, POINTS), whole numbers of 1/64 cell.
            weights: (N, h w, groups, POINTS), 0 to 2 ONE - 1.
            size: (h, w).

        Returns:
            (N, C, h, w) on the grid.
        """
        points = cell_positions(size, table.device)[..., None, None] + offsets
        start = first_rows(table, self.groups)[..., None]
        place = corners(points, size, start, self.groups)
        taps = self.on_grid(sample(table.view(-1, table.shape[2] // self.groups), place))
        weighed = self.on_grid(taps * (weights[..., None] * (1 / ONE))).clamp(LOW, HIGH)
        return self.mix(to_cells(weighed.flatten(2), size)).clamp(LOW, HIGH)


class OffsetHead(nn.Module):
    """Offsets and weights of all taps; begins as no offsets and weights of 1."""

    def __init__(self, seen: int, hidden: int, groups: int, limit: int) -> None:
        super().__init__()
        self.groups, self.limit = groups, limit
        self.enter = GridConv(seen, hidden)
        self.mix = GridBlock(hidden)
        self.leave = GridConv(hidden, 3 * groups * POINTS, Activation.LINEAR, gain=0.0)

    def forward(self, seen: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Look at features (N, C, h, w) on the grid.

        Returns:
            offsets (N, h w, 2, groups, POINTS), up to the limit; weights (N, h w, groups, POINTS).
        """
        both = torch.cat(seen, 1).contiguous(memory_format=torch.channels_last)
        rows = to_rows(self.leave(self.mix(self.enter(both)))).float()
        parts = rows.view(*rows.shape[:2], 3, self.groups, POINTS)
        offsets = parts[:, :, :2].clamp(-self.limit, self.limit)
        return offsets, (parts[:, :, 2] + ONE).clamp(0, 2 * ONE - 1)


class TwoStageWarp(GridLayer):
    """One scale: coarse offsets and weights, then fine ones."""

    def __init__(self, index: int, config: FeatureConfig) -> None:
        """Create the nets of scale `index`, coarse to fine."""
        super().__init__()
        width, groups = config.widths[index], config.groups[index]
        told = config.widths[index - 1] if index else 0
        hidden = config.hidden_channels
        self.coarse = OffsetHead(2 * width + 2 + told, hidden, groups, config.coarse_limit)
        self.first = Kernel(width, groups)
        self.fine = OffsetHead(2 * width + told, hidden, groups, config.fine_limit)
        self.second = Kernel(width, groups)
        self.from_coarser = GridConv(told, width, Activation.LINEAR, gain=0.3) if told else None
        self.block = GridBlock(width)

    def forward(self, f: Tensor, field: Tensor, coarser: Tensor | None) -> Tensor:
        """Align features.

        Args:
            f: of the frame before, (N, C, h, w) on the grid.
            field: (N, 2, h, w), whole numbers of 1/64 cell.
            coarser: context of the coarser scale at this size, (N, C', h, w) on the grid, or None.

        Returns:
            (N, C, h, w) on the grid.
        """
        size = (f.shape[2], f.shape[3])
        wide = torch.promote_types(f.dtype, torch.float32)  # autocast would round positions
        table, shift = to_rows(f).to(wide), to_rows(field).to(wide)
        position = cell_positions(size, f.device) + shift
        place = corners(position, size, first_rows(shift, 1)[:, :, 0])
        warped = to_cells(self.on_grid(sample(table.flatten(0, 1), place)), size)
        told = [] if coarser is None else [coarser]
        window = CELL * torch.tensor(WINDOW, dtype=wide, device=f.device).T[:, None]
        around = shift[..., None, None] + window
        coarse, weights = self.coarse([warped, f, field.to(wide).clamp(LOW, HIGH), *told])
        moved = self.first(table, around + coarse, weights, size)
        fine, weights = self.fine([moved, warped, *told])
        moved = self.second(table, around + (coarse + fine), weights, size)
        if self.from_coarser is not None:
            moved = add_clipped(moved, self.from_coarser(coarser))
        return self.block(moved)


class FeatureContexts(GridLayer):
    """Propagated features of the frame before, and the contexts that they become."""

    def __init__(self, config: FeatureConfig, source: int) -> None:
        """Create the nets; `source` is channels of what features are kept of."""
        super().__init__()
        coarse, middle, fine = config.widths
        self.begin = GridConv(CHANNELS, fine)
        self.keep = GridConv(source, fine)
        self.enter = GridBlock(fine)
        self.to_middle = nn.Sequential(GridConv(4 * fine, middle), GridBlock(middle))
        self.to_coarse = nn.Sequential(GridConv(4 * middle, coarse), GridBlock(coarse))
        self.scales = nn.ModuleList([TwoStageWarp(index, config) for index in range(3)])

    def forward(self, features: Tensor | None, picture: Tensor, field: Tensor) -> list[Tensor]:
        """Align the features of the frame before.

        Args:
            features: as `keep` gave them, (B, C, 2h, 2w) on the grid; None after an I frame.
            picture: of the frame before, (B, 96, 2h, 2w), picture units.
            field: to the frame before, (B, 2, h, w), quarter luma samples.

        Returns:
            contexts at 1/32, 1/16 and 1/8, (B, widths, ...) on the grid.
        """
        f = self.begin(picture.clamp(LOW, HIGH)) if features is None else features
        fine = self.enter(f)
        middle = self.to_middle(F.pixel_unshuffle(fine, 2))
        coarse = self.to_coarse(F.pixel_unshuffle(_to_pairs(middle), 2))
        fields = (_halve(field), field, 2 * _double(field))
        contexts: list[Tensor] = []
        for scale, f, moved in zip(self.scales, (coarse, middle, fine), fields, strict=True):
            coarser = None
            if contexts:
                coarser = _double(contexts[-1])[..., : f.shape[2], : f.shape[3]]
            contexts.append(scale(f, moved, coarser))
        return contexts


def _to_pairs(x: Tensor) -> Tensor:
    """Repeat the last row and column where there is an odd number of them."""
    missing = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
    return F.pad(x, missing, mode="replicate") if any(missing) else x


def _double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _halve(field: Tensor) -> Tensor:
    """Means of four vectors, whole numbers again, in units of cells twice as large."""
    x = _to_pairs(field)
    total = x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]
    return torch.round(total * (1 / 8))
