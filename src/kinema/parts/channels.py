"""What symbols go through: the channel interface, and the channel of training.

`Write` and `Read`, which touch bytes, live in `kinema.parts.coding`.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kinema.nn.exact import round_through
from kinema.parts.laplace import laplace_bits


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is known of symbols before they are coded.

    Attributes:
        mean: in steps, (B, C, h, w).
        log_scale: natural logarithm of the standard deviation in steps, (B, C, h, w).
        inside: the elements that are coded, where not all are: ascending positions in the order
            of rows, columns, channels, (N,). The rest of `mean` and `log_scale` means nothing.
        weight: what a squared error of one step costs, in bits, (B, C, h, w); the encoder may then
            choose symbols by rate and distortion instead of rounding.
        is_binding: a symbol of which the distribution leaves no doubt goes without saying, and the
            latent has to follow; else it is coded like any other.
    """

    mean: Tensor
    log_scale: Tensor
    inside: Tensor | None = None
    weight: Tensor | None = None
    is_binding: bool = True

    def gather(self, values: Tensor) -> Tensor:
        """Coded elements of (B, C, h, w) values, by rows, columns, channels: (B, N)."""
        return self.only_coded(in_coding_order(values))

    def only_coded(self, values: Tensor) -> Tensor:
        """Coded elements of values that are `in_coding_order`: (B, N)."""
        return values if self.inside is None else values.index_select(1, self.inside)

    def scatter(self, coded: Tensor) -> Tensor:
        """Coded elements (B, N) back into (B, C, h, w), zeros elsewhere."""
        count, channels, height, width = self.mean.shape
        if self.inside is not None:
            rows = coded.new_zeros(count, height * width * channels)
            coded = rows.index_copy_(1, self.inside, coded)
        return coded.view(count, height, width, channels).permute(0, 3, 1, 2)


def in_coding_order(values: Tensor) -> Tensor:
    """Bring (B, C, h, w) into the order of rows, columns, channels: (B, h w C)."""
    return values.permute(0, 2, 3, 1).flatten(1)


class Channel(Protocol):
    """Estimates, writes or reads symbols."""

    @property
    def is_final(self) -> bool:
        """Whether symbols are those of a coded frame, so that an encoder may take more trouble."""

    @property
    def passes(self) -> int:
        """How often the symbols of a latent are refined before they are carried."""

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Carry the coded elements.

        Args:
            s: latent in steps, not rounded, (B, C, h, w); None when decoding.
            distribution: of the symbols.

        Returns:
            symbols as the decoder knows them, (B, C, h, w), zero where nothing is coded.
        """
        ...

    def rehearsal(self) -> "Channel":
        """Give a channel that chooses symbols as this one does, and codes nothing."""
        ...


class _Carried(NamedTuple):
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

    def __init__(self, *, noise: bool, decide: float = 0.0, passes: int = 0) -> None:
        """Open the channel.

        Args:
            noise: differentiable rates, for training.
            decide: factor on the worth of an error where symbols are chosen by rate and
                distortion, as `Write` does; 0 rounds to nearest always. With noise, the
                distributions then learn from the chosen symbols, the latent from the noise.
            passes: of refinement (`kinema.parts.refinement`).
        """
        self.noise, self.decide, self.passes = noise, decide, passes
        self.is_final = not noise
        self._carried: list[_Carried] = []

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Choose symbols, and remember what they cost.

        Raises:
            TypeError: there is no latent to round.
        """
        if s is None:
            raise TypeError("an estimate needs the latent itself")
        if self._decides(distribution):
            symbols = s + (self._choose(s.detach(), distribution) - s.detach())
        else:
            symbols = round_through(s)
        if distribution.inside is not None:
            symbols = distribution.scatter(distribution.gather(symbols))
        self._carried.append(_Carried(s, symbols, distribution))
        return symbols

    def rehearsal(self) -> "Estimate":
        """Give a channel that chooses symbols as this one does; nobody asks for its bits."""
        return Estimate(noise=False, decide=self.decide)

    def bits(self) -> Tensor:
        """Bits of everything carried so far, per picture: (B,); a scalar 0 before anything."""
        total = torch.zeros(())
        for carried in self._carried:
            gather = carried.distribution.gather
            bits = self._bits_of(carried)
            total = total.to(bits.device) + gather(bits).sum(1)
        return total

    def _decides(self, distribution: Distribution) -> bool:
        return bool(self.decide) and distribution.weight is not None

    @torch.no_grad()
    def _choose(self, s: Tensor, distribution: Distribution) -> Tensor:
        assert distribution.weight is not None
        cost = self.decide * distribution.weight
        return choose_symbols(s, distribution.mean, distribution.log_scale, cost)

    def _bits_of(self, carried: _Carried) -> Tensor:
        s, symbols, distribution = carried
        mean, log_scale = distribution.mean, distribution.log_scale
        if not self.noise:
            return laplace_bits(symbols, mean, log_scale)
        noisy = s + torch.rand_like(s) - 0.5
        if not self._decides(distribution):
            return laplace_bits(noisy, mean, log_scale)
        slope = laplace_bits(noisy, mean.detach(), log_scale.detach())
        return laplace_bits(symbols.detach(), mean, log_scale) + slope - slope.detach()


class Listener(Estimate):
    """Keeps symbols, without gradients, and distributions of every step; nothing is chosen.

    Attributes:
        heard: one pair for each call of `carry`.
    """

    def __init__(self) -> None:
        super().__init__(noise=False)
        self.heard: list[tuple[Tensor, Distribution]] = []

    def carry(self, s: Tensor | None, distribution: Distribution) -> Tensor:
        """Round to nearest, and remember."""
        symbols = super().carry(s, distribution)
        self.heard.append((symbols.detach(), distribution))
        return symbols


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
    kept = laplace_bits(nearest.float(), mean.float(), log_scale.float())
    saved = kept - laplace_bits(other.float(), mean.float(), log_scale.float())
    worse = cost * ((s - other).square() - (s - nearest).square())
    return torch.where(saved > worse, other, nearest)
