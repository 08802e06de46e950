"""Training of conditional coding: what learns, and where it starts."""

import numpy as np
import pytest
import torch

from kinema.models.lstvc import LstvcCodec, LstvcConfig
from kinema.parts.deformable import DeformableConfig
from kinema.parts.motion_codec import MotionConfig
from kinema.parts.temporal import ContextConfig
from kinema.train import alignment, conditional
from kinema.train.data import CropSampler
from kinema.train.objectives import start_intra
from kinema.train.sources import build_bank, find_sources
from kinema.train.stages import LSTVC_SMALL, Stage

STAGE = Stage(name="any", steps=1, batch=2, crop=64, num_frames=3, lr=0, final_lr=0, decide=1.0)


@pytest.fixture
def sampler(material, tmp_path):
    return CropSampler(*build_bank(find_sources([material]), tmp_path), torch.device("cpu"))


@pytest.fixture
def started(sampler, tiny_config, monkeypatch):
    """A tiny codec as training finds it."""
    monkeypatch.setattr(alignment, "START_BATCHES", 3)
    monkeypatch.setattr(alignment, "START_SIZE", 64)
    monkeypatch.setattr(
        alignment, "load_parameters", lambda _path, model: start_intra(model, sampler)
    )
    torch.manual_seed(0)
    stage = DeformableConfig(
        stream_channels=8, latent_channels=20, value_channels=8, heads=2, hidden_channels=8
    )
    config = LstvcConfig(
        intra=tiny_config,
        motion=MotionConfig(width=8),
        context=ContextConfig(stage=stage),
        state_channels=8,
        refinement_channels=8,
        refinement_blocks=1,
    )
    network = LstvcCodec(config)
    conditional.start_conditional(network, sampler)
    return network


def test_everything_beside_the_intra_codec_learns(started, sampler):
    frozen = LSTVC_SMALL[0].frozen
    for name, parameter in started.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    torch.nn.init.normal_(started.contextual.spatial.fuse.weight)  # as after a first step
    batch = sampler.draw(np.random.default_rng(1), 2, 64, num_frames=3)
    outcome = conditional.conditional_objective(started, batch, STAGE)
    assert outcome.bpp > 0
    assert outcome.psnr_y > 10
    outcome.loss.backward()
    moved = {n for n, p in started.named_parameters() if p.grad is not None and p.grad.any()}
    for prefix in ("motion.", "contextual.spatial.", "contextual.hyper.", "contextual.steps."):
        assert any(name.startswith(prefix) for name in moved), prefix
    assert {"long_term.tell.weight", "refinement.head.weight"} <= moved
    assert not any(name.startswith(frozen) for name in moved)


def test_it_starts_with_what_the_dual_domain_codec_expects(started):
    share = started.contextual.spatial.share.weight[:, 0, 1, 1]
    assert 0 <= share.min() < share.max() <= 1
    steps = started.contextual.steps.table.knots
    assert torch.equal(steps, started.latent.steps.table.knots)
