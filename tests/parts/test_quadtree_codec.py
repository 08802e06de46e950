"""A latent on a fixed grid: contexts move bits, every symbol knows those before it."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.parts.channels import Estimate, Listener
from kinema.parts.motion_autoencoder import FlowAnalysis, FlowSynthesis
from kinema.parts.quadtree_codec import QuadtreeCodec, QuadtreeConfig

CRF = torch.tensor([30.0])
CONFIG = QuadtreeConfig(latent_channels=8, hyper_channels=4, fusion_blocks=1, step_blocks=1)


@pytest.fixture
def codec():
    torch.manual_seed(0)
    return QuadtreeCodec(CONFIG).requires_grad_(requires_grad=False)


@pytest.mark.parametrize("size", [(4, 6), (3, 5), (1, 1)])
def test_symbols_are_the_rounded_latent_whatever_is_known(codec, size):
    s = torch.randn(1, 8, *size) * 3
    bits = []
    for known in (torch.zeros(1, 8, *size), torch.randn(1, 8, *size) * 9):
        channel = Estimate(noise=False, decide=1.0)
        assert torch.equal(codec.code(s, known, CRF, size, channel), torch.round(s))
        bits.append(float(channel.bits()))
    assert bits[0] != bits[1]


def test_no_symbol_goes_without_saying(codec):
    listener = Listener()
    codec.code(torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 4, 4), CRF, (4, 4), listener)
    assert len(listener.heard) == 5
    assert not any(distribution.is_binding for _, distribution in listener.heard)


def test_a_latent_without_quarters_is_refused():
    with pytest.raises(ConfigError, match="multiple of 4"):
        QuadtreeCodec(QuadtreeConfig(latent_channels=6))


def test_motion_goes_to_a_sixteenth_and_back():
    torch.manual_seed(0)
    flow = torch.randn(2, 2, 32, 48)
    with torch.no_grad():
        y = FlowAnalysis(8, 4)(flow)
        assert y.shape == (2, 4, 2, 3)
        assert FlowSynthesis(8, 4)(y).shape == flow.shape
