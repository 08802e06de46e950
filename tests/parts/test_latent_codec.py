"""The traversal: what a step knows, and that all channels see the same."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.parts.channels import Distribution, Estimate
from kinema.parts.coding import Read, Write
from kinema.parts.latent_codec import LatentCodec, LatentInput
from kinema.parts.priors import PriorConfig
from kinema.parts.quadtree import cut

CONFIG = PriorConfig(latent_channels=12, hyper_channels=6, prior_channels=8, num_experts=2)
CRF = torch.tensor([20.0])


@pytest.fixture
def codec():
    torch.manual_seed(0)
    network = LatentCodec(CONFIG, torch.full((8, 12), 3.0))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    return network


def latent(size, seed=1):
    return torch.randn(1, 12, *size, generator=torch.Generator().manual_seed(seed)) * 60


class Spy:
    """Carries symbols unchanged, after changing one of them, and keeps the distributions."""

    def __init__(self, change_step=None):
        self.change_step = change_step
        self.distributions = []

    def carry(self, s, distribution):
        symbols = distribution.scatter(distribution.gather(s.round()))
        if len(self.distributions) == self.change_step:
            symbols[0, symbols.shape[1] // 2, 0, 0] += 40
        self.distributions.append(distribution)
        return symbols


@pytest.mark.parametrize("changed", range(5))
def test_a_symbol_changes_only_what_comes_after_it(changed, codec, freeze):
    codec = freeze(codec)
    plain, spy = Spy(), Spy(changed)
    for channel in (plain, spy):
        codec.code(LatentInput(latent((5, 6))), CRF, (5, 6), channel)
    for index, (a, b) in enumerate(zip(plain.distributions, spy.distributions, strict=True)):
        same = torch.equal(a.mean, b.mean) and torch.equal(a.log_scale, b.log_scale)
        assert same == (index <= changed)


def test_hyper_latents_are_drawn_towards_their_mean(codec, freeze):
    codec, channel = freeze(codec), Estimate(noise=False)
    plain = codec.code(LatentInput(latent((9, 9))), CRF, (9, 9), channel).z_hat
    codec.hyper_rest = 0.4
    drawn = codec.code(LatentInput(latent((9, 9))), CRF, (9, 9), channel).z_hat
    mean = codec.hyper.distribution(CRF, (3, 3)).mean
    assert ((drawn - mean).abs() <= (plain - mean).abs()).all()
    assert 0 < (plain - drawn).abs().sum() == (plain != drawn).sum()
    known = LatentInput(latent((9, 9)), z=plain)
    assert torch.equal(codec.code(known, CRF, (9, 9), channel).z_hat, plain)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (2, 9)])
def test_write_and_read_agree_at_any_size(size, codec, freeze, tables):
    codec = freeze(codec)
    writer = SymbolWriter()
    written = codec.code(LatentInput(latent(size)), CRF, size, Write([writer], tables)).y_hat
    reader = SymbolReader(writer.finish())
    found = codec.code(None, CRF, size, Read([reader], tables)).y_hat
    reader.finish()
    assert torch.equal(found, written)
    assert found.dtype is torch.float64


class Stranger:
    """A guide that tells nonsense."""

    is_binding = is_centred = False

    def hyper_distribution(self, usual, crf):
        del crf
        return Distribution(usual.mean + 3, usual.log_scale + 1, usual.inside, is_binding=False)

    def begin(self, features):
        return features

    def predict(self, index, features, known, crf):
        del known, crf
        shape = (1, 12, -(-features.shape[2] // 2), -(-features.shape[3] // 2))
        return torch.full(shape, 50.0 * index), torch.ones(shape)


def test_grid_of_symbols_knows_no_context(codec, freeze):
    codec, size = freeze(codec), (4, 4)
    y = LatentInput(latent(size))
    usual = codec.code(y, CRF, size, Estimate(noise=False))
    strange = codec.code(y, CRF, size, Estimate(noise=False), Stranger())
    assert torch.equal(usual.y_hat, strange.y_hat)
    assert torch.equal(usual.z_hat, strange.z_hat)


def test_whole_symbols_and_a_hyper_latent_are_carried_as_they_are(codec, freeze, tables):
    codec, size = freeze(codec), (5, 6)
    weight = torch.full((1, 12), 0.01)
    chosen = codec.code(
        LatentInput(latent(size), weight), CRF, size, Estimate(noise=False, decide=1.0)
    )
    again = LatentInput(chosen.y_hat, None, chosen.z_hat)
    writer = SymbolWriter()
    written = codec.code(again, CRF, size, Write([writer], tables), Stranger())
    assert torch.equal(written.y_hat, chosen.y_hat)
    reader = SymbolReader(writer.finish())
    found = codec.code(None, CRF, size, Read([reader], tables), Stranger())
    assert torch.equal(found.y_hat, chosen.y_hat)


def test_frozen_amplitudes_stay_near_the_float_ones(codec, freeze):
    size = (4, 4)
    values = [
        network.code(LatentInput(latent(size)), CRF, size, Estimate(noise=False)).y_hat
        for network in (codec, freeze(codec))
    ]
    difference = (values[0] - values[1]).abs()
    assert difference.mean() < 0.5


def test_weight_reaches_decisions_in_steps(codec, freeze):
    codec, size = freeze(codec), (4, 4)
    spy = Spy()
    weight = torch.arange(12.0)[None]
    coded = codec.code(LatentInput(latent(size), weight), CRF, size, spy)
    steps, _ = codec.steps(codec.hyper.synthesis(coded.z_hat, CRF), CRF)
    assert spy.distributions[0].weight is None
    for index, distribution in enumerate(spy.distributions[1:]):
        expected = cut(weight[:, :, None, None] * steps.square(), index)
        assert torch.allclose(distribution.weight, expected)


def test_training_reaches_every_parameter(codec):
    channel = Estimate(noise=True)
    y_hat = codec.code(LatentInput(latent((5, 6))), CRF, (5, 6), channel).y_hat
    (channel.bits().sum() + y_hat.square().sum()).backward()
    silent = [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
