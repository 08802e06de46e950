"""What a network is told of each reference: its direction, distance, quality and reliability.

    latent of the reference --- times reliability --- (+) --- adapted latent
    facts --- embed ----------------------------------'

A *level* says how far a reference can be relied upon, 0 to 15; at 15 its latent is unchanged, at 0
nobody asks. Pictures are blended by the same levels. All of it exact.

Source: Uni-LVC (arXiv 2603.05756), reference adaptor and reliability-aware classifier, of which the
layout is unread; docs/papers/uni_lvc.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kinema.nn.exact import HIGH, LOW, Activation, GridConv, GridLayer, round_through

MAX_LEVEL = 15  # of reliability; 0: as if a reference were not there
NUM_FACTS = 5
GRID_PER_CRF = 16.0
GRID_PER_FLAG = 64.0
OCTAVE = 64  # activation steps for each doubling of the distance


class Standing(NamedTuple):
    """How a reference stands to the present frame.

    Attributes:
        distance: its display index minus that of the frame; not 0.
        level: reliability, 1 to 15.
        crf: quality it was coded with, (B,).
    """

    distance: int
    level: int
    crf: Tensor


class ReferenceAdaptor(GridLayer):
    """Adapts reference latents. It starts as nothing, but for the level."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        self.embed = GridConv(NUM_FACTS, latent_channels, Activation.LINEAR, gain=0.0)

    def forward(self, latent: Tensor, standing: Standing, crf: Tensor) -> Tensor:
        """Adapt a latent (B, M, h, w) on the grid, for a frame of quality `crf` (B,)."""
        return (self.fade(latent, standing.level) + self.embed(facts(standing, crf))).clamp(
            LOW, HIGH
        )

    def fade(self, latent: Tensor, level: int) -> Tensor:
        """Make a latent on the grid weaker, the less it can be relied upon."""
        return self.on_grid(latent * gain(level))


def gain(level: int) -> float:
    """Give what features of a reference are multiplied by: 1/8 to 1, in sixteenths."""
    return (level + 1) / (MAX_LEVEL + 1)


def facts(standing: Standing, crf: Tensor) -> Tensor:
    """Tell direction, logarithm of the distance, both qualities and level: (B, 5, 1, 1)."""
    length = (abs(standing.distance) ** OCTAVE).bit_length() - 1
    values = [
        torch.full_like(crf, GRID_PER_FLAG if standing.distance > 0 else -GRID_PER_FLAG),
        torch.full_like(crf, length),
        torch.round(standing.crf * GRID_PER_CRF),
        torch.round((standing.crf - crf) * GRID_PER_CRF),
        torch.full_like(crf, standing.level * GRID_PER_CRF),
    ]
    return torch.stack(values, 1)[:, :, None, None].float()


def blend(values: Sequence[Tensor], levels: Sequence[int]) -> Tensor:
    """Mean of what references tell, weighted by their levels; rounded half to even.

    Args:
        values: whole numbers up to 2**12, one tensor for each reference.
        levels: of the references, 1 to 15.

    Returns:
        whole numbers, shape and type of the values; gradients pass.
    """
    if len(values) == 1:
        return values[0]
    total = values[0] * levels[0]
    for value, level in zip(values[1:], levels[1:], strict=True):
        total = total + value * level
    divisor = torch.full((), sum(levels), dtype=torch.float64, device=total.device)
    return round_through(total.double() / divisor).to(values[0].dtype)
