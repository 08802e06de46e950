"""FGDT in ordinary floating point: begins as nothing, follows flows, looks at all references."""

import pytest
import torch

from kinema.parts.flow_guided import FlowGuidedConfig, FlowGuidedStage, compose_flows
from kinema.parts.optical_flow import warp

CONFIG = FlowGuidedConfig(channels=8, heads=2, hidden_channels=4, offset_blocks=1)


@pytest.fixture
def stage():
    torch.manual_seed(0)
    return FlowGuidedStage(CONFIG).requires_grad_(requires_grad=False)


def draw(count=1, size=(6, 7), channels=8, seed=0):
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(seed))


def test_a_new_stage_gives_its_query_and_flows_as_they_are(stage):
    query, flow = draw(), draw(channels=2, seed=1)
    looked = stage(query, [draw(seed=2)], [flow])
    assert torch.equal(looked.query, query)
    assert torch.allclose(looked.flows[0], flow)


def test_values_come_from_where_the_flow_points(stage):
    """With attention on the middle of the window, the stage adds what warping finds."""
    reference, flow = draw(seed=2), torch.round(draw(channels=2, seed=1)).clamp(-2, 2)
    stage.ask.weight.zero_()
    stage.ask.bias.zero_()
    for layer in (stage.project, stage.leave):
        layer.weight.zero_()
        layer.bias.zero_()
    stage.project.weight[16:24, :, 0, 0] = torch.eye(8)  # the first head's values
    stage.leave.weight[:, :8, 0, 0] = torch.eye(8)
    found = stage(torch.zeros(1, 8, 6, 7), [reference], [flow]).query
    around = [
        warp(reference, flow + torch.tensor([dx, dy]).view(1, 2, 1, 1).float())
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    assert torch.allclose(found, torch.stack(around).mean(0), atol=1e-5)


def test_each_reference_of_several_matters_and_order_goes_with_flows(stage):
    stage.leave.weight.normal_()
    references, flows = [draw(seed=s) for s in (2, 3)], [draw(channels=2, seed=s) for s in (4, 5)]
    both = stage(draw(), references, flows).query
    assert not torch.allclose(both, stage(draw(), references[:1], flows[:1]).query)
    turned = stage(draw(), references[::-1], flows[::-1]).query
    assert torch.allclose(both, turned, atol=1e-5)


def test_offsets_stay_within_reach(stage):
    stage.offsets[-1].bias.fill_(100.0)
    looked = stage(draw(), [draw(seed=2)], [torch.zeros(1, 2, 6, 7)])
    assert torch.allclose(looked.flows[0], torch.full((1, 2, 6, 7), CONFIG.reach))


def test_pictures_of_a_batch_do_not_mix(stage):
    for parameter in stage.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    query, reference, flow = draw(2), draw(2, seed=2), draw(2, channels=2, seed=1)
    both = stage(query, [reference], [flow])
    alone = stage(query[1:], [reference[1:]], [flow[1:]])
    assert torch.allclose(both.query[1:], alone.query, atol=1e-5)
    assert torch.allclose(both.flows[0][1:], alone.flows[0], atol=1e-5)


def test_composed_flows_lead_two_frames_back():
    first, second = torch.full((1, 2, 8, 8), 1.0), torch.full((1, 2, 8, 8), -3.0)
    assert torch.allclose(compose_flows(first, second), torch.full((1, 2, 8, 8), -2.0))
    f = draw(size=(8, 8))
    twice = warp(warp(f, second), first)
    assert torch.allclose(twice[..., 3:5, 3:5], warp(f, first + second)[..., 3:5, 3:5], atol=1e-5)
