"""Sizes of transform blocks: the encoder chooses, a context says what is likely, symbols tell.

What is to be coded is here an edge and there a slope; no single size suits both. A size is a
whole number, an index of `block_cosines.SIDES`; for the entropy coder it is a number like others,
with a mean and a scale.

Source: block codecs since H.264. Of the systems here, no paper has it.
"""

import torch
from torch import Tensor, nn

from kinema.nn.exact import Activation, GridConv, add_clipped
from kinema.parts.block_cosines import SIDES
from kinema.parts.channels import Channel, Distribution
from kinema.parts.laplace import laplace_bits
from kinema.parts.priors import GRID_PER_NAT, GRID_PER_SYMBOL, KNOTS
from kinema.parts.quality import QualityTable

FIRST_BITS, OCTAVE_BITS = 5.0, 2.0  # of a symbol that is not zero; of each doubling beyond 1
CERTAIN = 1e6  # bits that another size would cost: the choice is made here


class BlockSizes(nn.Module):
    """Carries sizes, and tells the nets of them."""

    def __init__(self, stream_channels: int) -> None:
        super().__init__()
        self.expect = GridConv(stream_channels, 2, Activation.LINEAR, gain=0.0)
        start = torch.tensor([0.4, -0.6]).expand(KNOTS, 2)
        self.usual = QualityTable(start.clone(), fraction_bits=6)
        self.share = GridConv(len(SIDES) - 1, stream_channels, Activation.LINEAR, gain=0.0)

    def code(
        self, costs: Tensor | None, stream: Tensor, crf: Tensor, channel: Channel
    ) -> tuple[Tensor, Tensor]:
        """Carry sizes through `channel`.

        Args:
            costs: bits and errors of each block in each size, (B, 3, h, w); None when decoding.
            stream: what is known, (B, P, h, w) on the grid.
            crf: (B,).
            channel: where the symbols go to, or come from.

        Returns:
            sizes, (B, h, w), and the stream that knows them, (B, P, h, w) on the grid.
        """
        told = self.expect(stream).float() / GRID_PER_NAT + self.usual(crf)[:, :, None, None]
        mean, log_scale = told.split(1, 1)
        weight = None if costs is None else torch.full_like(mean, CERTAIN)
        known = Distribution(mean, log_scale, weight=weight, is_binding=False)
        chosen = None if costs is None else _choose(costs, mean, log_scale)
        sizes = channel.carry(chosen, known).detach().round().clamp(0, len(SIDES) - 1)
        which = torch.cat([sizes == index for index in range(1, len(SIDES))], 1)
        shared = self.share(which.to(stream.dtype) * GRID_PER_SYMBOL)
        return sizes[:, 0].long(), add_clipped(stream, shared)


@torch.no_grad()
def price(divided: Tensor, steps: Tensor, weight: Tensor) -> Tensor:
    """Estimate what blocks cost in each size; encoder only.

    Args:
        divided: amplitudes in each size, (S, B, M, h, w).
        steps: of the quantiser, (B, M) amplitudes.
        weight: bits that a squared error of an amplitude costs, (B, M).

    Returns:
        bits plus the worth of errors, (B, S, h, w).
    """
    step, worth = steps[:, :, None, None].float(), weight[:, :, None, None].float()
    found = []
    for y in divided:
        s = y.float().abs() / step
        level = s.round().clamp(min=1)
        coded = FIRST_BITS + OCTAVE_BITS * level.log2() + worth * step**2 * (s - level).square()
        found.append(torch.minimum(coded, worth * step**2 * s.square()).sum(1))
    return torch.stack(found, 1)


def insist(sizes: Tensor) -> Tensor:
    """Costs that leave no choice but `sizes` (B, h, w): (B, S, h, w)."""
    every = torch.arange(len(SIDES), device=sizes.device)[:, None, None]
    return (sizes[:, None] != every).float() * CERTAIN


def pick(divided: Tensor, sizes: Tensor) -> Tensor:
    """Take each block in its own size.

    Args:
        divided: amplitudes in each size, (S, B, M, h, w).
        sizes: (B, h, w).

    Returns:
        (B, M, h, w).
    """
    index = sizes[None, :, None].expand(1, *divided.shape[1:])
    return divided.gather(0, index)[0]


@torch.no_grad()
def _choose(costs: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """The cheapest size of each block, with what it takes to tell: (B, 1, h, w)."""
    every = torch.arange(costs.shape[1], device=costs.device).view(1, -1, 1, 1)
    spread = (every.expand_as(costs).float(), mean.expand_as(costs), log_scale.expand_as(costs))
    told = laplace_bits(*(part.float() for part in spread))
    return (costs + told).argmin(1, keepdim=True).float()
