"""Grid layers: the same whole numbers in fake, frozen and integer arithmetic, however computed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.errors import ConfigError
from kinema.nn.exact import (
    HIGH,
    LOW,
    MAX_SHIFT,
    MAX_SUM,
    MIN_SHIFT,
    Activation,
    Arithmetic,
    GridConv,
    GridLayer,
    add_clipped,
    check_bound,
    round_through,
    set_arithmetic,
)

KINDS = {
    "pointwise": {"depthwise": False},
    "depthwise": {"depthwise": True},
    "pointwise after relu": {"depthwise": False, "positive_input": True},
    "depthwise after relu": {"depthwise": True, "positive_input": True},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
every_activation = pytest.mark.parametrize("activation", Activation)


def make_layer(kind, activation=Activation.CLIP, *, channels=24, gain=1.0, seed=0):
    torch.manual_seed(seed)
    layer = GridConv(channels, channels, activation, gain=gain, **kind)
    with torch.no_grad():
        layer.bias.normal_()
    return layer


def frozen(layer):
    twin = GridConv(
        layer.weight.shape[0],
        layer.weight.shape[0],
        layer.activation,
        depthwise=layer.depthwise,
        positive_input=layer.positive_input,
    )
    twin.load_grid_tensors(layer.grid_tensors())
    return twin


def whole_input(layer, *shape, seed=0):
    low = 0 if layer.positive_input else LOW
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(low, HIGH + 1, shape, generator=chance).float()


def halves_to_even(numerator, shift):
    """Divide int64 by 2**shift, halves to even, with integers alone."""
    if shift <= 0:
        return numerator << -shift
    floor, rest, half = numerator >> shift, numerator & ((1 << shift) - 1), 1 << (shift - 1)
    return floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))


def by_integers(layer, x):
    """What the layer should give, in numpy's int64."""
    tensors = {name: t.numpy().astype(np.int64) for name, t in layer.grid_tensors().items()}
    x = x.numpy().astype(np.int64)
    if layer.depthwise:
        wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (2, 3))
        total = np.einsum("bchwij,cij->bchw", windows, tensors["weight"][:, 0])
    else:
        total = np.einsum("bchw,oc->bohw", x, tensors["weight"][:, :, 0, 0])
    total += tensors["bias"][:, None, None]
    assert abs(total).max() < MAX_SUM
    result = np.stack(
        [halves_to_even(total[:, c], int(s)) for c, s in enumerate(tensors["shift"])], 1
    )
    bounds = {Activation.CLIP: (LOW, HIGH), Activation.RELU: (0, HIGH)}
    low, high = bounds.get(layer.activation, (-(2**40), 2**40))
    return torch.from_numpy(result.clip(low, high)).float()


@every_kind
@every_activation
def test_frozen_layer_equals_integer_arithmetic(kind, activation):
    layer = make_layer(kind, activation)
    x = whole_input(layer, 2, 24, 7, 9)
    assert torch.equal(frozen(layer)(x), by_integers(layer, x))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    magnitude=st.floats(-4, 3),
    depthwise=st.booleans(),
    extreme=st.booleans(),
)
def test_no_weights_leave_the_exact_range(seed, magnitude, depthwise, extreme):
    layer = make_layer({"depthwise": depthwise}, Activation.LINEAR, gain=10**magnitude, seed=seed)
    x = whole_input(layer, 1, 24, 4, 5, seed=seed)
    if extreme:
        x = torch.where(x < 0, float(LOW), float(HIGH))
    assert torch.equal(frozen(layer)(x), by_integers(layer, x))


@every_kind
@every_activation
def test_fake_arithmetic_gives_what_the_frozen_layer_will(kind, activation):
    layer = make_layer(kind, activation)
    layer.arithmetic = Arithmetic.FAKE
    x = whole_input(layer, 2, 24, 7, 9)
    assert torch.equal(layer(x.clone().requires_grad_()).detach(), frozen(layer)(x))


@every_kind
def test_float_arithmetic_clamps_and_does_not_round(kind):
    layer = make_layer(kind, gain=2.0)
    x = whole_input(layer, 2, 24, 7, 9) + 0.25
    y = layer(x)
    assert y.min() >= LOW
    assert y.max() <= HIGH
    assert not torch.equal(y, y.round())
    padding = 1 if layer.depthwise else 0
    bias = layer.bias * 64
    plain = F.conv2d(x, layer.weight, bias, padding=padding, groups=layer.groups)
    assert torch.equal(y, plain.clamp(LOW, HIGH))


@every_kind
def test_freezing_changes_results_by_little(kind):
    layer = make_layer(kind, gain=0.3)
    x = whole_input(layer, 2, 24, 7, 9)
    assert (layer(x) - frozen(layer)(x)).abs().mean() < 6


@every_kind
def test_nothing_about_the_computation_changes_the_result(kind):
    layer = frozen(make_layer(kind, channels=64))
    x = whole_input(layer, 3, 64, 20, 18)
    expected = layer(x)
    assert torch.equal(layer(x.contiguous(memory_format=torch.channels_last)), expected)
    assert torch.equal(torch.cat([layer(one) for one in x.split(1)]), expected)
    assert torch.equal(layer(x.double()).float(), expected)
    assert torch.equal(layer(x[..., 3:, 2:])[..., 1:, 1:], expected[..., 4:, 3:])
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(layer(x), expected)
    finally:
        torch.set_num_threads(threads)


