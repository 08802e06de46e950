"""Quality tables: frozen interpolation in whole numbers, the same on every machine."""

import math

import pytest
import torch

from kinema.errors import ConfigError
from kinema.nn.exact import Arithmetic
from kinema.parts.quality import (
    BEST_LAMBDA,
    CRF_UNITS,
    MAX_CRF,
    WORST_LAMBDA,
    QualityTable,
    crf_to_units,
    rd_lambda,
)

TOTAL = 63 * CRF_UNITS
EVERY_CRF = torch.arange(TOTAL + 1) / CRF_UNITS


def frozen(table):
    twin = QualityTable(
        table.knots.detach() * table.unit,
        log=table.log,
        fraction_bits=table.fraction_bits,
        num_rows=table.num_rows,
    )
    twin.load_grid_tensors(table.grid_tensors())
    return twin


def by_python(rows, units):
    """Interpolate rows at `units` / 256 with Python's integers, halves up."""
    position = units * (len(rows) - 1)
    index = min(position // TOTAL, len(rows) - 2)
    part = position - index * TOTAL
    pairs = zip(rows[index], rows[index + 1], strict=True)
    return [(a * (TOTAL - part) + b * part + TOTAL // 2) // TOTAL for a, b in pairs]


@pytest.mark.parametrize(("log", "num_rows"), [(False, None), (True, 64), (False, 5)])
@pytest.mark.parametrize("fraction_bits", [0, 6])
def test_frozen_table_equals_python_integers_at_every_quality(log, num_rows, fraction_bits):
    torch.manual_seed(0)
    initial = torch.randn(8, 3) * (2 if log else 500)
    table = QualityTable(initial, log=log, fraction_bits=fraction_bits, num_rows=num_rows)
    rows = table.grid_tensors()["rows"].tolist()
    expected = [by_python(rows, units) for units in range(TOTAL + 1)]
    values = frozen(table)(EVERY_CRF)
    assert values.dtype is torch.float64
    assert (values * 2**fraction_bits).tolist() == expected


@pytest.mark.parametrize("log", [False, True])
def test_frozen_table_stays_near_the_one_that_was_trained(log):
    torch.manual_seed(0)
    table = QualityTable(torch.randn(8, 3) + 2, log=log, fraction_bits=6, num_rows=64)
    difference = (frozen(table)(EVERY_CRF) - table(EVERY_CRF)).abs()
    assert difference.max() < 2**-6 + 0.02 * table(EVERY_CRF).abs().max()


def test_knots_are_met_and_joined_by_lines():
    table = QualityTable(torch.tensor([[0.0], [70.0], [7.0]]), unit=64.0)
    crf = torch.tensor([0.0, 15.75, 31.5, 63.0])
    assert torch.allclose(table(crf)[:, 0], torch.tensor([0.0, 35.0, 70.0, 7.0]))


def test_fake_arithmetic_rounds_and_lets_gradients_through():
    table = QualityTable(torch.tensor([[0.0], [1.0]]), fraction_bits=2)
    table.arithmetic = Arithmetic.FAKE
    value = table(torch.tensor([20.0]))
    value.sum().backward()
    assert value.item() == 0.25
    assert table.knots.grad.abs().sum() > 0


def test_divisors_are_never_zero():
    table = QualityTable(torch.full((2, 1), -30.0), log=True, fraction_bits=6, num_rows=4)
    assert frozen(table)(EVERY_CRF).min() == 2**-6
    tensors = table.grid_tensors()
    tensors["rows"][1] = 0
    with pytest.raises(ConfigError, match="rows: found 0"):
        table.load_grid_tensors(tensors)


def test_loading_refuses_rows_of_another_shape():
    table = QualityTable(torch.zeros(8, 3))
    with pytest.raises(ConfigError, match=r"found torch.int32 \(8, 2\)"):
        table.load_grid_tensors({"rows": torch.zeros(8, 2, dtype=torch.int32)})


def test_lambda_runs_from_best_to_worst_by_equal_factors():
    values = rd_lambda(torch.tensor([0.0, 31.5, 63.0]))
    expected = [BEST_LAMBDA, math.sqrt(BEST_LAMBDA * WORST_LAMBDA), WORST_LAMBDA]
    assert values.tolist() == pytest.approx(expected, rel=1e-5)


def test_quality_travels_in_units_of_a_256th():
    assert [crf_to_units(crf) for crf in (0, 0.5, 28.001, MAX_CRF)] == [0, 128, 7168, TOTAL]


@pytest.mark.parametrize("crf", [-0.01, 63.01, math.nan, math.inf])
def test_quality_out_of_range_is_refused(crf):
    with pytest.raises(ConfigError, match="outside 0 to 63"):
        crf_to_units(crf)
