"""What symbols go through: the channel interface, and the channel of training.

`Write` and `Read`, which touch bytes, live in `kinema.parts.coding`.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kinema.nn.exact import round_through
from kinema.parts.gaussian import gaussian_bits


@dataclass(frozen=True, slots=True)
class Selection:
    """Elements of a latent that one step codes.

    Attributes:
        mask: True where an element is coded, (C, h, w).
        positions: of these elements in the flattened mask, ascending, (N,).
    """

    mask: Tensor
    positions: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> "Selection":
        """Find the positions of a mask's elements."""
        return cls(mask, mask.flatten().nonzero().squeeze(1))


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is known of symbols before they are coded.

    Attributes:
        mean: in steps, (B, C, h, w).
        log_scale: natural logarithm of the standard deviation in steps, (B, C, h, w).
        select: the elements that are coded; the rest of `mean` and `log_scale` means nothing.
        weight: what a squared error of one step costs, in bits, (B, C); the encoder may then
            choose symbols by rate and distortion instead of rounding.
    """

    mean: Tensor
    log_scale: Tensor
    select: Selection
    weight: Tensor | None = None

    def gather(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Selected elements of (B, C, h, w) tensors: (B, N) each."""
        return tuple(t.flatten(1).index_select(1, self.select.positions) for t in tensors)

    def scatter(self, selected: Tensor) -> Tensor:
        """Selected elements (B, N) back into (B, C, h, w), zeros elsewhere."""
        out = torch.zeros(self.mean.shape, dtype=selected.dtype, device=selected.device)
        out.flatten(1).index_copy_(1, self.select.positions, selected)
        return out

    def costs(self) -> Tensor:
        """Bits that a squared error of one step costs, for the selected elements: (B, N)."""
        if self.weight is None:
            raise TypeError("a distribution without weights has no costs")
        elements = self.mean[0, 0].numel()
        channel = torch.div(self.select.positions, elements, rounding_mode="floor")
        return self.weight[:, channel]


class Channel(Protocol):
    """Estimates, writes or reads symbols."""

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Carry the selected elements.

        Args:
            s: latent in steps, not rounded, (B, C, h, w); None when decoding.
            distribution: of the symbols.

        Returns:
            symbols as the decoder knows them, (B, C, h, w), zero where not selected.
        """
        ...


class _Step(NamedTuple):
    """One call of `Estimate.carry`."""

    s: Tensor
    symbols: Tensor
    distribution: Distribution


class Estimate:
    """Counts bits instead of writing them.

    With `noise`, rates are differentiable: those of the latent plus uniform noise, while the
    symbols that travel on are rounded with straight-through gradients; without, rates are those of
    the symbols.
    """

    def __init__(self, *, noise: bool, decide: float = 0.0) -> None:
        """Open the channel.

        Args:
            noise: differentiable rates, for training.
            decide: factor on the worth of an error where symbols are chosen by rate and
                distortion, as `Write` does; 0 rounds to nearest always. With noise, the
                distributions then learn from the chosen symbols, the latent from the noise.
        """
        self.noise, self.decide = noise, decide
        self._steps: list[_Step] = []

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Choose symbols, and remember what they cost.

        Raises:
            TypeError: there is no latent to round.
        """
        if s is None:
            raise TypeError("an estimate needs the latent itself")
        mask = distribution.select.mask
        if self.decide and distribution.weight is not None:
            chosen = self._choose(s.detach(), distribution)
            symbols = s * mask + (chosen - s.detach() * mask)
        else:
            symbols = round_through(s) * mask
        self._steps.append(_Step(s, symbols, distribution))
        return symbols

    @torch.no_grad()
    def _choose(self, s: Tensor, distribution: Distribution) -> Tensor:
        mean, log_scale = distribution.gather(distribution.mean, distribution.log_scale)
        (selected,) = distribution.gather(s)
        cost = self.decide * distribution.costs()
        return distribution.scatter(choose_symbols(selected, mean, log_scale, cost))

    def bits(self) -> Tensor:
        """Bits of everything carried so far, per picture: (B,); a scalar 0 before anything."""
        total = torch.zeros(())
        for steps in self._latents():
            total = total.to(steps[0].s.device) + self._bits_of(steps)
        return total

    def _latents(self) -> list[list[_Step]]:
        """Gather the steps that carried the same tensor, in the order of first appearance."""
        latents: dict[int, list[_Step]] = {}
        for step in self._steps:  # which hold their tensors, so that no id comes twice
            latents.setdefault(id(step.s), []).append(step)
        return list(latents.values())

    def _bits_of(self, steps: list[_Step]) -> Tensor:
        """Bits of one latent, whose steps have disjoint masks: taken once for all; (B,)."""
        nothing = torch.zeros(())
        masks = [d.select.mask for _, _, d in steps]
        mean = sum((d.mean * d.select.mask for _, _, d in steps), start=nothing)
        log_scale = sum((d.log_scale * d.select.mask for _, _, d in steps), start=nothing)
        symbols = sum((symbols for _, symbols, _ in steps), start=nothing)
        if not self.noise:
            bits = gaussian_bits(symbols, mean, log_scale)
        else:
            noisy = steps[0].s + torch.rand_like(steps[0].s) - 0.5
            if self.decide and steps[0].distribution.weight is not None:
                slope = gaussian_bits(noisy, mean.detach(), log_scale.detach())
                bits = gaussian_bits(symbols.detach(), mean, log_scale) + slope - slope.detach()
            else:
                bits = gaussian_bits(noisy, mean, log_scale)
        if sum(d.select.positions.numel() for _, _, d in steps) < masks[0].numel():
            bits = bits * torch.stack(masks).any(0)
        return bits.flatten(1).sum(1)


def choose_symbols(s: Tensor, mean: Tensor, log_scale: Tensor, cost: Tensor) -> Tensor:
    """Take the nearest symbol, or its neighbour towards the mean, whichever costs less.

    Args:
        s: latent in steps, any shape.
        mean: same shape, in steps.
        log_scale: same shape, natural logarithm of the standard deviation in steps.
        cost: same shape, bits per squared step of error.

    Returns:
        whole numbers, same shape and type as `s`.
    """
    nearest = torch.round(s)
    other = nearest + torch.sign(torch.round(mean) - nearest)
    kept = gaussian_bits(nearest.float(), mean.float(), log_scale.float())
    saved = kept - gaussian_bits(other.float(), mean.float(), log_scale.float())
    worse = cost * ((s - other).square() - (s - nearest).square())
    return torch.where(saved > worse, other, nearest)
