"""Orders of a latent: each carries everything once, and what is written is read."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.nn.residual import DepthwiseBlock
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.latent_orders import QuadtreeContext, SingleStep, order_of, wide_fusion
from kinema.parts.multistage import MultistageContext


def inputs(size=(4, 6)):
    chance = torch.Generator().manual_seed(0)
    y = 3 * torch.randn(1, 8, *size, generator=chance)
    return y, torch.randn(1, 16, *size, generator=chance)


def shaken(network):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize("size", [(4, 6), (3, 5)])
@pytest.mark.parametrize("order", ["single", "quadtree"])
@torch.no_grad()
def test_what_is_written_is_read(order, size, tables):
    network, (y, features) = shaken(order_of(order, 8, 4)), inputs(size)
    features[:, :8] += 3  # wide enough that no symbol goes without saying
    writer = SymbolWriter()
    written = network.code(y, features, Write([writer], tables))
    reader = SymbolReader(writer.finish())
    assert torch.equal(network.code(None, features, Read([reader], tables)), written)
    reader.finish()
    assert (written - y).abs().max() <= 0.5 + 1e-5


@torch.no_grad()
def test_four_steps_begin_as_one():
    y, features = inputs()
    channels = [Estimate(noise=False), Estimate(noise=False)]
    orders = (SingleStep(), QuadtreeContext(8, 4))
    a, b = (order.code(y, features, c) for order, c in zip(orders, channels, strict=True))
    assert torch.allclose(a, b, atol=1e-5)
    assert torch.allclose(channels[0].bits(), channels[1].bits(), rtol=1e-4)


@torch.no_grad()
def test_a_step_knows_those_before_it():
    network, (y, features) = shaken(QuadtreeContext(8, 4)), inputs()
    bits = []
    for change in (0.0, 7.0):  # of what only the first step codes
        changed = y.clone()
        changed[:, 0, ::2, ::2] += change
        heard = Estimate(noise=False)
        network.code(changed, features, heard)
        bits.append([float(c.distribution.log_scale.sum()) for c in heard._carried])
    assert bits[0][0] == bits[1][0]
    assert all(a != b for a, b in zip(bits[0][1:], bits[1][1:], strict=True))


def test_orders_and_fusions_by_name():
    kinds = {"single": SingleStep, "quadtree": QuadtreeContext, "multistage": MultistageContext}
    for order, kind in kinds.items():
        assert isinstance(order_of(order, 16, 4), kind)
    assert any(isinstance(layer, DepthwiseBlock) for layer in wide_fusion("depthwise", 8))
    for kind in ("residual", "depthwise"):
        assert wide_fusion(kind, 8)(torch.zeros(1, 32, 4, 4)).shape == (1, 16, 4, 4)
