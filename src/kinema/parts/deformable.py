"""FGDT: a stream looks for its content in the latents of reference frames, along motion fields.

    reference j --- project --- keys, values @1/16 --- sample at window 3x3 + field j + residuals
                                   `--- sample at field j --- offset net --- residuals
    query --- enter --- asked, looked                             looked ---'
    asked --- attention over the samples of all references --- leave --- (+) query
    query --- widen --- narrow --- (+) query

Source: flow-guided deformable transformer of the dual-domain system (arXiv 2512.10450), whose
layout is unread; after guided deformable attention of RVRT (arXiv 2206.02146), section 3.3.
Deviations: depthwise 3x3 instead of full 3x3 convolutions in the offset net, a clamp instead of
tanh, learned position biases, keys and values narrower than the stream, one offset net for all
references, each of which it sees alone; all in exact arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinema.errors import ConfigError, ShapeError
from kinema.nn.exact import (
    HIGH,
    LOW,
    Activation,
    Arithmetic,
    GridConv,
    GridLayer,
    add_clipped,
)
from kinema.parts.attention import MAX_HEAD_CHANNELS, PointAttention
from kinema.parts.powers import divide
from kinema.parts.sampling import (
    CELL,
    cell_positions,
    corners,
    first_rows,
    sample,
    to_cells,
    to_rows,
)

WINDOW = tuple((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1))  # cells around a field's end
POINTS = len(WINDOW)
START_BIAS = 4.0  # octaves by which attention begins to prefer the middle of the window


@dataclass(frozen=True, kw_only=True)
class DeformableConfig:
    """Widths and bounds of one stage."""

    stream_channels: int = 192  # P
    latent_channels: int = 384  # M
    value_channels: int = 64  # V, all heads together: of queries, of keys and of values
    heads: int = 8  # each with its own offsets
    hidden_channels: int = 64  # of the offset net
    mixer_expansion: int = 2
    max_references: int = 3
    residual_limit: int = 256  # 1/64 cell: offsets leave the field by up to 4 cells
    field_limit: int = 1023  # 1/64 cell: range of motion fields

    def __post_init__(self) -> None:
        if self.value_channels % self.heads or self.head_channels > MAX_HEAD_CHANNELS:
            raise ConfigError(
                f"{self.value_channels} value channels for {self.heads} heads: expected a multiple,"
                f" at most {MAX_HEAD_CHANNELS} each"
            )

    @property
    def head_channels(self) -> int:
        """Channels of one head's queries, of its keys and of its values."""
        return self.value_channels // self.heads


class Aligned(NamedTuple):
    """What a stage gives.

    Attributes:
        query: (B, P, h, w) on the grid.
        fields: of each reference, (B, 2, h, w), 1/64 cell: the field and its mean residual.
    """

    query: Tensor
    fields: list[Tensor]


