"""Layers of published codecs: what they do before and after training."""

import pytest
import torch

from kinema.nn.residual import Bottleneck, Gdn, ResidualBlock, SubpixelStep, conv, silent


@pytest.mark.parametrize("block", [ResidualBlock, Bottleneck])
def test_blocks_begin_as_nothing_and_learn_an_update(block):
    torch.manual_seed(0)
    x, network = torch.randn(1, 8, 5, 7), block(8)
    assert torch.equal(network(x), x)
    network(x).square().sum().backward()
    assert any(p.grad.any() for p in network.parameters())


def test_gdn_divides_by_the_energy_of_all_channels_and_its_inverse_multiplies():
    x = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1)
    gdn, inverse = Gdn(2), Gdn(2, is_inverse=True)
    with torch.no_grad():
        for layer in (gdn, inverse):
            layer.gamma.copy_(torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    energy = torch.tensor([1 + 9.0, 1 + 4 * 9 + 16.0]).sqrt()
    assert torch.allclose(gdn(x).flatten(), x.flatten() / energy, atol=1e-4)
    assert torch.allclose(inverse(x).flatten(), x.flatten() * energy, atol=1e-4)


def test_silent_layers_add_nothing():
    assert not silent(conv(3, 5))(torch.randn(1, 3, 4, 4)).any()


def test_sizes():
    x = torch.randn(1, 3, 8, 6)
    assert conv(3, 5)(x).shape == (1, 5, 8, 6)
    assert conv(3, 5, 5, 2)(x).shape == (1, 5, 4, 3)
    assert SubpixelStep(3, 5)(x).shape == (1, 5, 16, 12)
