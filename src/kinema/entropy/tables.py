"""Probabilities to integer tables: done once, when a model is exported, since floats may differ.

Largest remainders make the integers; what is beyond a table's ends goes to its escape symbol.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinema.entropy.table_set import TOTAL, TableSet
from kinema.errors import ConfigError

__all__ = ["TableSet", "laplace_tables", "pmf_tables"]

TAIL_MASS = 2.0**-16  # probability left to the escape symbol, at most
LEAST_FREQUENCY = 64  # of 2**24: no outlier costs more than 18 bits (and its escape code) ...
LEAST_MASS = 1 << 14  # ... but all least frequencies of a table take at most this much of 2**24
MERGE_LOSS_BITS = 0.0005  # per symbol, at most, for sharing tables between neighbouring means
MAX_SCALE = 4096.0

Floats = NDArray[np.float64]


def laplace_tables(scales: Sequence[float], num_fractions: int) -> TableSet:
    """Tabulate `r = k - floor(mean)` for Laplace variables about `mean`, rounded to integers k.

    With `f = fraction_index / num_fractions`, table index `scale_index * num_fractions +
    fraction_index` stands for `P(r) = F((r + 0.5 - f) / s) - F((r - 0.5 - f) / s)`, F being the
    distribution function of deviation 1: `F(-x) = exp(-sqrt(2) x) / 2` for x above 0.
    Where s is wide, neighbouring fractions share a table at a loss below MERGE_LOSS_BITS.

    Args:
        scales: standard deviations s, each above 0 and at most MAX_SCALE.
        num_fractions: how many steps a unit of the mean has, 1..256.

    Raises:
        ConfigError: an argument outside its range.
    """
    if not 1 <= num_fractions <= 256:
        raise ConfigError(f"found {num_fractions} fractions of the mean, expected 1..256")
    if not len(scales) or not all(0 < s <= MAX_SCALE for s in scales):
        raise ConfigError(
            f"found scales {list(scales)}, expected some above 0, up to {MAX_SCALE:g}"
        )
    rows: dict[tuple[float, float], int] = {}
    lookup = []
    for scale in scales:
        steps = _useful_fractions(scale, num_fractions)
        for fraction_index in range(num_fractions):
            mean = math.floor(fraction_index * steps / num_fractions + 0.5) / steps
            lookup.append(rows.setdefault((mean, scale), len(rows)))
    pmfs, first_symbols = zip(*(_rounded_laplace(*key) for key in rows), strict=True)
    return _join(pmfs, first_symbols, lookup)


def pmf_tables(pmfs: Sequence[Floats], first_symbols: Sequence[int]) -> TableSet:
    """Tabulate given probabilities; table index i stands for pmfs[i] from first_symbols[i] on.

    Args:
        pmfs: probabilities of consecutive integers; a sum below 1 leaves the rest to the escape
            symbol, a sum above 1 is normalised. Far tails are cut off.
        first_symbols: the integer of the first probability of each.

    Raises:
        ConfigError: not one first symbol per pmf, or a pmf that is none.
    """
    if len(pmfs) != len(first_symbols) or not pmfs:
        raise ConfigError(
            f"found {len(pmfs)} pmfs, {len(first_symbols)} first symbols, expected equal"
        )
    trimmed = [
        _trim(np.asarray(p, np.float64), f) for p, f in zip(pmfs, first_symbols, strict=True)
    ]
    return _join([p for p, _ in trimmed], [f for _, f in trimmed], range(len(pmfs)))


def _useful_fractions(scale: float, num_fractions: int) -> int:
    # A mean known to +-1 / (2 m) costs about log2(e) / (12 m^2 s^2) bits; take the least m = 2^i.
    steps = 1
    while steps < num_fractions and math.log2(math.e) / 12 > MERGE_LOSS_BITS * (steps * scale) ** 2:
        steps *= 2
    return min(steps, num_fractions)


def _rounded_laplace(mean: float, scale: float) -> tuple[Floats, int]:
    decay = math.sqrt(2) / scale
    reach = -math.log(TAIL_MASS) / decay  # beyond it lies TAIL_MASS, both sides together
    first, last = math.floor(mean - reach + 0.5), math.ceil(mean + reach - 0.5)
    edges = (np.arange(first, last + 2) - 0.5 - mean) * decay
    tail = np.exp(-np.abs(edges)) / 2  # beyond each edge, away from the mean
    below = np.where(edges < 0, tail, 1 - tail)
    return np.where(edges[:-1] > 0, -np.diff(tail), np.diff(below)), first


def _trim(pmf: Floats, first_symbol: int) -> tuple[Floats, int]:
    if pmf.ndim != 1 or not np.isfinite(pmf).all() or (pmf < 0).any() or not pmf.sum() > 0:
        raise ConfigError(
            f"pmf of shape {pmf.shape}: expected one axis, finite, none below 0, sum > 0"
        )
    pmf = pmf / max(float(pmf.sum()), 1.0)
    bound = min(TAIL_MASS, float(pmf.sum()) / 2) / 2
    start = int(np.argmax(np.cumsum(pmf) > bound))
    stop = len(pmf) - int(np.argmax(np.cumsum(pmf[::-1]) > bound))
    return pmf[start:stop], first_symbol + start


def _frequencies(pmf: Floats) -> NDArray[np.int32]:
    """Round to integers that sum to TOTAL, escape last, by largest remainders."""
    with_escape = np.append(pmf, max(1.0 - float(pmf.sum()), 0.0))
    least = min(max(LEAST_MASS // len(with_escape), 1), LEAST_FREQUENCY)
    free = TOTAL - least * len(with_escape)
    shares = with_escape / with_escape.sum() * free
    frequencies: NDArray[np.int32] = np.floor(shares).astype(np.int32)
    largest = np.argsort(frequencies - shares, kind="stable")
    frequencies[largest[: free - int(frequencies.sum())]] += 1
    frequencies += np.int32(least)
    return frequencies


def _join(pmfs: Sequence[Floats], first_symbols: Sequence[int], lookup: Sequence[int]) -> TableSet:
    """Make the set, each of several equal tables stored once."""
    rows = [_frequencies(pmf) for pmf in pmfs]
    number: dict[tuple[int, bytes], int] = {}
    keys = [(first, row.tobytes()) for first, row in zip(first_symbols, rows, strict=True)]
    new_lookup = [number.setdefault(keys[i], len(number)) for i in lookup]
    kept = [np.frombuffer(row, np.int32) for _, row in number]
    return TableSet(
        frequencies=np.concatenate(kept),
        sizes=np.array([len(row) for row in kept], np.int32),
        first_symbols=np.array([first for first, _ in number], np.int32),
        lookup=np.array(new_lookup, np.int32),
    )
