"""What earlier frames tell: how it starts, and that it is exact."""

import pytest
import torch

from kinema.parts.channels import Distribution
from kinema.parts.deformable import DeformableConfig
from kinema.parts.priors import PriorConfig, SpatialPrior
from kinema.parts.quadtree import by_quarter, cut
from kinema.parts.temporal import (
    Alignment,
    Context,
    ContextConfig,
    TemporalGuide,
    TemporalPrior,
)

PRIOR = PriorConfig(latent_channels=12, hyper_channels=6, prior_channels=8)
STAGE = DeformableConfig(
    stream_channels=10, latent_channels=12, value_channels=8, heads=2, hidden_channels=8
)
CRF = torch.tensor([30.0])
SIZE = (5, 6)


def whole(*shape, seed=0, reach=400):
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(-reach, reach, shape, generator=chance).float()


def stirred(module, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    return module


@pytest.fixture
def context():
    return Context(whole(1, 10, *SIZE), whole(1, 12, *SIZE, seed=1), whole(1, 6, 2, 2, reach=4))


@pytest.fixture
def prior():
    """A temporal prior as it starts from a spatial one."""
    spatial = stirred(SpatialPrior(PRIOR))
    torch.manual_seed(1)
    temporal = TemporalPrior(PRIOR, STAGE.stream_channels)
    share = torch.linspace(0, 1, 12)
    temporal.start_from(spatial, share, torch.linspace(-1, 0, 12))
    return spatial, temporal, share


def test_prior_starts_as_a_mixture_of_intra_and_coarse(prior, context):
    spatial, temporal, share = prior
    guide = TemporalGuide(temporal, context)
    features, known = whole(1, 8, *SIZE, seed=2), whole(1, 12, *SIZE, seed=3)
    begun = guide.begin(features)
    assert torch.equal(begun, features)
    order = by_quarter(torch.arange(12)[None])[0]
    portion = share[order][None, :, None, None]
    for index in range(4):
        seen = known if index else None
        usual, usual_scale = spatial.predict(index, features, seen, CRF)
        mean, log_scale = guide.predict(index, begun, seen, CRF)
        expected = (1 - portion) * usual + portion * cut(context.coarse, index)
        assert torch.allclose(mean, expected, atol=1e-3)
        gain = torch.linspace(-1, 0, 12)[order][None, :, None, None]
        assert torch.allclose(log_scale, usual_scale + gain, atol=1e-4)


def test_divided_blocks_are_expected_as_they_are(prior, context):
    sizes = torch.ones(1, *SIZE, dtype=torch.long)

    def recast(coarse, found):
        assert found is sizes
        return -coarse

    guide = TemporalGuide(prior[1], context, recast=recast).divide(sizes)
    assert torch.equal(guide.context.coarse, -context.coarse)
    assert torch.equal(guide.context.stream, context.stream)


def test_hyper_latent_starts_as_that_of_an_intra_frame(prior, context):
    usual = Distribution(torch.randn(1, 6, 2, 2), torch.randn(1, 6, 2, 2))
    found = TemporalGuide(prior[1], context).hyper_distribution(usual, CRF)
    assert torch.equal(found.mean, usual.mean)
    assert torch.equal(found.log_scale, usual.log_scale)
    assert not found.is_binding


def test_everything_of_the_context_reaches_the_distributions(prior, context):
    temporal = stirred(prior[1], 3)
    features, known = whole(1, 8, *SIZE, seed=2), whole(1, 12, *SIZE, seed=3)
    usual = Distribution(torch.zeros(1, 6, 2, 2), torch.zeros(1, 6, 2, 2))

    def told(context):
        guide = TemporalGuide(temporal, context)
        return (
            guide.hyper_distribution(usual, CRF).mean,
            guide.predict(0, guide.begin(features), None, CRF)[0],
            guide.predict(2, guide.begin(features), known, CRF)[0],
        )

    before = told(context)
    for change, alike in (
        ({"stream": -context.stream}, (True, False, False)),
        ({"coarse": -context.coarse}, (True, False, False)),
        ({"z_before": -context.z_before}, (False, True, True)),
    ):
        after = told(context._replace(**change))
        assert tuple(torch.equal(a, b) for a, b in zip(before, after, strict=True)) == alike


def test_frozen_results_do_not_depend_on_precision_or_layout(prior, context, freeze):
    temporal = freeze(stirred(prior[1], 3))
    features, known = whole(1, 8, *SIZE, seed=2), whole(1, 12, *SIZE, seed=3)
    results = []
    for change in (
        lambda t: t,
        lambda t: t.contiguous(memory_format=torch.channels_last),
    ):
        guide = TemporalGuide(temporal, Context(*(change(t) for t in context)))
        begun = guide.begin(change(features))
        results.append(
            [guide.predict(i, begun, change(known) if i else None, CRF) for i in range(4)]
        )
    for (mean, scale), (other_mean, other_scale) in zip(*results, strict=True):
        assert torch.equal(mean, other_mean)
        assert torch.equal(scale, other_scale)
        assert torch.equal(mean, mean.round())


def test_alignment_looks_at_one_reference_first_and_at_all_then(freeze):
    torch.manual_seed(0)
    alignment = freeze(stirred(Alignment(ContextConfig(stage=STAGE), 12)))
    coarse = whole(1, 12, *SIZE)
    latents = [whole(1, 12, *SIZE, seed=s) for s in (1, 2, 3)]
    fields = [whole(1, 2, *SIZE, seed=s, reach=90) for s in (4, 5, 6)]
    seen = []
    for stage in alignment.stages:
        stage.register_forward_hook(lambda _m, inputs, _out: seen.append(len(inputs[1])))
    stream = alignment(coarse, latents, fields)
    assert seen == [1, 3]
    assert stream.shape == (1, 10, *SIZE)
    assert torch.equal(stream, stream.round())
    changed = alignment(coarse, [*latents[:2], -latents[2]], fields)
    assert not torch.equal(changed, stream)
