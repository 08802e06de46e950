"""Hyper-prior and spatial prior: what each step may know, and that everything is coded once."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.nn.exact import HIGH, LOW
from kinema.parts.priors import (
    ORDER,
    HyperPrior,
    PriorConfig,
    SpatialPrior,
    everything,
    step_selections,
)

CONFIG = PriorConfig(latent_channels=10, hyper_channels=6, prior_channels=8)
CPU = torch.device("cpu")
CRF = torch.tensor([20.0, 41.5])


def stirred(module):
    """Give every parameter some value."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    return module


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 7), (8, 4)])
@pytest.mark.parametrize("channels", [4, 10])
def test_four_steps_code_everything_once(channels, size):
    selections = step_selections(channels, size, CPU)
    assert len(selections) == len(ORDER)
    total = sum(select.mask.int() for select in selections)
    assert total.shape == (channels, *size)
    assert (total == 1).all()


def test_every_place_of_a_cell_is_coded_in_every_step():
    for select in step_selections(4, (2, 2), CPU):
        assert (select.mask.sum(0) == 1).all()
        assert (select.mask.sum((1, 2)) == 1).all()


def test_selections_made_while_decoding_serve_training():
    step_selections.cache_clear()
    everything.cache_clear()
    with torch.inference_mode():
        selections = [*step_selections(4, (4, 6), CPU), everything(torch.Size((4, 4, 6)), CPU)]
    x = torch.ones(1, 4, 4, 6, requires_grad=True)
    for select in selections:
        (x * select.mask).sum().backward()


def test_hyper_latent_is_a_quarter_of_the_latent_rounded_up():
    hyper = HyperPrior(CONFIG)
    for size, expected in (((4, 8), (1, 2)), ((5, 7), (2, 2)), ((1, 1), (1, 1))):
        assert hyper.analysis(torch.zeros(1, 10, *size)).shape == (1, 6, *expected)


def test_hyper_latent_is_distributed_alike_at_every_place():
    hyper = stirred(HyperPrior(CONFIG))
    distribution = hyper.distribution(CRF, (3, 2))
    assert distribution.mean.shape == distribution.log_scale.shape == (2, 6, 3, 2)
    assert (distribution.mean.std((2, 3)) == 0).all()
    assert not torch.equal(distribution.mean[0], distribution.mean[1])
    assert distribution.select.mask.all()


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


def test_distributions_are_shaped_like_the_latent_and_first_know_features_only(freeze):
    prior = freeze(stirred(SpatialPrior(CONFIG)))
    features = torch.randint(-500, 500, (2, 8, 5, 7)).float()
    known = torch.randint(-90, 90, (2, 10, 5, 7)).float()
    for index in range(4):
        mean, log_scale = prior.predict(index, features, known if index else None, CRF)
        assert mean.shape == log_scale.shape == (2, 10, 5, 7)
        assert torch.equal(mean, mean.round())
        assert torch.equal(log_scale * 64, (log_scale * 64).round())


def test_place_in_the_cell_matters_after_the_first_step(freeze):
    prior = freeze(stirred(SpatialPrior(CONFIG)))
    features, known = torch.full((2, 8, 4, 4), 100.0), torch.zeros(2, 10, 4, 4)
    first, _ = prior.predict(0, features, None, CRF)
    assert (first == first[..., :1, :1]).all()
    for index in (1, 2, 3):
        mean, _ = prior.predict(index, features, known, CRF)
        inner = mean[..., 1:3, 1:3].flatten(2)  # clear of the border
        assert len(inner[0].unique(dim=1).T) > 1


def test_frozen_prior_equals_the_fake_one(freeze):
    from kinema.nn.exact import Arithmetic, set_arithmetic

    prior = stirred(SpatialPrior(CONFIG))
    exact = freeze(prior)
    set_arithmetic(prior, Arithmetic.FAKE)
    features, known = torch.full((2, 8, 4, 4), 100.0), torch.full((2, 10, 4, 4), 9.0)
    knots = torch.tensor([0.0, 63.0])  # between them, tables are rounded in other places
    for index in range(4):
        arguments = (index, features, known if index else None, knots)
        for fake, frozen in zip(prior.predict(*arguments), exact.predict(*arguments), strict=True):
            assert torch.equal(fake.double(), frozen.double())


def test_loading_refuses_offsets_of_another_shape():
    tensors = SpatialPrior(CONFIG).grid_tensors()
    with pytest.raises(ConfigError, match="phase: found"):
        SpatialPrior(CONFIG).load_grid_tensors({"phase": tensors["phase"][:2]})
