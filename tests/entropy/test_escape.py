"""The escape code: a complete code, exact at every class boundary, priced as it is coded."""

import numpy as np
import pytest

from kinema.entropy.escape import (
    PREFIX_FREQUENCIES,
    SYMBOL_LIMIT,
    decode_escapes,
    encode_escapes,
    escape_bits,
    mantissa_sizes,
)
from kinema.errors import LimitError


def boundaries():
    distance = np.array([d for c in range(1, 20) for d in (2**c - 2, 2**c - 1, 2**c)][1:], np.int32)
    first, last = np.int32(-5), np.int32(9)
    symbols = np.concatenate([first - distance, last + distance])
    return symbols, np.full(symbols.shape, first), np.full(symbols.shape, last)


def test_prefixes_are_a_complete_code():
    assert PREFIX_FREQUENCIES.sum() == 1 << 24
    assert PREFIX_FREQUENCIES.min() == 8


def test_symbols_at_class_boundaries_come_back():
    symbols, first, last = boundaries()
    code = encode_escapes(symbols, first, last)
    assert (code.num_values == mantissa_sizes(code.prefix)).all()
    assert ((code.mantissa >= 0) & (code.mantissa < code.num_values)).all()
    assert np.array_equal(decode_escapes(code, first, last), symbols)


def test_the_widest_span_fits():
    limit = np.array([SYMBOL_LIMIT], np.int32)
    code = encode_escapes(limit, -limit, -limit)
    assert code.prefix[0] < len(PREFIX_FREQUENCIES)
    assert decode_escapes(code, -limit, -limit) == limit
    with pytest.raises(LimitError, match="1048577"):
        decode_escapes(code, 1 - limit, 1 - limit)


def test_bits_are_those_of_prefix_and_mantissa():
    symbols, first, last = boundaries()
    code = encode_escapes(symbols, first, last)
    expected = 24 - np.log2(PREFIX_FREQUENCIES[code.prefix]) + np.log2(code.num_values)
    assert np.array_equal(escape_bits(symbols, first, last), expected)
