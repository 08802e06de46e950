"""Products of bytes: what fp32 gives, to the bit, or not used at all."""

import copy
import pickle

import pytest
import torch

from kinema.nn import byte_products
from kinema.nn.byte_products import ByteProduct, can_multiply_bytes
from kinema.nn.exact import HIGH, LOW, Activation, GridConv

needs_tiles = pytest.mark.skipif(
    not can_multiply_bytes(), reason="this processor does not multiply tiles of bytes"
)


@pytest.fixture
def uncached():
    can_multiply_bytes.cache_clear()
    yield
    can_multiply_bytes.cache_clear()


def frozen_layer(*, positive_input=False, gain=1.0, seed=0):
    torch.manual_seed(seed)
    layer = GridConv(96, 160, Activation.LINEAR, positive_input=positive_input, gain=gain)
    torch.nn.init.normal_(layer.bias)
    layer.load_grid_tensors(layer.grid_tensors())
    return layer


@needs_tiles
@pytest.mark.parametrize("positive_input", [False, True])
@pytest.mark.parametrize("gain", [0.01, 1.0, 30.0])
def test_bytes_give_what_fp32_gives(positive_input, gain):
    layer = frozen_layer(positive_input=positive_input, gain=gain)
    low = 0 if positive_input else LOW
    x = torch.randint(low, HIGH + 1, (3, 96, 61, 47)).float()
    x[0] = HIGH
    x[1] = low
    assert layer._in_bytes is not None
    assert layer._in_bytes.takes(x)
    assert torch.equal(layer._in_bytes(x), layer._sum(x, layer.weight, layer.bias))


@needs_tiles
def test_only_large_products_are_made_of_bytes():
    product = frozen_layer()._in_bytes
    assert not product.takes(torch.zeros(1, 96, 4, 4))
    assert not product.takes(torch.zeros(1, 96, 400, 400, dtype=torch.float64))
    assert not product.takes(torch.zeros(1, 96, 400, 400, requires_grad=True))


@needs_tiles
def test_copies_of_a_layer_share_the_product():
    layer = frozen_layer()
    assert copy.deepcopy(layer)._in_bytes is layer._in_bytes


@needs_tiles
def test_another_process_packs_for_itself():
    layer, x = frozen_layer(), torch.full((1, 96, 90, 90), 77.0)
    twin = pickle.loads(pickle.dumps(layer))
    assert twin._in_bytes is not layer._in_bytes
    assert torch.equal(twin._in_bytes(x), layer._in_bytes(x))


def test_sums_that_are_off_by_one_are_noticed(monkeypatch, uncached):
    right = ByteProduct.__call__
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(ByteProduct, "__call__", lambda self, x: right(self, x) + 2.0**-7)
    assert not can_multiply_bytes()


def test_without_tiles_fp32_does_the_work(monkeypatch, uncached):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert frozen_layer()._in_bytes is None


def test_without_the_operators_fp32_does_the_work(monkeypatch, uncached):
    def missing(*_):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(byte_products.ByteProduct, "__init__", missing)
    assert not can_multiply_bytes()
