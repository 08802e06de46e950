"""Hyper-prior and spatial prior: what each step may know, and that everything is coded once."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.nn.exact import HIGH, LOW
from kinema.parts.priors import (
    HyperPrior,
    PriorConfig,
    SpatialPrior,
)

CONFIG = PriorConfig(latent_channels=12, hyper_channels=6, prior_channels=8)
CRF = torch.tensor([20.0, 41.5])


def stirred(module):
    """Give every parameter some value."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    return module


def test_hyper_latent_is_a_quarter_of_the_latent_rounded_up():
    hyper = HyperPrior(CONFIG)
    for size, expected in (((4, 8), (1, 2)), ((5, 7), (2, 2)), ((1, 1), (1, 1))):
        assert hyper.analysis(torch.zeros(1, 12, *size)).shape == (1, 6, *expected)


def test_hyper_latent_is_distributed_alike_at_every_place():
    hyper = stirred(HyperPrior(CONFIG))
    distribution = hyper.distribution(CRF, (3, 2))
    assert distribution.mean.shape == distribution.log_scale.shape == (2, 6, 3, 2)
    assert (distribution.mean.std((2, 3)) == 0).all()
    assert not torch.equal(distribution.mean[0], distribution.mean[1])
    assert distribution.inside is None


def test_features_of_the_hyper_prior_are_whole_numbers_once_frozen(freeze):
    hyper = freeze(stirred(HyperPrior(CONFIG)))
    z_hat = torch.randint(-90, 90, (2, 6, 2, 3)).double()
    features = hyper.synthesis(z_hat, CRF)
    assert features.shape == (2, 8, 8, 12)
    assert torch.equal(features, features.round())
    assert features.min() >= LOW
    assert features.max() <= HIGH


def test_quality_reaches_features_and_distributions():
    hyper = stirred(HyperPrior(CONFIG))
    z_hat = torch.zeros(2, 6, 2, 2)
    features = hyper.synthesis(z_hat, CRF)
    assert not torch.equal(features[0], features[1])


def test_distributions_are_shaped_like_what_a_step_codes(freeze):
    prior = freeze(stirred(SpatialPrior(CONFIG)))
    features = torch.randint(-500, 500, (2, 8, 5, 7)).float()
    known = torch.randint(-90, 90, (2, 12, 5, 7)).float()
    for index in range(4):
        mean, log_scale = prior.predict(index, features, known if index else None, CRF)
        assert mean.shape == log_scale.shape == (2, 12, 3, 4)
        assert torch.equal(mean, mean.round())
        assert torch.equal(log_scale * 64, (log_scale * 64).round())


def test_place_in_the_cell_matters(freeze):
    prior = freeze(stirred(SpatialPrior(CONFIG)))
    features, known = torch.full((2, 8, 8, 8), 100.0), torch.zeros(2, 12, 8, 8)
    alike = []
    for index in range(4):
        mean, _ = prior.predict(index, features, known if index else None, CRF)
        inner = mean[..., 1:3, 1:3]  # clear of the border
        assert torch.equal(inner, inner[..., :1, :1].expand_as(inner))
        alike.append(inner[..., 0, 0])
    assert len({tuple(row.flatten().tolist()) for row in alike}) == 4


def test_channels_without_quarters_are_refused():
    with pytest.raises(ConfigError, match="multiple of 4"):
        SpatialPrior(PriorConfig(latent_channels=10, hyper_channels=6, prior_channels=8))


def test_frozen_prior_equals_the_fake_one(freeze):
    from kinema.nn.exact import Arithmetic, set_arithmetic

    prior = stirred(SpatialPrior(CONFIG))
    exact = freeze(prior)
    set_arithmetic(prior, Arithmetic.FAKE)
    features, known = torch.full((2, 8, 4, 4), 100.0), torch.full((2, 12, 4, 4), 9.0)
    knots = torch.tensor([0.0, 63.0])  # between them, tables are rounded in other places
    for index in range(4):
        arguments = (index, features, known if index else None, knots)
        for fake, frozen in zip(prior.predict(*arguments), exact.predict(*arguments), strict=True):
            assert torch.equal(fake.double(), frozen.double())


def test_loading_refuses_offsets_of_another_shape():
    tensors = SpatialPrior(CONFIG).grid_tensors()
    with pytest.raises(ConfigError, match="phase: found"):
        SpatialPrior(CONFIG).load_grid_tensors({"phase": tensors["phase"][:2]})
