"""Training of conditional coding: what learns, and where it starts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinema.models.frames import Reference
from kinema.models.lstvc import LstvcCodec
from kinema.parts.channels import Estimate
from kinema.parts.planes import whole_picture
from kinema.train import alignment, conditional
from kinema.train.stages import LSTVC_SMALL, Stage

STAGE = Stage(name="any", steps=1, batch=2, crop=64, num_frames=3, lr=0, final_lr=0, decide=1.0)


@pytest.fixture
def started(sampler, small_start, tiny_lstvc_config):
    """A tiny codec as training finds it."""
    network = LstvcCodec(tiny_lstvc_config)
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


def test_it_starts_with_the_coarse_latent_as_prediction(started):
    prior = started.contextual.spatial
    assert torch.equal(prior.share.weight[:, 0, 1, 1], torch.ones(20))
    assert prior.share.weight.sum() == 20
    for leave in prior.leave:
        mean, log_scale = leave.weight.view(4, 2, -1).unbind(1)
        assert not mean.any()
        assert log_scale.any()


def test_what_stands_still_stays(started, sampler):
    x = alignment.pictures(sampler.draw(np.random.default_rng(1), 1, 64))[0]
    crf, size = torch.tensor([60.0]), (4, 4)
    with torch.no_grad():
        first = started.code_frame(x, crf, size, Estimate(noise=False, decide=1.0))
        memory = first.memory
        for _ in range(3):
            channel, references = Estimate(noise=False, decide=1.0), (Reference(memory, -1),)
            memory = started.code_frame(memory.picture, crf, size, channel, references).memory
            assert torch.equal(memory.picture, first.memory.picture)


@pytest.mark.parametrize(("window", "reached"), [(1, [0, 0, 0]), (2, [0, 1, 0]), (3, [0, 1, 1])])
def test_gradients_reach_across_a_window(window, reached, started, sampler, monkeypatch):
    found, code_frame = [], started.code_frame

    def spy(x, crf, size, channel, references=()):
        found.extend(r.memory.picture.requires_grad for r in references)
        return code_frame(x, crf, size, channel, references)

    monkeypatch.setattr(started, "code_frame", spy)
    batch = sampler.draw(np.random.default_rng(1), 2, 64, num_frames=4)
    conditional.conditional_objective(started, batch, replace(STAGE, window=window))
    assert found == [bool(r) for r in reached]


def test_a_frame_answers_for_the_picture_it_leaves(started, sampler):
    frames = alignment.pictures(sampler.draw(np.random.default_rng(1), 1, 64, num_frames=3))
    crf, size = torch.tensor([20.0]), (4, 4)
    with torch.no_grad():
        memory = started.code_frame(frames[0], crf, size, Estimate(noise=False)).memory
    added = torch.zeros_like(frames[0], requires_grad=True)
    memory = memory._replace(picture=whole_picture(memory.picture + added))
    later = started.code_frame(frames[1], crf, size, Estimate(noise=True), (Reference(memory, -1),))
    later.x_hat.square().mean().backward()
    assert (added.grad != 0).float().mean() > 0.5
