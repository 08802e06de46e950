"""PGMC: it begins as warping; flow guides kernels, coarse results guide fine ones."""

import pytest
import torch

from kinema.parts.guided_compensation import (
    TAPS,
    CompensationConfig,
    DeformableKernel,
    GuidedCompensation,
    sample_groups,
)
from kinema.parts.optical_flow import warp

TINY = {"widths": (12, 8, 4), "head_channels": 8, "groups": 2}


def make(*kinds, seed=0):
    torch.manual_seed(seed)
    return GuidedCompensation(CompensationConfig(kinds=kinds or ("guided",) * 3, **TINY))


def inputs():
    chance = torch.Generator().manual_seed(1)
    flow = torch.randn(2, 2, 16, 24, generator=chance) * 2
    return torch.rand(2, 3, 16, 24, generator=chance), flow


def test_before_training_guided_compensation_is_plain_warping():
    guided, plain = make(), make("warped", "warped", "warped")
    plain.load_state_dict(guided.state_dict(), strict=False)
    with torch.no_grad():
        a, b = guided(*inputs()), plain(*inputs())
    assert list(a) == [4, 2, 1]
    for scale in a:
        assert torch.allclose(a[scale].result, b[scale].result, atol=1e-5)
        assert torch.allclose(a[scale].warped, b[scale].warped, atol=1e-5)
        assert not a[scale].residual.any()


def test_shapes_follow_scales():
    picture, flow = inputs()
    for scale, width in zip((4, 2, 1), TINY["widths"], strict=True):
        done = make()(picture, flow)[scale]
        assert done.result.shape == done.warped.shape == (2, width, 16 // scale, 24 // scale)
        assert done.residual.shape == (2, 2, 16 // scale, 24 // scale)


def test_each_group_is_fetched_from_its_own_place():
    f = torch.arange(2.0 * 6 * 5).view(1, 2, 6, 5)
    offsets = torch.zeros(1, 2, 1, 2, 6, 5)
    offsets[:, 0, :, 0], offsets[:, 1, :, 1] = 1, -2  # right by one; up by two
    samples = sample_groups(f, offsets)
    assert samples.shape == (1, 2, 1, 1, 6, 5)
    assert torch.allclose(samples[0, 0, 0, 0, :, :4], f[0, 0, :, 1:], atol=1e-4)
    assert torch.allclose(samples[0, 1, 0, 0, 2:], f[0, 1, :4], atol=1e-4)


def test_taps_surround_the_end_of_the_flow():
    torch.manual_seed(0)
    kernel = DeformableKernel(4, 0, CompensationConfig(**TINY))
    f, flow = torch.rand(1, 4, 8, 8), torch.full((1, 2, 8, 8), 1.5)
    tap = TAPS.index((1, 0))
    with torch.no_grad():
        kernel.mix.weight.zero_()
        kernel.mix.weight.view(4, 4, 9)[:, :, tap] = torch.eye(4)
        moved, _ = kernel(f, flow, None)
    shifted = flow + torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    assert torch.allclose(moved, warp(f, shifted), atol=1e-5)


def test_offsets_leave_the_flow_by_no_more_than_the_limit():
    torch.manual_seed(0)
    kernel = DeformableKernel(4, 0, CompensationConfig(**TINY, limit=3.0))
    with torch.no_grad():
        kernel.head[-1].bias.fill_(100.0)
        _, residual = kernel(torch.rand(1, 4, 8, 8), torch.zeros(1, 2, 8, 8), None)
    assert residual.max() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("kinds", "guided"),
    [
        (("warped", "absent", "warped"), []),
        (("guided", "absent", "warped"), ["4"]),
        (("guided", "guided", "warped"), ["4", "2"]),
        (("guided", "guided", "guided"), ["4", "2", "1"]),
    ],
)
def test_depth_of_guidance(kinds, guided):
    network = make(*kinds)
    assert [name for name, scale in network.scales.items() if scale.kernel is not None] == guided
    assert list(network.scales) == [
        name for name, kind in zip("421", kinds, strict=True) if kind != "absent"
    ]
    done = network(*inputs())
    assert done[1].result.shape == (2, 4, 16, 24)


def test_a_coarse_result_changes_offsets_of_the_next_scale():
    network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        before = network(*inputs())
        network.scales["4"].block.leave.bias += 1.0
        after = network(*inputs())
    assert torch.equal(before[4].residual, after[4].residual)
    assert not torch.equal(before[2].residual, after[2].residual)
