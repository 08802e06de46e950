"""Training of conditional coding: what learns, and where it starts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kinema.models.cama import CamaCodec
from kinema.models.frames import Reference
from kinema.models.lstvc import LstvcCodec
from kinema.models.registry import WEIGHTS
from kinema.parts.channels import Estimate
from kinema.parts.planes import whole_picture
from kinema.parts.quality import rd_lambda
from kinema.train import alignment, conditional
from kinema.train.recipes import RECIPES
from kinema.train.stages import CAMA_SMALL, LSTVC_SMALL, Stage
from kinema.train.weighting import Hierarchical, Uniform

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


def test_features_begin_as_nothing_and_learn(sampler, tiny_cama_config):
    torch.manual_seed(0)
    network = CamaCodec(tiny_cama_config)
    for layer in (network.contextual.spatial.fuse, network.refinement.head):
        torch.nn.init.normal_(layer.weight, std=0.1)  # as in a trained LSTVC
    torch.nn.init.normal_(network.features.begin.bias)  # whose pictures are not grey
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(CAMA_SMALL[0].frozen))
    batch = sampler.draw(np.random.default_rng(1), 2, 64, num_frames=3)
    moved = []
    for _ in range(2):
        torch.manual_seed(3)
        network.zero_grad()
        conditional.conditional_objective(network, batch, replace(STAGE, window=2)).loss.backward()
        grads = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
        moved.append({name for name in grads if name.startswith(("features.", "tell.", "show."))})
        for layer in (network.tell, network.show):
            torch.nn.init.normal_(layer.weight, std=0.1)  # as after a first step
    assert moved[0] == {"tell.weight", "tell.bias", "show.weight", "show.bias"}
    for prefix in ("features.keep.", "features.begin.", "features.scales.2.fine."):
        assert any(name.startswith(prefix) for name in moved[1]), prefix


def test_places_change_crf_and_weights_the_loss(started, sampler, monkeypatch):
    seen, code_frame = [], started.code_frame

    def spy(x, crf, size, channel, references=()):
        seen.append(crf)
        return code_frame(x, crf, size, channel, references)

    monkeypatch.setattr(started, "code_frame", spy)
    batch = sampler.draw(np.random.default_rng(1), 2, 64, num_frames=4)
    losses = []
    for weights in (Uniform(), Hierarchical(), Hierarchical((0.7,))):
        torch.manual_seed(5)
        stage = replace(STAGE, weights=weights)
        losses.append(float(conditional.conditional_objective(started, batch, stage).loss.detach()))
    intra, *coded = seen[4:8]
    for crf, weight in zip(coded, (1.2, 0.5, 0.9), strict=True):
        free = (crf > 0) & (crf < 63)
        assert torch.allclose(rd_lambda(crf)[free], weight * rd_lambda(intra)[free])
    assert torch.equal(seen[0], seen[1])
    assert len(set(losses)) == 3


def test_cama_begins_as_the_shipped_lstvc():
    with torch.device("meta"):
        empty = RECIPES["cama-small"].build()
    network = empty.to_empty(device="cpu")
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.25)
    RECIPES["cama-small"].start(network, None)
    same = {n.split(".")[0] for n, p in network.named_parameters() if bool((p == 0.25).all())}
    files = [load_file(WEIGHTS / f"{name}-small.safetensors") for name in ("intra", "lstvc")]
    shipped = {name.split(".")[1] for values in files for name in values}
    assert same == {name for name, _ in network.named_children()} - shipped
    assert {"features", "tell", "show"} <= same
