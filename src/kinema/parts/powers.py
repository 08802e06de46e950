"""Powers of two with fractions in the exponent, from whole numbers; softmax and means by them.

Tables come out of integer square roots and products alone, so that every machine has the same.
What is trained uses the real function; what is frozen looks up, and divides in fp64.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from kinema.nn.exact import Arithmetic, round_through

LOGIT_UNITS = 64  # per octave: logits that far apart differ by a factor of two
SHARE_BITS = 12  # shares of a frozen softmax are multiples of 2**-SHARE_BITS
WEIGHT_BITS = 20  # of the table they are made from: smaller weights count as nothing
GUARD_BITS = 64  # products of a table carry this many bits more than its entries


class _Replace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, value: Tensor, replacement: Tensor) -> Tensor:
        del ctx, value
        return replacement.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None


def replace_through(value: Tensor, replacement: Tensor) -> Tensor:
    """Give `replacement`; the gradient passes to `value`, of the same shape and type."""
    return _Replace.apply(value, replacement)  # type: ignore[no-untyped-call]  # torch's own


@lru_cache(maxsize=8)
def power_table(first: int, last: int, parts: int, bits: int, device: torch.device) -> Tensor:
    """Tabulate 2**(i / parts) for i = `first` to `last`, rounded to multiples of 2**-bits.

    Args:
        first: lowest exponent, in parts of an octave.
        last: highest exponent, likewise.
        parts: of an octave; a power of two.
        bits: after the point.
        device: where the table is needed; it is kept for the next call.

    Returns:
        (last - first + 1,) fp64.
    """
    precision = bits + max(last // parts, 0) + GUARD_BITS
    octave = _octave(parts, precision)
    entries = []
    for exponent in range(first, last + 1):
        whole, part = divmod(exponent, parts)
        drop = precision - bits - whole
        entries.append(((octave[part] >> (drop - 1)) + 1) >> 1)
    with torch.inference_mode(mode=False):  # what is kept must also serve a training step
        table = torch.tensor(entries, dtype=torch.float64, device=device)
        return table * 2.0**-bits


def _octave(parts: int, precision: int) -> list[int]:
    """2**(i / parts) for i = 0 to parts - 1, in units of 2**-precision, each a little below."""
    factor = 2 << precision
    for _ in range(parts.bit_length() - 1):
        factor = math.isqrt(factor << precision)
    values = [1 << precision]
    while len(values) < parts:
        values.append(values[-1] * factor >> precision)
    return values


def softmax_shares(logits: Tensor, dims: tuple[int, ...], arithmetic: Arithmetic) -> Tensor:
    """Softmax to the base of two; with whole-number logits and frozen arithmetic, exact.

    Frozen and fake shares are multiples of 2**-SHARE_BITS, so that their sum may miss 1 by a few:
    whoever takes a mean divides by it.

    Args:
        logits: any shape, LOGIT_UNITS to the octave; whole numbers below 2**24 unless FLOAT.
        dims: what competes.
        arithmetic: of the layer that asks.

    Returns:
        same shape and type as `logits`, 0 to 1.
    """
    distance = logits.detach().amax(dims, keepdim=True) - logits
    if arithmetic is Arithmetic.FROZEN:
        return _exact_shares(distance, dims)
    shares = torch.exp2(distance * (-1 / LOGIT_UNITS))
    shares = shares / shares.sum(dims, keepdim=True)
    if arithmetic is Arithmetic.FLOAT:
        return shares
    return replace_through(shares, _exact_shares(distance.detach(), dims))


def _exact_shares(distance: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Shares of logits that lie `distance`, whole numbers from 0, below the largest."""
    lowest = -(WEIGHT_BITS + 1) * LOGIT_UNITS  # what lies further down would be rounded to nothing
    table = power_table(lowest, 0, LOGIT_UNITS, WEIGHT_BITS, distance.device)
    index = (-lowest - distance).clamp(min=0).long()
    weights = table.index_select(0, index.flatten()).view(index.shape)
    shares = (weights / weights.sum(dims, keepdim=True)).mul_(2.0**SHARE_BITS).round_()
    return shares.mul_(2.0**-SHARE_BITS).to(distance.dtype)


def divide(numerator: Tensor, denominator: Tensor, arithmetic: Arithmetic) -> Tensor:
    """Divide, and round half to even unless FLOAT; fp64 makes quotients correctly rounded.

    Args:
        numerator: any shape, exact.
        denominator: a tensor, not a number (which a device may turn into its reciprocal), exact.
        arithmetic: of the layer that asks.

    Returns:
        the type of `numerator`.
    """
    if arithmetic is Arithmetic.FLOAT:
        return numerator / denominator
    quotient = numerator.double() / denominator.double()
    return round_through(quotient).to(numerator.dtype)