class OffsetNet(nn.Module):
    """Tells by how much each head leaves the field at each point of its window.

    It starts as zero: every head samples the plain window around the field's end.
    """

    def __init__(self, config: DeformableConfig) -> None:
        super().__init__()
        hidden = config.hidden_channels
        outputs = 2 * config.heads * POINTS
        self.compare = GridConv(2 * config.value_channels + 2, hidden, Activation.LINEAR)
        self.space = GridConv(hidden, hidden, Activation.RELU, depthwise=True, positive_input=True)
        self.leave = GridConv(hidden, outputs, Activation.LINEAR, positive_input=True, gain=0.0)

    def forward(self, looked: Tensor, warped: Tensor, field: Tensor) -> Tensor:
        """Residual offsets, not bounded.

        Args:
            looked: what the stream has to say, (B, hidden, h, w) on the grid.
            warped: keys and values of J references along the field, (J B, 2 V, h, w) on the grid.
            field: (J B, 2, h, w), 1/64 cell.

        Returns:
            (J B, 2 * heads * POINTS, h, w), 1/64 cell; first all dx, then all dy.
        """
        seen = torch.cat([warped, field.clamp(LOW, HIGH)], 1)
        looked = looked.repeat(len(warped) // len(looked), 1, 1, 1)
        hidden = (looked + self.compare(seen)).clamp(0, HIGH)
        return self.leave(self.space(hidden))


class DeformableStage(GridLayer):
    """One stage of alignment: a stream is updated with what it finds in reference latents.

    Both updates, that of the attention and that of the channel mixer, start as zero, so that a
    new stage gives its query as it is, and the fields as they are. Until offsets are learned,
    attention samples a plain window around the end of the field, the middle of it before all.
    """

    def __init__(self, config: DeformableConfig) -> None:
        super().__init__()
        self.config = config
        width, stream = config.value_channels, config.stream_channels
        self.enter = GridConv(stream, width + config.hidden_channels)
        self.project = GridConv(config.latent_channels, 2 * width)
        self.offsets = OffsetNet(config)
        self.leave = GridConv(width, stream, Activation.LINEAR, gain=0.0)
        wide = stream * config.mixer_expansion
        self.widen = GridConv(stream, wide, Activation.RELU, gain=1.4)
        self.narrow = GridConv(wide, stream, Activation.LINEAR, positive_input=True, gain=0.0)
        position = torch.zeros(config.max_references, config.heads, POINTS)
        position[:, :, POINTS // 2] = START_BIAS
        self.attend = PointAttention(position)

    def forward(
        self, query: Tensor, references: Sequence[Tensor], fields: Sequence[Tensor]
    ) -> Aligned:
        """Align references with the stream.

        Args:
            query: (B, P, h, w) on the grid.
            references: 1 to `max_references` latents, nearest first, (B, M, h, w) on the grid.
            fields: from the stream's frame to each reference, (B, 2, h, w), whole numbers of 1/64
                cell; channel 0 points right, channel 1 down.

        Raises:
            ShapeError: there are no references, too many, or not as many fields.
        """
        if not 1 <= len(references) <= self.config.max_references or len(fields) != len(references):
            raise ShapeError(
                f"{len(references)} references and {len(fields)} fields,"
                f" expected 1 to {self.config.max_references} of both"
            )
        size = (query.shape[2], query.shape[3])
        wide = torch.promote_types(query.dtype, torch.float32)  # autocast would round positions
        table = to_rows(self.project(torch.cat(list(references)))).to(wide)
        field = to_rows(torch.cat(list(fields))).to(wide)
        entered = self.enter(query.contiguous(memory_format=torch.channels_last)).to(wide)
        asked, looked = entered.tensor_split((self.config.value_channels,), 1)
        residual = self._residual(looked, table, field, size)
        found = self.attend(to_rows(asked), self._sample(table, field, residual, size))
        query = add_clipped(query, self.leave(to_cells(found, size)))
        query = add_clipped(query, self.narrow(self.widen(query)))
        refined = to_cells(self._refine(field, residual), size)
        return Aligned(query, list(refined.chunk(len(references))))

    def _residual(
        self, looked: Tensor, table: Tensor, field: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Offsets from the fields' ends (N, h w, 2): (N, h w, 2, heads, POINTS), bounded."""
        position = cell_positions(size, field.device) + field
        start = first_rows(field, 1)[:, :, 0]
        place = corners(position, size, start)
        warped = to_cells(self.on_grid(sample(table.flatten(0, 1), place)), size)
        residual = to_rows(self.offsets(looked, warped, to_cells(field, size))).to(field.dtype)
        limit = self.config.residual_limit
        return residual.clamp(-limit, limit).view(*field.shape, -1, POINTS)

    def _sample(
        self, table: Tensor, field: Tensor, residual: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Sample each head's keys and values at all its points.

        Args:
            table: (N, h w, 2 V) on the grid.
            field: (N, h w, 2).
            residual: (N, h w, 2, heads, POINTS).
            size: (h, w).

        Returns:
            (N, h w, heads, POINTS, 2 V / heads) on the grid.
        """
        heads = self.config.heads
        window = CELL * torch.tensor(WINDOW, dtype=field.dtype, device=field.device).T
        points = (cell_positions(size, field.device) + field)[..., None] + window
        start = first_rows(field, heads)[..., None]
        place = corners(points[:, :, :, None] + residual, size, start, heads)
        sampled = sample(table.view(-1, table.shape[2] // heads), place)
        return sampled.round_() if self.arithmetic is Arithmetic.FROZEN else self.on_grid(sampled)

    def _refine(self, field: Tensor, residual: Tensor) -> Tensor:
        """The field and the mean of its residuals, within the limit of fields: (N, h w, 2)."""
        count = residual.new_full((), residual.shape[3] * POINTS)
        refined = field + divide(residual.sum((3, 4)), count, self.arithmetic)
        return refined.clamp(-self.config.field_limit, self.config.field_limit)
