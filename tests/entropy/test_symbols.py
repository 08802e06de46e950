"""Symbols: what is written is read, at the price announced; any bytes end in order."""

import runpy
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.entropy.escape import SYMBOL_LIMIT
from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.entropy.tables import laplace_tables, pmf_tables
from kinema.errors import BitstreamError, LimitError, ShapeError, WeightsMismatchError

REFERENCE = runpy.run_path(str(Path(__file__).with_name("reference_coder.py")))
SCALES = np.geomspace(0.05, 128, 64)
LAPLACE = laplace_tables(SCALES.tolist(), 8)
HYPER = pmf_tables([np.array([0.1, 0.7, 0.2]), np.array([0.001, 0.999])], [-1, 0])


def write(pushes):
    writer = SymbolWriter()
    for push in pushes:
        writer.push(*push)
    return writer.finish()


def read(payload, pushes):
    reader = SymbolReader(payload)
    symbols = [reader.pull(index, tables) for _, index, tables in pushes]
    reader.finish()
    return symbols


def check_round_trip(pushes):
    payload = write(pushes)
    for (symbols, _, _), decoded in zip(pushes, read(payload, pushes), strict=True):
        assert decoded.dtype == np.int32
        assert decoded.shape == symbols.shape
        assert np.array_equal(decoded, symbols)
    return payload


def draw_laplace(rng, shape, spread=1.0):
    level = np.minimum(rng.geometric(0.08, shape) - 1, 63)
    fraction = rng.integers(0, 8, shape)
    symbols = np.rint(rng.normal(fraction / 8, SCALES[level] * spread)).astype(np.int32)
    return symbols, level * 8 + fraction, LAPLACE


def draw_hyper(rng, count):
    return rng.integers(-1, 2, count), rng.integers(0, 2, count), HYPER


def estimate(pushes):
    return sum(float(tables.bits(s, i).sum(dtype=np.float64)) for s, i, tables in pushes) / 8


@pytest.mark.parametrize("seed", range(4))
def test_five_groups_round_trip_at_the_price_of_their_entropy(seed):
    rng = np.random.default_rng(seed)
    pushes = [draw_hyper(rng, 500), *(draw_laplace(rng, (16, 20, 20)) for _ in range(4))]
    payload = check_round_trip(pushes)
    assert abs(len(payload) - estimate(pushes)) < 6


