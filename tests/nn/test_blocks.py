"""Blocks: shapes, updates that start small, whole numbers where promised."""

import pytest
import torch

from kinema.nn.blocks import FreeBlock, GridBlock, WsiluBlock, wsilu, wsilu_blocks
from kinema.nn.exact import HIGH, LOW, GridConv


@pytest.mark.parametrize("make", [GridBlock, FreeBlock, lambda c: WsiluBlock(c, c)])
def test_block_keeps_the_shape_and_reaches_every_parameter(make):
    torch.manual_seed(0)
    block = make(8)
    x = torch.randn(2, 8, 5, 7) * 50
    y = block(x)
    y.square().mean().backward()
    assert y.shape == x.shape
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def test_frozen_grid_block_gives_whole_numbers_in_range():
    torch.manual_seed(0)
    block = GridBlock(8)
    for layer in block.children():
        assert isinstance(layer, GridConv)
        layer.load_grid_tensors(layer.grid_tensors())
    x = torch.randint(LOW, HIGH + 1, (2, 8, 5, 7)).float()
    before = x.clone()
    y = block(x)
    assert torch.equal(y, y.round())
    assert y.min() >= LOW
    assert y.max() <= HIGH
    assert torch.equal(x, before)


@pytest.mark.parametrize("block", [GridBlock(16), FreeBlock(16)])
def test_small_blocks_begin_as_a_small_update(block):
    x = torch.randn(1, 16, 8, 8) * 100
    assert (block(x) - x).std() < 0.7 * x.std()


def test_depthwise_convolution_follows_a_relu_and_claims_so():
    block = GridBlock(8)
    assert block.space.positive_input
    assert block.narrow.positive_input
    assert not block.enter.positive_input
    assert not block.leave.positive_input


def test_published_block_has_the_published_number_of_weights():
    count = sum(p.numel() for p in WsiluBlock(40, 40).parameters())
    assert count == 8 * 40**2 + 9 * 40 + 8 * 40
    adapted = sum(p.numel() for p in WsiluBlock(24, 40).parameters())
    assert adapted == count + 24 * 40 + 40
    forced = sum(p.numel() for p in WsiluBlock(40, 40, force_adaptor=True).parameters())
    assert forced == count + 40 * 40 + 40


def test_published_block_adds_the_halves_of_its_mixer():
    block = WsiluBlock(2, 2)
    with torch.no_grad():
        for layer in (block.leave, block.narrow):
            layer.weight.zero_()
            layer.bias.zero_()
        block.narrow.weight[0, 0] = 1.0
    x = torch.randn(1, 2, 3, 3)
    wide = wsilu(block.widen(x))
    assert torch.allclose(block(x)[:, 0], x[:, 0] + wide[:, 0] + wide[:, 4])
    assert torch.equal(block(x)[:, 1], x[:, 1])


def test_wsilu_lies_between_silu_and_relu():
    x = torch.linspace(-4, 4, 33)
    assert torch.allclose(wsilu(x), x / (1 + torch.exp(-4 * x)), atol=1e-6)


def test_chain_of_blocks_goes_through_the_given_channels():
    chain = wsilu_blocks(4, 8, 8, 6)
    assert len(chain) == 3
    assert chain(torch.zeros(1, 4, 2, 2)).shape == (1, 6, 2, 2)