@every_kind
def test_gradients_pass_through_fake_arithmetic(kind):
    layer = make_layer(kind, Activation.LINEAR)
    x = whole_input(layer, 1, 24, 5, 5).requires_grad_()
    layer(x).square().sum().backward()
    by_float = [t.grad.clone() for t in (x, layer.weight, layer.bias)]
    for tensor in (x, layer.weight, layer.bias):
        tensor.grad = None
    layer.arithmetic = Arithmetic.FAKE
    layer(x).square().sum().backward()
    for expected, tensor in zip(by_float, (x, layer.weight, layer.bias), strict=True):
        assert (tensor.grad - expected).norm() < 0.05 * expected.norm()


def test_gradients_stop_where_an_activation_is_clamped():
    layer = GridConv(1, 1, Activation.RELU)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    x = torch.tensor([-5.0, 7.0, 3000.0]).view(1, 1, 1, 3).requires_grad_()
    layer(x).sum().backward()
    assert x.grad.flatten().tolist() == [0, 1, 0]


@pytest.mark.parametrize("positive_input", [False, True])
def test_bound_check_refuses_the_first_sum_that_is_not_exact(positive_input):
    weight = torch.zeros(2, 66, 1, 1)
    weight[1, :64] = 127
    weight[1, 64] = 8191 - 64 * 127
    check_bound(weight, torch.tensor([0, 2047]), positive_input=positive_input)
    with pytest.raises(ConfigError, match="channel 1: partial sums reach 16777216"):
        check_bound(weight, torch.tensor([0, 2048]), positive_input=positive_input)


def test_positive_inputs_need_room_for_one_sign_only():
    weight = torch.full((1, 128, 1, 1), 127.0)
    weight[:, ::2] = -127
    check_bound(weight, torch.zeros(1), positive_input=True)
    with pytest.raises(ConfigError):
        check_bound(weight, torch.zeros(1), positive_input=False)


def test_bound_check_refuses_what_is_not_a_number():
    with pytest.raises(ConfigError):
        check_bound(torch.full((1, 1, 1, 1), torch.nan), torch.zeros(1), positive_input=False)


def test_weights_beyond_every_grid_cannot_be_exported():
    layer = GridConv(1, 1)
    with torch.no_grad():
        layer.weight.fill_(1e9)
    with pytest.raises(ConfigError, match="channel 0"):
        layer.grid_tensors()


@every_kind
def test_weights_use_the_finest_grid_that_the_bound_allows(kind):
    layer = make_layer(kind)
    tensors = layer.grid_tensors()
    peak = tensors["weight"].flatten(1).int().abs().amax(1)
    assert peak.max() <= layer.weight_limit
    finer = {"weight": tensors["weight"].double() * 2, "bias": tensors["bias"].double() * 2}
    for channel in range(24):
        weight, bias = (finer[name][channel : channel + 1] for name in ("weight", "bias"))
        if peak[channel] * 2 <= layer.weight_limit - 2:
            # Two steps finer never fit; one may miss by the slack left for rounding.
            with pytest.raises(ConfigError):
                check_bound(weight * 2, bias * 2, positive_input=layer.positive_input)


def broken(tensors, name, change):
    return {**tensors, name: change(tensors[name])}


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("weight", lambda t: t.float(), "float32"),
        ("weight", lambda t: t[:-1], r"\(23, 24, 1, 1\)"),
        ("bias", lambda t: t.to(torch.int64), "int64"),
        ("bias", lambda t: t * 0 + MAX_SUM, "partial sums"),
        ("shift", lambda t: t * 0 + MAX_SHIFT + 1, "outside"),
        ("shift", lambda t: t * 0 + MIN_SHIFT - 1, "outside"),
    ],
)
def test_loading_refuses_tensors_that_do_not_fit(name, change, found):
    tensors = make_layer(KINDS["pointwise"]).grid_tensors()
    with pytest.raises(ConfigError, match=found):
        GridConv(24, 24).load_grid_tensors(broken(tensors, name, change))
    del tensors[name]
    with pytest.raises(ConfigError, match=f"{name}: found nothing"):
        GridConv(24, 24).load_grid_tensors(tensors)


def test_adding_clips_with_and_without_gradients():
    x, update = torch.tensor([2000.0, -2000, 5]), torch.tensor([100.0, -100, 7])
    expected = [HIGH, LOW, 12]
    assert add_clipped(x, update.clone()).tolist() == expected
    assert add_clipped(x.clone().requires_grad_(), update).tolist() == expected
    assert x.tolist() == [2000, -2000, 5]


def test_rounding_is_to_even_and_lets_gradients_through():
    x = torch.tensor([0.5, 1.5, -0.5, -2.5]).requires_grad_()
    y = round_through(x)
    (y * torch.tensor([1.0, 2, 3, 4])).sum().backward()
    assert y.tolist() == [0, 2, 0, -2]
    assert x.grad.tolist() == [1, 2, 3, 4]


def test_arithmetic_is_switched_for_a_whole_model():
    model = torch.nn.Sequential(GridConv(2, 2), torch.nn.Sequential(GridConv(2, 2)))
    set_arithmetic(model, Arithmetic.FAKE)
    layers = [m for m in model.modules() if isinstance(m, GridLayer)]
    assert [layer.arithmetic for layer in layers] == [Arithmetic.FAKE] * 2


def test_layer_without_parameters_follows_its_arithmetic():
    layer = GridLayer()
    x = torch.tensor([0.4, 0.6])
    assert layer.on_grid(x).tolist() == x.tolist()
    layer.arithmetic = Arithmetic.FAKE
    assert layer.on_grid(x).tolist() == [0, 1]
    layer.load_grid_tensors(layer.grid_tensors())
    assert layer.on_grid(x).tolist() == [0, 1]
