"""Bits of symbols against differences of the distribution function."""

import math

import pytest
import torch

from kinema.parts.laplace import (
    MIN_LOG_SCALE,
    NUM_SCALES,
    laplace_bits,
    scale_index,
    table_scales,
)


def reference_bits(symbol, mean, log_scale):
    decay = math.sqrt(2) / math.exp(log_scale)
    low, high = abs(symbol - mean) - 0.5, abs(symbol - mean) + 0.5
    beyond = math.exp(-decay * high) / 2
    before = 1 - math.exp(decay * low) / 2 if low < 0 else math.exp(-decay * low) / 2
    probability = before - beyond
    return min(-math.log2(probability) if probability > 0 else math.inf, 24.0)


@pytest.mark.parametrize("log_scale", [-3.0, -1.5, 0.0, 1.0, 4.0])
@pytest.mark.parametrize("mean", [0.0, 0.3, -7.5])
def test_bits_agree_with_the_distribution_function(mean, log_scale):
    symbols = torch.arange(-30, 31).double()
    found = laplace_bits(symbols, torch.tensor(mean).double(), torch.tensor(log_scale).double())
    expected = [reference_bits(k, mean, log_scale) for k in range(-30, 31)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_single_precision_is_good_enough_to_train_with():
    symbols = torch.arange(-6, 7).float()
    found = laplace_bits(symbols, torch.tensor(0.4), torch.tensor(0.5))
    expected = [reference_bits(k, 0.4, 0.5) for k in range(-6, 7)]
    assert found.tolist() == pytest.approx(expected, abs=0.02)


def test_scales_beyond_the_tables_cost_what_the_last_table_costs():
    symbol, mean = torch.tensor(3.0), torch.tensor(0.0)
    last = MIN_LOG_SCALE + (NUM_SCALES - 1) / 8
    for outside, inside in ((-9.0, MIN_LOG_SCALE), (9.0, last)):
        bits = laplace_bits(symbol, mean, torch.tensor([outside, inside]))
        assert bits[0] == bits[1]


def test_bits_have_a_gradient_towards_a_better_distribution():
    mean, log_scale = (torch.zeros(1, requires_grad=True) for _ in range(2))
    laplace_bits(torch.tensor([2.0]), mean, log_scale).backward()
    assert mean.grad < 0
    assert log_scale.grad < 0


def test_each_table_is_named_by_its_own_scale():
    logs = torch.tensor([math.log(scale) for scale in table_scales()])
    assert scale_index(logs).tolist() == list(range(NUM_SCALES))
    assert scale_index(torch.tensor([-50.0, 50.0])).tolist() == [0, NUM_SCALES - 1]
