"""Training of the dual-domain system as published: each part at its time."""

from dataclasses import replace

import pytest
import torch

from kinema.models.dual_domain_configs import tiny_config
from kinema.models.dual_domain_paper import DualDomainPaperCodec
from kinema.train.data import Batch
from kinema.train.paper_stages import DUAL_DOMAIN_PAPER
from kinema.train.progressive import progressive_objective, start_progressive
from kinema.train.recipes import RECIPES
from kinema.train.stages import Stage

STAGE = Stage(name="test", steps=1, batch=1, crop=64, num_frames=3, lr=1e-3, final_lr=1e-3)
TRANSFORM = ("analysis.", "synthesis.", "experts.")
LOOKS_BACK = ("first.", "second.", "adaptor_p.", "motion.", "motion_synthesis.", "flow.")


@pytest.fixture
def network():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = DualDomainPaperCodec(tiny_config())
    with torch.no_grad():  # much begins as zero, and what lies behind it learns nothing at first
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network


def taught(network, batch, stage):
    """Names of the parameters that a step would change."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(stage.frozen))
    network.zero_grad()
    torch.manual_seed(0)
    progressive_objective(network, batch, stage).loss.backward()
    return {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}


def has_all(names, prefixes):
    return [p for p in prefixes if not any(name.startswith(p) for name in names)] == []


def stage_of(focus):
    """The recipe's first stage with a focus, in small."""
    stage = next(stage for stage in DUAL_DOMAIN_PAPER if stage.focus == focus)
    return replace(STAGE, focus=focus, frozen=stage.frozen, window=stage.window)


def test_intra_teaches_the_transform_and_nothing_that_looks_back(network, batch):
    one = Batch(batch.y[:, :1], batch.u[:, :1], batch.v[:, :1])
    names = taught(network, one, stage_of("intra"))
    assert has_all(names, (*TRANSFORM, "latent.", "adaptor_i.", "still"))
    assert not any(name.startswith(LOOKS_BACK) for name in names)


def test_flow_teaches_flow_alone(network, batch):
    names = taught(network, batch, stage_of("flow"))
    assert names
    assert all(name.startswith("flow.") for name in names)


def test_motion_teaches_motion_alone(network, batch):
    names = taught(network, batch, stage_of("motion"))
    assert has_all(names, ("flow.", "motion_analysis.", "motion_synthesis.", "motion.hyper."))
    assert all(name.startswith(("flow.", "motion")) for name in names)


def test_alignment_is_rate_alone_on_a_frozen_transform(network, batch):
    names = taught(network, batch, stage_of("alignment"))
    assert has_all(names, (*LOOKS_BACK, "latent.fusion.", "latent.refined."))
    assert not any(name.startswith(TRANSFORM) for name in names)


def test_everything_is_taught_in_the_end(network, batch):
    names = taught(network, batch, stage_of("all"))
    assert has_all(names, (*TRANSFORM, *LOOKS_BACK, "latent."))


def test_a_small_step_down_the_slope_reduces_the_loss(network, batch):
    stage, two = replace(STAGE, focus="all"), Batch(batch.y[:, :2], batch.u[:, :2], batch.v[:, :2])
    losses = []
    for _ in range(2):
        network.zero_grad()
        torch.manual_seed(0)
        loss = progressive_objective(network, two, stage).loss
        loss.backward()
        losses.append(float(loss.detach()))
        with torch.no_grad():
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 0.02)
            for parameter in network.parameters():
                parameter -= parameter.grad if parameter.grad is not None else 0
    assert norm > 0
    assert losses[1] < losses[0]


def test_recipe_names_every_step_in_order(network):
    recipe = RECIPES["dual-domain-paper"]
    assert recipe.objective is progressive_objective
    assert recipe.start is start_progressive
    focuses = list(dict.fromkeys(stage.focus for stage in recipe.stages))
    assert focuses == ["intra", "flow", "motion", "alignment", "all"]
    names = [name for name, _ in network.named_parameters()]
    for stage in recipe.stages:
        for prefix in stage.frozen:
            assert any(name.startswith(prefix) for name in names), prefix
