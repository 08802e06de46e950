"""The Gaussian that a symbol is coded with: its bits, and the integers that name its table.

A symbol k is coded in a bin of width 1 around itself under N(mean, scale). The grid of symbols
never depends on the mean (papers on error-free propagation need that); the mean's fraction selects
a table instead.
"""

import math

import torch
from torch import Tensor

from kinema.nn.exact import round_through

NUM_SCALES = 64  # standard deviations from 0.05 to 131 steps
SCALES_PER_NAT = 8  # neighbouring scales differ by exp(1/8): at most 0.003 bit per symbol
MIN_LOG_SCALE = -3.0
NUM_FRACTIONS = 16  # means are known to a sixteenth of a step
MIN_PROBABILITY = 2.0**-24  # of a symbol, in estimates: 24 bits are the most


def table_scales() -> list[float]:
    """Standard deviations of the coded tables, smallest first."""
    return [math.exp(MIN_LOG_SCALE + i / SCALES_PER_NAT) for i in range(NUM_SCALES)]


def scale_index(log_scale: Tensor) -> Tensor:
    """Round a natural logarithm of a scale to its table; whole numbers 0 to 63, same shape."""
    position = (log_scale - MIN_LOG_SCALE) * SCALES_PER_NAT
    return round_through(position).clamp(0, NUM_SCALES - 1)


def gaussian_bits(symbols: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of each symbol (which may be noisy, in training).

    Args:
        symbols: any shape, in steps.
        mean: same shape, in steps.
        log_scale: same shape, natural logarithm of the standard deviation in steps.

    Returns:
        same shape, at most 24 bits each.
    """
    lowest, highest = MIN_LOG_SCALE, MIN_LOG_SCALE + (NUM_SCALES - 1) / SCALES_PER_NAT
    inverse = torch.exp(-log_scale.clamp(lowest, highest))
    distance = (symbols - mean).abs()
    upper = torch.special.ndtr((0.5 - distance) * inverse)
    lower = torch.special.ndtr((-0.5 - distance) * inverse)
    return -torch.log2((upper - lower).clamp(min=MIN_PROBABILITY))
