"""What is told of references, and how their levels weigh."""

import pytest
import torch

from kinema.parts.reference_adaptor import ReferenceAdaptor, Standing, blend, facts, gain

CRF = torch.tensor([20.0, 30.5])


def whole(*shape, seed=0, reach=2000):
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(-reach, reach, shape, generator=chance).float()


def test_facts_are_whole_numbers_that_tell_references_apart():
    told = facts(Standing(-4, 12, CRF + 2), CRF)[:, :, 0, 0]
    assert told.tolist() == [[-64, 128, 352, 32, 192], [-64, 128, 520, 32, 192]]
    assert facts(Standing(1, 15, CRF), CRF)[0, :2, 0, 0].tolist() == [64, 0]
    lengths = [float(facts(Standing(d, 15, CRF), CRF)[0, 1, 0, 0]) for d in range(1, 300)]
    assert lengths == sorted(lengths)
    assert len(set(lengths[:64])) == 64


def test_a_level_of_15_leaves_a_latent_as_it_is():
    assert [gain(level) for level in (15, 7, 1)] == [1, 0.5, 0.125]
    latent = whole(2, 6, 3, 4)
    adaptor = ReferenceAdaptor(6)
    assert torch.equal(adaptor(latent, Standing(-2, 15, CRF), CRF), latent)
    assert torch.equal(adaptor(latent, Standing(-2, 7, CRF), CRF), latent / 2)


def test_frozen_latents_stay_whole(freeze):
    adaptor = ReferenceAdaptor(6)
    with torch.no_grad():
        adaptor.embed.weight.normal_()
    found = freeze(adaptor)(whole(2, 6, 3, 4), Standing(5, 6, CRF), CRF)
    assert torch.equal(found, found.round())
    assert found.abs().max() <= 2048


def test_a_blend_weighs_by_levels():
    first, second = torch.tensor([100.0, 3.0, -7.0]), torch.tensor([200.0, 4.0, -8.0])
    assert blend([first], [3]) is first
    assert blend([first, second], [15, 15]).tolist() == [150, 4, -8]
    assert blend([first, second], [1, 3]).tolist() == [175, 4, -8]
    assert blend([first, second], [15, 1]).tolist() == [106, 3, -7]


@pytest.mark.parametrize("levels", [(15, 15), (15, 4), (1, 14)])
def test_a_blend_is_whole_and_lets_gradients_pass(levels):
    values = [whole(2, 3, 4, 5, seed=s).requires_grad_() for s in (0, 1)]
    found = blend(values, levels)
    assert torch.equal(found, found.round())
    found.sum().backward()
    for value, level in zip(values, levels, strict=True):
        assert torch.allclose(value.grad, torch.full_like(value, level / sum(levels)))
