"""Weights of frames: by place, by references, and the same in the mean."""

import pytest
import torch

from kinema.train.weighting import CYCLE, Hierarchical, QualityAware, Uniform, latest_good


def errors(*values):
    return [torch.tensor([float(v)]) for v in values]


def test_uniform_weights_are_one():
    assert torch.equal(Uniform().weigh(errors(3, 1, 2)), torch.ones(2, 1))
    assert Uniform().layer(5) == 1


def test_places_count_from_the_i_frame():
    found = Hierarchical().weigh(errors(*[1] * 9))[:, 0]
    assert found.tolist() == pytest.approx([1.2, 0.5, 0.9, 0.5] * 2)
    assert [Hierarchical().layer(i) for i in range(4)] == list(CYCLE)


@pytest.mark.parametrize(
    ("index", "good"), [(1, 0), (2, 1), (3, 1), (5, 1), (6, 5), (9, 5), (10, 9)]
)
def test_the_latest_good_frame_is_the_best_place_of_the_cycle(index, good):
    assert latest_good(index) == good


def test_equal_quality_leaves_hierarchical_weights():
    """Equal means in proportion to what frames weigh."""
    strategy = QualityAware()
    own = [1.0, *[1 / strategy.layer(i) for i in range(1, 7)]]
    found = strategy.weigh(errors(*own))
    assert torch.allclose(found, Hierarchical().weigh(errors(*own)), atol=1e-5)


def test_what_follows_a_poor_frame_weighs_more():
    strategy = QualityAware(cycle=(1.0,))
    plain, poor = (strategy.weigh(errors(1, 1, 1, e, 1, 1, 1))[:, 0] for e in (1, 3))
    assert torch.allclose(plain, torch.ones(6))
    assert poor[3] > 1.2 * poor[2]
    assert poor.argmax() == 3


def test_a_poor_good_frame_is_seen_by_all_that_refer_to_it():
    strategy = QualityAware(cycle=(1.0,), shares=(0.0, 1.0))
    found = strategy.weigh(errors(1, 4, 1, 1, 1, 1, 1))[:, 0]
    assert (found[1:5] > 1.2 * found[0]).all()  # frames 2 to 5 look at frame 1
    assert found[5] == pytest.approx(float(found[0]))


def test_the_mean_weight_of_a_clip_stays():
    chance = torch.Generator().manual_seed(0)
    clips = list(torch.rand(9, 3, generator=chance) * 50)
    for cycle in (CYCLE, (1.0,)):
        plain, aware = Hierarchical(cycle).weigh(clips), QualityAware(cycle).weigh(clips)
        assert torch.allclose(plain.mean(0), aware.mean(0))
        assert not torch.allclose(plain, aware)


def test_factors_are_bounded():
    strategy = QualityAware(cycle=(1.0,), least=0.9, most=1.1)
    found = strategy.weigh(errors(1, 100, 0.01, 100, 0.01))
    assert found.max() / found.min() <= 1.1 / 0.9 + 1e-5


def test_a_clip_does_not_look_at_others():
    together = QualityAware().weigh([torch.tensor([1.0, 9.0]), *[torch.tensor([2.0, 3.0])] * 3])
    alone = QualityAware().weigh(errors(1, 2, 2, 2))
    assert torch.allclose(together[:, :1], alone)
