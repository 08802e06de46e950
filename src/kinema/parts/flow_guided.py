"""FGDT in published size, in ordinary floating point: a stream looks back along flows.

    reference j --- project --- keys, values; sampled along flow j --- offset net --- offsets j
    query --- heads x window of 3x3 places, flow j + offsets j, all references jointly --- (+) query
    query --- norm --- widen --- narrow --- (+) query

Source: flow-guided deformable transformer of the dual-domain system (arXiv 2512.10450), whose
layout is unread; after guided deformable attention of RVRT (arXiv 2206.02146), section 3.3: joint
softmax over references, first-order offsets, refined flows for the next stage. The exact one of
`small` is `parts/deformable.py`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ShapeError
from kinema.nn.residual import Leaky, conv, silent
from kinema.parts.optical_flow import warp

WINDOW = tuple((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
POINTS = len(WINDOW)


@dataclass(frozen=True, kw_only=True)
class FlowGuidedConfig:
    """Widths and bounds of a stage."""

    channels: int = 256  # C, of the stream and of reference latents
    heads: int = 8  # each with its own offsets; divides 2 C
    hidden_channels: int = 64  # of the offset net
    offset_blocks: int = 4  # 3x3 convolutions of the offset net
    mixer_expansion: int = 2
    reach: float = 4.0  # latent samples by which offsets leave the flow, at most


class Looked(NamedTuple):
    """What a stage gives.

    Attributes:
        query: (B, C, h, w).
        flows: of each reference, (B, 2, h, w): the flow and its mean offset.
    """

    query: Tensor
    flows: list[Tensor]


class FlowGuidedStage(nn.Module):
    """One stage: both updates, of attention and of mixer, and all offsets begin as zero."""

    def __init__(self, config: FlowGuidedConfig) -> None:
        super().__init__()
        self.config = config
        channels, hidden, inner = config.channels, config.hidden_channels, 2 * config.channels
        layers: list[nn.Module] = [nn.Conv2d(2 * channels + 2, hidden, 1), Leaky()]
        for _ in range(config.offset_blocks):
            layers += [conv(hidden, hidden), Leaky()]
        leave = silent(nn.Conv2d(hidden, 2 * config.heads * POINTS, 1))
        self.offsets = nn.Sequential(*layers, leave)
        self.ask = nn.Conv2d(channels, inner, 1)
        self.project = nn.Conv2d(channels, 2 * inner, 1)
        self.leave = silent(nn.Conv2d(inner, channels, 1))
        self.norm = nn.GroupNorm(1, channels)
        self.widen = nn.Conv2d(channels, config.mixer_expansion * channels, 1)
        self.narrow = silent(nn.Conv2d(config.mixer_expansion * channels, channels, 1))

    def forward(self, query: Tensor, references: list[Tensor], flows: list[Tensor]) -> Looked:
        """Look for the stream's content.

        Args:
            query: (B, C, h, w).
            references: latents, one or more, nearest first, (B, C, h, w).
            flows: to each of them, (B, 2, h, w), latent samples, right and down.

        Raises:
            ShapeError: there are no references, or not as many flows.
        """
        if not references or len(references) != len(flows):
            raise ShapeError(f"{len(references)} references and {len(flows)} flows; one or more")
        offsets = [self._offsets(query, r, f) for r, f in zip(references, flows, strict=True)]
        found = [self._sample(r, f, o) for r, f, o in zip(references, flows, offsets, strict=True)]
        keys, values = (torch.cat([pair[i] for pair in found], 2) for i in (0, 1))
        asked = self._by_head(self.ask(query))[:, :, None]
        scores = (asked * keys).sum(3) / math.sqrt(keys.shape[3])
        shares = scores.softmax(2)[:, :, :, None]
        attended = (shares * values).sum(2)
        batch, _, height, width = query.shape
        query = query + self.leave(attended.reshape(batch, -1, height, width))
        query = query + self.narrow(F.gelu(self.widen(self.norm(query))))
        refined = [f + o.mean((1, 2)) for f, o in zip(flows, offsets, strict=True)]
        return Looked(query, refined)

    def _offsets(self, query: Tensor, reference: Tensor, flow: Tensor) -> Tensor:
        """Off the flow: (B, heads, POINTS, 2, h, w), latent samples."""
        seen = torch.cat([query, warp(reference, flow), flow], 1)
        offsets = self.config.reach * torch.tanh(self.offsets(seen).float())
        return offsets.reshape(len(flow), self.config.heads, POINTS, *flow.shape[1:])

    def _sample(self, reference: Tensor, flow: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values at all places of all heads: (B, heads, POINTS, D, h, w) each."""
        heads = self.config.heads
        window = torch.tensor(WINDOW, dtype=offsets.dtype, device=offsets.device)
        places = flow[:, None, None] + window[:, :, None, None] + offsets
        keys, values = self.project(reference).chunk(2, 1)
        table = torch.cat([self._by_head(keys), self._by_head(values)], 2).flatten(0, 1)
        found = [warp(table, places[:, :, i].flatten(0, 1)) for i in range(POINTS)]
        sampled = torch.stack(found, 1)
        sampled = sampled.reshape(len(flow), heads, *sampled.shape[1:])
        first, second = sampled.chunk(2, 3)
        return first, second

    def _by_head(self, f: Tensor) -> Tensor:
        """(B, 2 C, h, w) -> (B, heads, D, h, w)."""
        return f.reshape(len(f), self.config.heads, -1, *f.shape[2:])


def compose_flows(first: Tensor, second: Tensor) -> Tensor:
    """Chain two flows: first(p) + second(p + first(p)), (B, 2, h, w)."""
    return first + warp(second, first)
