"""Training of LSTVC: each part at its time, and a compensation that does not vanish."""

from dataclasses import replace

import pytest
import torch

from kinema.models.lstvc_configs import tiny_config as narrow
from kinema.models.lstvc_paper import LstvcPaperCodec
from kinema.parts.conditional_transforms import ContextualTransformConfig, MotionTransformConfig
from kinema.parts.guided_compensation import CompensationConfig
from kinema.parts.optical_flow import FlowConfig
from kinema.parts.quality import rd_lambda
from kinema.train import two_stage
from kinema.train.recipes import RECIPES
from kinema.train.stages import Stage
from kinema.train.two_stage import (
    MSE_LAGRANGIANS,
    crf_of,
    draw_crf,
    start_two_stage,
    two_stage_objective,
)

STAGE = Stage(name="test", steps=1, batch=1, crop=64, num_frames=3, lr=1e-3, final_lr=1e-3)
MOTION = ("flow.", "motion", "compensation.", "preview.", "long_term.")


@pytest.fixture
def network(tiny_config):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = replace(
        narrow(),
        intra=tiny_config,
        flow=FlowConfig(channels=(4, 4, 4, 4), kernel=3, levels=2),
        motion=MotionTransformConfig(width=8, refinement=4, has_shortcut=True),
        compensation=CompensationConfig(widths=(8, 6, 4), head_channels=4, groups=2),
        contextual=ContextualTransformConfig(width=8, head=4, kernel=3, has_shortcut=True),
    )
    network = LstvcPaperCodec(config)
    network.intra.requires_grad_(requires_grad=False)
    with torch.no_grad():  # much begins as zero, and what lies behind it learns nothing at first
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter) * parameter.requires_grad
    return network


def taught(network, batch, stage):
    """Names of the parameters that a step would change."""
    network.zero_grad()
    two_stage_objective(network, batch, stage).loss.backward()
    return {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}


def test_flow_teaches_flow_alone(network, batch):
    names = taught(network, batch, replace(STAGE, focus="flow"))
    assert names
    assert all(name.startswith("flow.") for name in names)


def test_compensation_teaches_motion_alone(network, batch):
    names = taught(network, batch, replace(STAGE, focus="compensation"))
    assert all(name.startswith(MOTION) for name in names)
    for prefix in ("motion_synthesis.", "motion.", "compensation.", "preview."):
        assert any(name.startswith(prefix) for name in names), prefix


def test_everything_is_taught_in_the_end(network, batch):
    names = taught(network, batch, STAGE)
    for prefix in ("analysis.", "synthesis.", "contextual.", "hybrid.", "compensation."):
        assert any(name.startswith(prefix) for name in names), prefix


def test_the_features_of_the_current_frame_take_no_gradient(network, batch, monkeypatch):
    """So that they cannot vanish to make the context match them."""
    seen = []
    pyramid = network.compensation.pyramid
    plain = pyramid.forward
    monkeypatch.setattr(
        pyramid, "forward", lambda x: seen.append((f := plain(x))[-1].requires_grad) or f
    )
    two_stage_objective(network, batch, replace(STAGE, focus="compensation"))
    assert seen == [True, False] * 2


def test_compensation_does_not_vanish(network, batch):
    stage = replace(STAGE, focus="compensation", lagrangian=2048.0)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 2e-3)
    torch.manual_seed(0)
    outcomes = []
    for _ in range(4):
        outcome = two_stage_objective(network, batch, stage)
        optimizer.zero_grad()
        outcome.loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        outcomes.append(outcome)
    assert outcomes[-1].loss < outcomes[0].loss
    features = network.compensation.pyramid(torch.rand(1, 3, 64, 64))[-1]
    assert features.std() > 0.05


def test_gradients_pass_from_frame_to_frame_in_cascaded_stages_only(network, batch):
    """What the first P frame leaves is then taught by the second."""
    slopes = []
    for window in (1, 6):
        torch.manual_seed(1)
        network.zero_grad()
        stage = replace(STAGE, window=window, lagrangian=512.0)
        two_stage_objective(network, batch, stage).loss.backward()
        slopes.append(network.long_term.begin[0].weight.grad.clone())
    assert (slopes[0] - slopes[1]).norm() > 0.05 * slopes[0].norm()


def test_published_lambdas_are_qualities():
    for lagrangian in MSE_LAGRANGIANS:
        crf = torch.tensor(crf_of(lagrangian))
        assert float(rd_lambda(crf)) * 255**2 == pytest.approx(lagrangian, rel=1e-4)
    fixed = draw_crf(replace(STAGE, lagrangian=512.0), 2, torch.device("cpu"))
    assert fixed.tolist() == pytest.approx([crf_of(512.0)] * 2)
    paired = draw_crf(replace(STAGE, lagrangian=16.0, metric="ms-ssim"), 1, torch.device("cpu"))
    assert float(paired) == pytest.approx(crf_of(512.0))
    drawn = draw_crf(STAGE, 50, torch.device("cpu"))
    assert crf_of(2048.0) <= drawn.min() < drawn.max() <= crf_of(256.0)


def test_recipes_of_both_systems_at_every_lambda():
    names = [name for name in RECIPES if name.startswith("lstvc-paper")]
    assert {"lstvc-paper", "lstvc-paper-plus", "lstvc-paper-2048"} <= set(names)
    assert {"lstvc-paper-plus-256", "lstvc-paper-ms-ssim-8"} <= set(names)
    for name in names:
        recipe = RECIPES[name]
        assert recipe.objective is two_stage_objective
        assert recipe.start is start_two_stage
        assert [stage.focus for stage in recipe.stages][:2] == ["flow", "compensation"]
        assert all("intra." in stage.frozen for stage in recipe.stages)


def test_ms_ssim_is_a_distortion_with_a_slope():
    x = 100 * torch.randn(2, 96, 22, 22, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    crf, stage = torch.tensor([20.0, 20.0]), replace(STAGE, metric="ms-ssim")
    scale = torch.tensor([10.0, 40.0]).view(2, 1, 1, 1).requires_grad_()
    cost, _ = two_stage.distortion(x, x + scale * noise, crf, stage)
    assert 0 < cost[0] < cost[1]
    cost.sum().backward()
    assert (scale.grad > 0).all()
