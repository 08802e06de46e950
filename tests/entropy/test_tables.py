"""Tables: right distributions, exact integers, honest prices, no hostile array gets through."""

import math
import pickle
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.entropy.escape import SYMBOL_LIMIT
from kinema.entropy.table_set import TOTAL
from kinema.entropy.tables import TableSet, laplace_tables, pmf_tables
from kinema.errors import ConfigError, LimitError, ShapeError, WeightsMismatchError

SCALES = np.geomspace(0.05, 128, 64).tolist()
LAPLACE = laplace_tables(SCALES, 16)


def rounded_laplace(symbols, mean, scale):
    def beyond(x):
        return np.exp(-math.sqrt(2) / scale * x) / 2

    low, high = np.abs(symbols - mean) - 0.5, np.abs(symbols - mean) + 0.5
    return np.where(low < 0, 1 - beyond(-low), beyond(low)) - beyond(high)


def test_every_table_sums_to_the_total_with_nothing_below_one():
    totals = np.add.reduceat(LAPLACE.frequencies, LAPLACE.offsets)
    assert (totals == TOTAL).all()
    assert LAPLACE.frequencies.min() >= 1


def test_tables_travel_to_other_processes():
    assert LAPLACE.models  # constriction's own, which stay behind
    copy = pickle.loads(pickle.dumps(LAPLACE))
    for name, array in LAPLACE.to_arrays().items():
        assert np.array_equal(array, getattr(copy, name))


def test_shared_tables_keep_the_set_small():
    assert LAPLACE.num_indices == 1024
    assert len(LAPLACE.sizes) < 700
    assert LAPLACE.frequencies.nbytes < 200_000


@pytest.mark.parametrize("num_fractions", [1, 8, 16])
@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 2.5, 9.0, 128.0])
def test_laplace_tables_cost_nearly_the_entropy_of_the_true_distribution(scale, num_fractions):
    tables = laplace_tables([scale], num_fractions)
    for fraction_index in range(num_fractions):
        symbols = np.arange(math.floor(-6 * scale) - 1, math.ceil(6 * scale) + 3)
        p = rounded_laplace(symbols, fraction_index / num_fractions, scale)
        bits = tables.bits(symbols, np.full(symbols.shape, fraction_index))
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.nansum(p * np.log2(p))
        assert entropy - 1e-4 < (p * bits).sum() < entropy + 0.0025


def test_tables_are_mirrored_where_the_mean_is():
    tables = laplace_tables([0.4], 2)
    bits = tables.window_bits(-1, 2)
    assert np.allclose(bits[1, 1], bits[1, 2], atol=1e-5)  # mean 0.5: 0 and 1 equally likely
    assert np.allclose(bits[0, 0], bits[0, 2], atol=1e-4)  # mean 0: -1 and 1


def test_pmf_tables_follow_the_pmf_and_leave_the_rest_to_the_escape():
    tables = pmf_tables([np.array([0.5, 0.25, 0.125]), np.array([0.0, 0.0, 1.0, 0.0])], [-1, 5])
    bits = tables.bits(np.array([-1, 0, 1, 7]), np.array([0, 0, 0, 1]))
    assert np.allclose(bits, [1, 2, 3, 0], atol=1e-3)
    assert tables.first_symbols.tolist() == [-1, 7]
    assert tables.bits(np.array([2]), np.array([0])) == pytest.approx(3 + 3, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(-1000, 1000))
def test_any_pmf_makes_valid_tables(pmf, first_symbol):
    if not any(pmf):
        with pytest.raises(ConfigError):
            pmf_tables([np.array(pmf)], [first_symbol])
        return
    tables = pmf_tables([np.array(pmf)], [first_symbol])
    assert tables.frequencies.sum() == TOTAL


def test_window_bits_are_the_bits_of_each_index_and_symbol():
    window = LAPLACE.window_bits(-4, 5)
    assert window.shape == (1024, 10)
    for index in (0, 17, 500, 1023):
        expected = LAPLACE.bits(np.arange(-4, 6), np.full(10, index))
        assert np.array_equal(window[index], expected)