@pytest.mark.parametrize("spread", [0.2, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("count", [0, 1, 10, 1000, 20_000])
def test_size_is_within_half_a_percent_and_32_bytes_of_bits(count, spread):
    push = draw_laplace(np.random.default_rng(count), count, spread)
    payload = check_round_trip([push])
    assert abs(len(payload) - estimate([push])) <= 0.005 * estimate([push]) + 32


def test_near_certain_symbols_take_next_to_nothing():
    index = np.zeros(50_000, np.int32)
    assert len(write([(index, index, LAPLACE)])) <= 4


def test_more_symbols_than_a_short_sort_key_holds():
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 2, (1 << 20) + 3)
    index = rng.integers(0, 512, symbols.size)
    check_round_trip([(symbols, index, LAPLACE)])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_symbols_round_trip_and_the_reference_agrees(data):
    symbol = st.one_of(st.integers(-3, 3), st.integers(-SYMBOL_LIMIT, SYMBOL_LIMIT))
    pushes = []
    for _ in range(data.draw(st.integers(0, 3))):
        tables = data.draw(st.sampled_from([LAPLACE, HYPER]))
        symbols = data.draw(st.lists(symbol, max_size=30))
        index = st.integers(0, tables.num_indices - 1)
        indices = data.draw(st.lists(index, min_size=len(symbols), max_size=len(symbols)))
        pushes.append((np.array(symbols, np.int32), np.array(indices, np.int32), tables))
    payload = check_round_trip(pushes)
    assert REFERENCE["encode"]([plain(*push) for push in pushes]) == payload
    assert abs(len(payload) - estimate(pushes)) < 6 + 0.005 * estimate(pushes)


def plain(symbols, index, tables):
    rows = np.split(tables.frequencies, tables.offsets[1:])
    pairs = zip(tables.first_symbols.tolist(), (row.tolist() for row in rows), strict=True)
    return symbols.tolist(), tables.tables_of(index).tolist(), list(pairs)


@pytest.mark.parametrize("push", [draw_laplace, draw_hyper])
def test_reference_decodes_a_whole_group(push):
    symbols, numbers, tables = plain(*push(np.random.default_rng(5), 3000))
    payload = write([push(np.random.default_rng(5), 3000)])
    assert REFERENCE["decode"](payload, [(numbers, tables)]) == [symbols]


def test_constriction_uses_exactly_our_frequencies():
    """One symbol at a time through the reference: left ends and widths of every entry agree."""
    tables = laplace_tables([0.3, 3.0, 40.0], 2)
    for index in range(tables.num_indices):
        table = int(tables.lookup[index])
        first, size = int(tables.first_symbols[table]), int(tables.sizes[table])
        symbols = np.arange(first - 1, first + size)
        push = (symbols, np.full(symbols.shape, index), tables)
        assert REFERENCE["encode"]([plain(*push)]) == write([push])


def test_outliers_at_the_limits_round_trip_and_beyond_them_are_refused():
    for symbol in (-SYMBOL_LIMIT, SYMBOL_LIMIT):
        check_round_trip([(np.array([symbol]), np.array([i]), LAPLACE) for i in (0, 255, 511)])
    for symbol in (-SYMBOL_LIMIT - 1, SYMBOL_LIMIT + 1, 2**40):
        with pytest.raises(LimitError, match=str(symbol)):
            SymbolWriter().push(np.array([symbol]), np.array([0]), LAPLACE)


def test_wrong_arguments_are_named():
    with pytest.raises(ShapeError):
        SymbolWriter().push(np.zeros(2, np.int32), np.zeros(3, np.int32), LAPLACE)
    with pytest.raises(ShapeError):
        SymbolWriter().push(np.zeros(2), np.zeros(2, np.int32), LAPLACE)
    with pytest.raises(WeightsMismatchError):
        SymbolReader(b"").pull(np.array([512]), LAPLACE)
    with pytest.raises(ShapeError):
        SymbolReader(b"").pull(np.array([0.5]), LAPLACE)


def test_data_left_over_are_reported():
    pushes = [draw_laplace(np.random.default_rng(0), 300)]
    reader = SymbolReader(write(pushes))
    with pytest.raises(BitstreamError, match="does not end"):
        reader.finish()


def test_a_zero_byte_at_the_end_is_reported():
    with pytest.raises(BitstreamError, match="zero byte"):
        SymbolReader(b"\1\0")


def test_any_damage_gives_other_symbols_or_an_error():
    rng = np.random.default_rng(7)
    pushes = [draw_laplace(rng, 400), draw_hyper(rng, 50)]
    payload = write(pushes)
    noticed = 0
    for _ in range(2000):
        noticed += not survives(damage(rng, payload), pushes)
    assert noticed > 1900


def damage(rng, payload):
    data = bytearray(payload)
    kind = rng.integers(3)
    if kind == 0:
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    elif kind == 1:
        del data[rng.integers(len(data)) :]
    else:
        start = rng.integers(len(data))
        data[start : start + rng.integers(9)] = rng.bytes(rng.integers(9))
    return bytes(data)


def survives(data, pushes):
    try:
        return all(
            np.array_equal(decoded, symbols)
            for decoded, (symbols, _, _) in zip(read(data, pushes), pushes, strict=True)
        )
    except BitstreamError:
        return False


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 511), st.integers(0, 2000))
def test_any_bytes_give_symbols_within_the_limits_or_an_error(data, index, count):
    with suppress(BitstreamError):
        reader = SymbolReader(data)
        symbols = reader.pull(np.full(count, index), LAPLACE)
        assert np.abs(symbols).max(initial=0) <= SYMBOL_LIMIT
        reader.pull(np.zeros(count, np.int32), HYPER)
        reader.finish()


def test_escapes_read_from_noise_stay_within_the_limits():
    outlier = pmf_tables([np.array([1e-9])], [0])  # every symbol an escape
    for seed in range(50):
        reader = SymbolReader(np.random.default_rng(seed).bytes(4000).rstrip(b"\0"))
        try:
            symbols = reader.pull(np.zeros(3000, np.int32), outlier)
        except LimitError:
            continue
        assert np.abs(symbols).max() <= SYMBOL_LIMIT
