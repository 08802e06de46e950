"""The distribution that a symbol is coded with: its bits, and the integers that name its table.

A symbol k is coded in a bin of width 1 around itself under the Laplace distribution of a mean and a
scale, its standard deviation: of a Gaussian, nets trained for it came out 2.7 % longer
(docs/LOG.md). The grid of symbols never depends on the mean (papers on error-free propagation need
that); the mean's fraction selects a table instead.
"""

import math

import torch
from torch import Tensor

from kinema.nn.exact import round_through

NUM_SCALES = 64  # standard deviations from 0.05 to 131 steps
SCALES_PER_NAT = 8  # neighbouring scales differ by exp(1/8): at most 0.003 bit per symbol
MIN_LOG_SCALE = -3.0
NUM_FRACTIONS = 16  # means are known to a sixteenth of a step
MAX_BITS = 24.0  # of a symbol, in estimates
MIN_PROBABILITY = 2.0**-MAX_BITS


def table_scales() -> list[float]:
    """Standard deviations of the coded tables, smallest first."""
    return [math.exp(MIN_LOG_SCALE + i / SCALES_PER_NAT) for i in range(NUM_SCALES)]


def scale_index(log_scale: Tensor) -> Tensor:
    """Round a natural logarithm of a scale to its table; whole numbers 0 to 63, same shape."""
    position = (log_scale - MIN_LOG_SCALE) * SCALES_PER_NAT
    return round_through(position).clamp(0, NUM_SCALES - 1)


def laplace_bits(symbols: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of each symbol (which may be noisy, in training).

    Args:
        symbols: any shape, in steps.
        mean: same shape, in steps.
        log_scale: same shape, natural logarithm of the standard deviation in steps.

    Returns:
        same shape, at most MAX_BITS each.
    """
    lowest, highest = MIN_LOG_SCALE, MIN_LOG_SCALE + (NUM_SCALES - 1) / SCALES_PER_NAT
    decay = math.sqrt(2) * torch.exp(-log_scale.clamp(lowest, highest))
    distance = (symbols - mean).abs()
    beyond = distance.clamp(min=0.5) - 0.5  # of the bin, where it does not hold the mean
    outside = -torch.log2(-torch.expm1(-decay) / 2) + decay * beyond * (1 / math.log(2))
    within = 1 - torch.exp(-decay / 2) * torch.cosh(decay * distance.clamp(max=0.5))
    inside = -torch.log2(within.clamp(min=MIN_PROBABILITY))
    return torch.where(distance < 0.5, inside, outside).clamp(max=MAX_BITS)