def test_bits_keep_the_shape_and_accept_any_integer_type():
    symbols = np.zeros((2, 3, 4), np.int16)
    bits = LAPLACE.bits(symbols, np.full((2, 3, 4), 700, np.uint16))
    assert bits.shape == (2, 3, 4)
    assert bits.dtype == np.float32


def test_wrong_arguments_are_named():
    zeros = np.zeros(3, np.int32)
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        LAPLACE.bits(zeros, np.zeros(4, np.int32))
    with pytest.raises(ShapeError, match="float64"):
        LAPLACE.bits(np.zeros(3), zeros)
    with pytest.raises(ShapeError, match="bool"):
        LAPLACE.bits(zeros, zeros == 0)
    with pytest.raises(WeightsMismatchError, match=r"0\.\.1023"):
        LAPLACE.bits(zeros, zeros + 1024)
    with pytest.raises(WeightsMismatchError, match="-1"):
        LAPLACE.bits(zeros, zeros - 1)
    with pytest.raises(LimitError, match="1048577"):
        LAPLACE.bits(zeros - SYMBOL_LIMIT - 1, zeros)


@pytest.mark.parametrize(
    ("scales", "num_fractions"),
    [([], 8), ([0.0], 8), ([-1.0], 8), ([math.nan], 8), ([1e9], 8), ([1.0], 0), ([1.0], 257)],
)
def test_impossible_gaussians_are_refused(scales, num_fractions):
    with pytest.raises(ConfigError):
        laplace_tables(scales, num_fractions)


@pytest.mark.parametrize("pmf", [[], [-0.1, 1], [math.nan], [[1.0]], [0.0, 0.0]])
def test_impossible_pmfs_are_refused(pmf):
    with pytest.raises(ConfigError):
        pmf_tables([np.array(pmf, np.float64)], [0])


def test_arrays_restore_the_set():
    restored = TableSet.from_arrays(LAPLACE.to_arrays())
    for field in fields(TableSet):
        assert np.array_equal(getattr(restored, field.name), getattr(LAPLACE, field.name))


def changed(name, array):
    return {**pmf_tables([np.full(4, 0.25)] * 2, [0, 1]).to_arrays(), name: np.array(array)}


HALF = TOTAL // 2
HOSTILE = {
    "float frequencies": changed("frequencies", [0.5, 0.5]),
    "64-bit sizes": changed("sizes", np.array([5, 5], np.int64)),
    "two axes": changed("lookup", np.zeros((2, 2), np.int32)),
    "no tables": changed("sizes", np.zeros(0, np.int32)),
    "no indices": changed("lookup", np.zeros(0, np.int32)),
    "no frequencies": changed("frequencies", np.zeros(0, np.int32)),
    "sizes too large": changed("sizes", np.array([5, 6], np.int32)),
    "sizes that wrap": changed("sizes", np.array([2**31 - 1, 2**31 - 1], np.int32)),
    "negative size": changed("sizes", np.array([12, -2], np.int32)),
    "size 1": changed("sizes", np.array([9, 1], np.int32)),
    "zero frequency": changed("frequencies", np.array([0, HALF, HALF, 0, 0] * 2, np.int32)),
    "negative frequency": changed("frequencies", np.array([-1, HALF, HALF, 1, 0] * 2, np.int32)),
    "total too small": changed("frequencies", np.array([HALF, 1, 1, 1, 1] * 2, np.int32)),
    "total too large": changed("frequencies", np.array([HALF, HALF, 1, 1, 1] * 2, np.int32)),
    "missing first symbol": changed("first_symbols", np.zeros(1, np.int32)),
    "first symbol far out": changed("first_symbols", np.array([0, -(2**31)], np.int32)),
    "last symbol far out": changed("first_symbols", np.array([0, SYMBOL_LIMIT - 2], np.int32)),
    "index of no table": changed("lookup", np.array([0, 2], np.int32)),
    "negative table": changed("lookup", np.array([0, -1], np.int32)),
    "too many tables": changed("sizes", np.full(5000, 2, np.int32)),
    "unknown array": changed("extra", np.zeros(1, np.int32)),
    "nothing": {},
}


@pytest.mark.parametrize("arrays", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_arrays_are_refused_in_one_line(arrays):
    with pytest.raises(WeightsMismatchError) as caught:
        TableSet.from_arrays(arrays)
    assert "\n" not in str(caught.value)
