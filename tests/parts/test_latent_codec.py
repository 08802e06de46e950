"""The traversal: what a step knows, and that all channels see the same."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.parts.channels import Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.latent_codec import LatentCodec
from kinema.parts.priors import PriorConfig

CONFIG = PriorConfig(latent_channels=10, hyper_channels=6, prior_channels=8)
CRF = torch.tensor([20.0])


@pytest.fixture
def codec():
    torch.manual_seed(0)
    network = LatentCodec(CONFIG, torch.full((8, 10), 3.0))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    return network


def latent(size, seed=1):
    return torch.randn(1, 10, *size, generator=torch.Generator().manual_seed(seed)) * 60


class Spy:
    """Carries symbols unchanged, after changing one of them, and keeps the distributions."""

    def __init__(self, change_step=None):
        self.change_step = change_step
        self.distributions = []

    def carry(self, s, distribution):
        symbols = s.round() * distribution.select.mask
        if len(self.distributions) == self.change_step:
            place = int(distribution.select.positions[len(distribution.select.positions) // 2])
            symbols.flatten()[place] += 40
        self.distributions.append(distribution)
        return symbols


@pytest.mark.parametrize("changed", range(5))
def test_a_symbol_changes_only_what_comes_after_it(changed, codec, freeze):
    codec = freeze(codec)
    plain, spy = Spy(), Spy(changed)
    for channel in (plain, spy):
        codec.code(latent((5, 6)), CRF, (5, 6), channel)
    for index, (a, b) in enumerate(zip(plain.distributions, spy.distributions, strict=True)):
        same = torch.equal(a.mean, b.mean) and torch.equal(a.log_scale, b.log_scale)
        assert same == (index <= changed)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (2, 9)])
def test_write_and_read_agree_at_any_size(size, codec, freeze, tables):
    codec = freeze(codec)
    writer = SymbolWriter()
    written = codec.code(latent(size), CRF, size, Write([writer], tables))
    reader = SymbolReader(writer.finish())
    found = codec.code(None, CRF, size, Read([reader], tables))
    reader.finish()
    assert torch.equal(found, written)
    assert found.dtype is torch.float64


def test_grid_of_symbols_knows_no_context(codec, freeze):
    codec, size = freeze(codec), (4, 4)
    y = latent(size)
    step = codec.steps(CRF)[:, :, None, None]
    expected = torch.round(y / step) * step
    assert torch.equal(codec.code(y, CRF, size, Estimate(noise=False)), expected)


def test_frozen_amplitudes_stay_near_the_float_ones(codec, freeze):
    size = (4, 4)
    values = [
        network.code(latent(size), CRF, size, Estimate(noise=False))
        for network in (codec, freeze(codec))
    ]
    difference = (values[0] - values[1]).abs()
    assert difference.mean() < 0.5


def test_weight_reaches_decisions_in_steps(codec, freeze):
    codec, size = freeze(codec), (4, 4)
    spy = Spy()
    weight = torch.arange(10.0)[None]
    codec.code(latent(size), CRF, size, spy, weight)
    expected = weight * codec.steps(CRF).square()
    assert spy.distributions[0].weight is None
    assert all(torch.equal(d.weight, expected) for d in spy.distributions[1:])


def test_training_reaches_every_parameter(codec):
    channel = Estimate(noise=True)
    y_hat = codec.code(latent((5, 6)), CRF, (5, 6), channel)
    (channel.bits().sum() + y_hat.square().sum()).backward()
    silent = [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
