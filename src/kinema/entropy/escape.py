"""The code for symbols outside their table: side and size class from a fixed table, then bits.

A symbol that leaves its table by `excess` (0 = the first one outside) is coded as `v = excess + 2`:
class `c = floor(log2 v)` (1..21) and side (0 above, 1 below) form the prefix `2 * (c - 1) + side`,
whose frequency is `2**(23 - c)` (8 for the last class); then come the `c` low bits of `v`, uniform.
The price is `2 * c + 1` bits after the escape symbol of the table.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinema.errors import LimitError

SYMBOL_LIMIT = 1 << 20  # symbols reach from -SYMBOL_LIMIT to +SYMBOL_LIMIT
NUM_CLASSES = 21  # enough for a table at one limit and a symbol at the other

PREFIX_FREQUENCIES: NDArray[np.int32] = np.repeat(
    np.array([1 << (23 - c) for c in range(1, NUM_CLASSES)] + [8], np.int32), 2
)


class EscapeCode(NamedTuple):
    """What follows the escape symbols of one push, one entry per escaped symbol (int32, (N,))."""

    prefix: NDArray[np.int32]  # 0..41
    num_values: NDArray[np.int32]  # 2**c: how many values the mantissa may take
    mantissa: NDArray[np.int32]  # 0..num_values - 1


def encode_escapes(
    symbols: NDArray[np.int32], first: NDArray[np.int32], last: NDArray[np.int32]
) -> EscapeCode:
    """Express symbols outside `first..last`, the ends of their tables."""
    below = symbols < first
    v = np.where(below, first - symbols, symbols - last) + 1
    size_class = np.frexp(v.astype(np.float64))[1] - 1  # exact: v < 2**53
    num_values = np.left_shift(1, size_class, dtype=np.int32)
    prefix = 2 * (size_class - 1) + below
    return EscapeCode(prefix.astype(np.int32), num_values, (v - num_values).astype(np.int32))


def mantissa_sizes(prefix: NDArray[np.int32]) -> NDArray[np.int32]:
    """Tell how many values the mantissa after each prefix may take."""
    return np.left_shift(1, prefix // 2 + 1, dtype=np.int32)


def decode_escapes(
    code: EscapeCode, first: NDArray[np.int32], last: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Invert `encode_escapes`.

    Raises:
        LimitError: a symbol lies beyond SYMBOL_LIMIT, which no writer produces.
    """
    distance = code.num_values + code.mantissa - 1  # from the end of the table, 1 or more
    symbols = np.where(code.prefix % 2 == 1, first - distance, last + distance).astype(np.int32)
    check_symbols(symbols, "in the payload")
    return symbols


def escape_bits(
    symbols: NDArray[np.int32], first: NDArray[np.int32], last: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Give the price of `encode_escapes(...)` in bits, per symbol."""
    code = encode_escapes(symbols, first, last)
    return (2 * np.log2(code.num_values) + (code.prefix < 2 * NUM_CLASSES - 2)).astype(np.float32)


def check_symbols(symbols: NDArray[np.integer[Any]], action: str) -> None:
    """Refuse symbols beyond SYMBOL_LIMIT.

    Raises:
        LimitError: naming the symbol farthest out.
    """
    if symbols.size and (symbols.min() < -SYMBOL_LIMIT or symbols.max() > SYMBOL_LIMIT):
        worst = max(int(symbols.max()), int(symbols.min()), key=abs)
        raise LimitError(f"found symbol {worst} {action}, expected at most +-{SYMBOL_LIMIT}")
