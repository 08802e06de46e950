"""Training of DCVC-TCM and CAMA: each part at its time, then frames together, weighed."""

from dataclasses import replace

import pytest
import torch

from kinema.models.cama_configs import tiny_config as narrow
from kinema.models.cama_configs import with_warp
from kinema.models.cama_paper import CamaPaperCodec
from kinema.parts.conditional_transforms import MotionTransformConfig
from kinema.parts.feature_transforms import FeatureTransformConfig
from kinema.parts.feature_warping import FeatureWarpConfig
from kinema.parts.optical_flow import FlowConfig
from kinema.train.cascade import cascade_objective
from kinema.train.recipes import RECIPES
from kinema.train.stages import Stage
from kinema.train.two_stage import start_two_stage
from kinema.train.weighting import Hierarchical, QualityAware, Uniform

STAGE = Stage(name="test", steps=1, batch=1, crop=64, num_frames=3, lr=1e-3, final_lr=1e-3)
MOTION = ("flow.", "motion")


@pytest.fixture
def network(tiny_config):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = replace(
        narrow(),
        intra=tiny_config,
        flow=FlowConfig(channels=(4, 4, 4, 4), kernel=3, levels=2),
        motion=MotionTransformConfig(width=8, refinement=0, blocks="residual", has_shortcut=True),
        warping=FeatureWarpConfig(
            widths=(8, 6, 4), head_channels=4, groups=2, adaptors=3, has_shortcut=True
        ),
        contextual=FeatureTransformConfig(widths=(8, 8, 8), inner=4, head=4, has_shortcut=True),
    )
    network = CamaPaperCodec(with_warp(config, "both"))
    network.intra.requires_grad_(requires_grad=False)
    with torch.no_grad():  # much begins as zero, and what lies behind it learns nothing at first
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter) * parameter.requires_grad
    return network


def taught(network, batch, stage):
    """Names of the parameters that a step would change."""
    network.zero_grad()
    cascade_objective(network, batch, stage).loss.backward()
    return {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}


def test_flow_teaches_flow_alone(network, batch):
    names = taught(network, batch, replace(STAGE, focus="flow"))
    assert names
    assert all(name.startswith("flow.") for name in names)


def test_motion_teaches_motion_alone(network, batch):
    names = taught(network, batch, replace(STAGE, focus="motion"))
    assert all(name.startswith(MOTION) for name in names)
    for prefix in ("flow.", "motion_analysis.", "motion_synthesis.", "motion."):
        assert any(name.startswith(prefix) for name in names), prefix


def test_contexts_are_taught_without_rate(network, batch):
    names = taught(network, batch, replace(STAGE, focus="contexts"))
    for prefix in ("warping.warps.2.stages.1.", "analysis.", "synthesis."):
        assert any(name.startswith(prefix) for name in names), prefix
    assert "contextual.log_scale" not in names
    assert "contextual.log_scale" in taught(network, batch, replace(STAGE, focus="latents"))


def test_everything_is_taught_in_the_end(network, batch):
    names = taught(network, batch, replace(STAGE, window=3))
    prefixes = (
        "flow.",
        "motion.",
        "contextual.",
        "temporal.",
        "warping.adapt.0.",
        "warping.begin.",
    )
    for prefix in prefixes:
        assert any(name.startswith(prefix) for name in names), prefix
    assert not any(name.startswith("warping.adapt.1.") for name in names)  # no such place here


def test_gradients_pass_from_frame_to_frame_in_cascaded_stages_only(network, batch):
    """What the first P frame leaves is then taught by the second."""
    slopes = []
    for window in (1, 7):
        torch.manual_seed(1)
        network.zero_grad()
        stage = replace(STAGE, window=window, lagrangian=512.0)
        cascade_objective(network, batch, stage).loss.backward()
        slopes.append(network.warping.begin.weight.grad.clone())
    assert (slopes[0] - slopes[1]).norm() > 0.05 * slopes[0].norm()


def test_weights_change_the_loss_and_nothing_else(network, batch):
    found = []
    for weights in (Uniform(), Hierarchical(), QualityAware()):
        torch.manual_seed(1)
        stage = replace(STAGE, weights=weights, lagrangian=512.0)
        with torch.no_grad():
            found.append(cascade_objective(network, batch, stage))
    assert len({float(outcome.loss) for outcome in found}) == 3


def test_recipes_of_base_and_cama_at_every_lambda():
    names = [name for name in RECIPES if name.startswith(("tcm-paper", "cama-paper"))]
    assert {"tcm-paper", "cama-paper", "cama-paper-2048", "tcm-paper-256"} <= set(names)
    for name in names:
        recipe = RECIPES[name]
        assert recipe.objective is cascade_objective
        assert recipe.start is start_two_stage
        assert all("intra." in stage.frozen for stage in recipe.stages)
        last = recipe.stages[-3:]
        assert [stage.num_frames for stage in last] == [5, 7, 32]
        assert all(stage.window >= stage.num_frames - 1 for stage in last)
        expected = QualityAware() if name.startswith("cama") else Uniform()
        assert all(stage.weights == expected for stage in last)
