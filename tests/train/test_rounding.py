"""Weights come onto their grids together: what layers give changes less than by rounding each."""

import pytest
import torch

from kinema.nn.exact import Activation, Arithmetic, GridConv, set_arithmetic
from kinema.train.checkpoint import Ema
from kinema.train.rounding import round_average, round_weights


def alike(count=512, channels=64):
    """Inputs as those of a smooth block: all nearly the same, none zero on average."""
    level = torch.randn(count, 1, 1, 1) * 300 + 200
    return (level + torch.randn(count, channels, 1, 1) * 5).round()


@pytest.fixture
def layer():
    torch.manual_seed(3)
    return GridConv(64, 32, Activation.LINEAR, fraction_bits=4)


def error(layer, exact, x):
    set_arithmetic(layer, Arithmetic.FAKE)
    return float((layer(x) - exact).square().mean())


@torch.no_grad()
def test_errors_of_rounding_do_not_add_up(layer):
    x, fresh = alike(), alike()
    exact = layer(fresh)
    plain = error(layer, exact, fresh)
    assert round_weights(layer, lambda: layer(x)) == 1
    assert error(layer, exact, fresh) < 0.1 * plain


@torch.no_grad()
def test_rounded_weights_are_exported_as_they_are(layer):
    x = alike()
    round_weights(layer, lambda: layer(x))
    steps = layer.weight.double() * torch.exp2(layer.shift()).view(-1, 1, 1, 1)
    assert torch.equal(steps, steps.round())
    assert steps.abs().max() <= 127
    frozen = GridConv(64, 32, Activation.LINEAR, fraction_bits=4)
    frozen.load_grid_tensors(layer.grid_tensors())
    assert torch.equal(frozen(x), layer(x))


@torch.no_grad()
def test_what_is_not_trained_or_not_used_stays(layer):
    model = torch.nn.ModuleDict({"held": layer, "idle": GridConv(8, 8), "used": GridConv(64, 8)})
    model["held"].requires_grad_(requires_grad=False)
    before = {name: p.clone() for name, p in model.named_parameters()}
    x = alike()
    assert round_weights(model, lambda: (model["held"](x), model["used"](x))) == 1
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"used.weight", "used.bias"}


@torch.no_grad()
def test_the_average_is_what_is_rounded(layer):
    ema, x = Ema(layer), alike()
    ema.values["weight"] += 0.01
    before, expected = layer.weight.clone(), ema.values["weight"].clone()
    round_average(layer, ema, lambda twin: twin(x))
    step = torch.exp2(-layer.shift()).view(-1, 1, 1, 1)
    assert torch.equal(layer.weight, before)
    moved = (ema.values["weight"] - expected) / step
    assert 0.1 < float(moved.abs().mean()) < 1.5
