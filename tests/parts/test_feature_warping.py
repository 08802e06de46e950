"""FGDwarp: it begins as warping, its stages are switches with bounds, features tell by place."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.parts.feature_warping import FeatureWarpConfig, FeatureWarping, FlowGuidedWarp
from kinema.parts.optical_flow import warp

TINY = {"widths": (12, 8, 4), "head_channels": 8, "groups": 2}


def make(kind="both", seed=0, **settings):
    torch.manual_seed(seed)
    return FeatureWarping(FeatureWarpConfig(kind=kind, **TINY, **settings), carried=6)


def inputs(size=(16, 24)):
    chance = torch.Generator().manual_seed(1)
    flow = torch.randn(1, 2, *size, generator=chance) * 2
    picture = torch.rand(1, 3, *size, generator=chance)
    return torch.randn(1, 6, *size, generator=chance), picture, flow


@pytest.mark.parametrize("kind", ["coarse", "both"])
@torch.no_grad()
def test_before_training_every_kind_is_plain_warping(kind):
    deformed, plain = make(kind), make("warped")
    plain.load_state_dict(deformed.state_dict(), strict=False)
    for a, b in zip(deformed(*inputs(), 1), plain(*inputs(), 1), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(("kind", "stages"), [("warped", 0), ("coarse", 1), ("both", 2)])
def test_stages_are_switches(kind, stages):
    assert [len(scale.stages) for scale in make(kind).warps.values()] == [stages] * 3


def test_shapes_follow_scales():
    contexts = make()(*inputs(), 1)
    assert [tuple(c.shape) for c in contexts] == [(1, 12, 4, 6), (1, 8, 8, 12), (1, 4, 16, 24)]


@torch.no_grad()
def test_fine_offsets_have_a_quarter_of_the_bound():
    torch.manual_seed(0)
    config = FeatureWarpConfig(kind="both", **TINY, limit=4.0)
    scale = FlowGuidedWarp(4, 0, config)
    f, flow = torch.rand(1, 4, 8, 8), torch.zeros(1, 2, 8, 8)
    coarse, fine = scale.stages
    for stage, bound in ((coarse, 4.0), (fine, 1.0)):
        stage.head[-1].bias.fill_(100.0)
        _, offsets = stage([f, f], f, flow, 0.0)
        assert offsets.max() == pytest.approx(bound)
        stage.head[-1].bias.zero_()
        stage.head[-1].bias[: 2 * 9 * 2] = 100.0  # offsets alone
    moved = scale(f, flow, None)
    assert torch.allclose(moved, warp(f, flow + 5.0), atol=1e-5)


@torch.no_grad()
def test_the_second_stage_sees_what_the_first_has_moved():
    network = make()
    for parameter in network.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    stage, seen = network.warps["4"].stages[1], []
    stage.head.register_forward_hook(lambda _m, given, _o: seen.append(given[0]))
    network(*inputs(), 1)
    network.warps["4"].stages[0].mix.bias += 1.0
    network(*inputs(), 1)
    assert not torch.equal(seen[0][:, :12], seen[1][:, :12])
    assert torch.equal(seen[0][:, 12:], seen[1][:, 12:])


@torch.no_grad()
def test_behind_an_i_frame_features_come_from_the_picture():
    network, (_, picture, flow) = make(), inputs()
    brighter = [network(None, p, flow, 1)[-1] for p in (picture, picture + 0.1)]
    assert not torch.equal(*brighter)


@torch.no_grad()
def test_adaptors_go_by_place():
    network, given = make("warped", adaptors=3), inputs()
    places = [network(*given, place)[-1] for place in range(1, 9)]
    same = [[torch.equal(a, b) for b in places] for a in places]
    for index, other in ((0, 4), (1, 3), (1, 5), (2, 6)):
        assert same[index][other]
    assert not any((same[0][1], same[0][2], same[1][2]))
    with pytest.raises(ConfigError, match="2 adaptors, expected 1 or 3"):
        FeatureWarpConfig(adaptors=2)


@torch.no_grad()
def test_with_the_shortcut_three_channels_begin_as_the_warped_picture():
    network, (features, picture, flow) = make(has_shortcut=True), inputs()
    network.begin_as_picture()
    for given in (None, features):
        context = network(given, picture, flow, 1)[-1]
        assert torch.allclose(context[:, :3], warp(picture, flow) - 0.5, atol=1e-5)
