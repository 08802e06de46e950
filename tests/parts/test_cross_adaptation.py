"""Cross-attention adaptation: it begins as nothing, and its branches can be left out."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.parts.cross_adaptation import (
    AdaptationConfig,
    FarBranch,
    PictureAdaptation,
    PriorAdaptation,
    Sources,
)
from kinema.parts.deformable import DeformableConfig

STAGE = DeformableConfig(
    stream_channels=10, latent_channels=12, value_channels=8, heads=2, hidden_channels=8
)
SIZE = (4, 5)


def whole(*shape, seed=0, reach=400):
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(-reach, reach, shape, generator=chance).float()


def stirred(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn_like(parameter) * 0.2
    return module


@pytest.fixture
def stream():
    return whole(1, 10, *SIZE)


@pytest.fixture
def sources():
    latents = [whole(1, 12, *SIZE, seed=s) for s in (1, 2)]
    return Sources(latents, [whole(1, 2, *SIZE, seed=s, reach=90) for s in (3, 4)], [15, 9])


@pytest.fixture
def apart():
    return whole(1, 96, 2 * SIZE[0], 2 * SIZE[1], seed=5)


def test_it_begins_as_nothing(stream, sources, apart):
    prior = PriorAdaptation(AdaptationConfig(far_heads=1), 10, 12)
    assert torch.equal(prior(stream, sources, sources.latents[0].abs()), stream)
    assert not prior.log_scale(torch.tensor([30.0])).any()
    picture = PictureAdaptation(AdaptationConfig(far_heads=1), STAGE, 6)
    found = picture(stream, sources.latents[0], sources, apart)
    assert found.shape == (1, 6, 2 * SIZE[0], 2 * SIZE[1])
    assert not found.any()


@pytest.mark.parametrize(("has_near", "far_heads"), [(True, 1), (True, 0), (False, 1), (False, 0)])
def test_branches_can_be_left_out(has_near, far_heads, stream, sources, apart, freeze):
    config = AdaptationConfig(has_near=has_near, far_heads=far_heads)
    prior, picture = PriorAdaptation(config, 10, 12), PictureAdaptation(config, STAGE, 6)
    prior, picture = freeze(stirred(prior)), freeze(stirred(picture))
    context = prior(stream, sources, sources.latents[0].abs())
    found = picture(context, sources.latents[0], sources, apart)
    for values in (context, found):
        assert torch.equal(values, values.round())
        assert values.any()
    names = {name.split(".")[0] for name, _ in picture.named_parameters()}
    assert ("near" in names, "far" in names) == (has_near, bool(far_heads))


def test_the_far_branch_listens_as_far_as_a_level_says(stream, sources, freeze):
    branch = freeze(stirred(FarBranch(10, 12, 1)))
    full, less = (branch(stream, sources._replace(levels=levels)) for levels in ([15, 15], [15, 1]))
    alone = branch(stream, Sources(sources.latents[:1], sources.fields[:1], [15]))
    assert (less - alone).abs().sum() < (full - alone).abs().sum()


def test_foreign_numbers_of_heads_are_refused():
    with pytest.raises(ConfigError, match="-1 heads"):
        AdaptationConfig(far_heads=-1)
