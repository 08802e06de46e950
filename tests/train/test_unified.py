"""Training of one network for every use: what is drawn, what breaks, what learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinema.models.frames import Reference
from kinema.models.uni_lvc import UniLvcCodec
from kinema.parts.channels import Estimate
from kinema.train import alignment, unified
from kinema.train.stages import UNI_LVC_SMALL, Stage

STAGE = Stage(
    name="any",
    steps=1,
    batch=2,
    crop=64,
    num_frames=3,
    lr=0,
    final_lr=0,
    decide=1.0,
    mixture=(0.0, 0.0, 1.0),
)


@pytest.fixture
def started(sampler, small_start, tiny_uni_lvc_config):
    """A tiny codec as training finds it."""
    network = UniLvcCodec(tiny_uni_lvc_config)
    unified.start_unified(network, sampler)
    return network


@pytest.fixture
def batch(sampler):
    return sampler.draw(np.random.default_rng(1), 2, 64, num_frames=3)


@pytest.fixture
def known(started, batch):
    x = alignment.pictures(batch)[0]
    with torch.no_grad():
        crf = torch.tensor([20.0, 50.0])
        return started.code_frame(x, crf, (4, 4), Estimate(noise=False)).memory


def test_clips_are_coded_in_order_of_reference():
    assert [p[:2] for p in unified.places(unified.LOW_DELAY, 3)] == [(0, ()), (1, (0,)), (2, (1,))]
    found = unified.places(unified.RANDOM_ACCESS, 5)
    assert [p[:2] for p in found] == [(0, ()), (4, (0,)), (2, (0, 4)), (1, (0, 2)), (3, (2, 4))]
    assert [p.more_crf for p in found] == [-8, -4, -2, 0, 0]
    assert [p[:2] for p in unified.places(unified.RANDOM_ACCESS, 2)] == [(0, ()), (1, (0,))]


@pytest.mark.parametrize("mixture", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_everything_beside_the_intra_codec_learns(mixture, started, batch):
    frozen = UNI_LVC_SMALL[0].frozen
    for name, parameter in started.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    for begun in (  # as after a first step
        started.contextual.spatial.fuse,
        started.refinement.head,
        started.alignment.stages[0].leave,
    ):
        torch.nn.init.normal_(begun.weight, std=0.1)
    torch.manual_seed(0)
    outcome = unified.unified_objective(started, batch, replace(STAGE, mixture=mixture))
    assert outcome.bpp > 0
    assert outcome.psnr_y > 10
    outcome.loss.backward()
    moved = {n for n, p in started.named_parameters() if p.grad is not None and p.grad.any()}
    added = ("adaptor.embed", "adapt_prior.far.leave", "adapt_picture.up")
    assert {f"{name}.weight" for name in added} <= moved
    is_two_sided = mixture[unified.RANDOM_ACCESS] > 0
    assert ("adapt_prior.log_scale.knots" in moved) == is_two_sided
    assert ("adapt_picture.doubt.weight" in moved) == is_two_sided
    assert not any(name.startswith(frozen) for name in moved)


def test_intra_samples_train_the_intra_codec(started, batch):
    outcome = unified.unified_objective(started, batch, replace(STAGE, mixture=(1.0, 0.0, 0.0)))
    outcome.loss.backward()
    moved = {n for n, p in started.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved
    intra = ("cosines.", "analysis.", "latent.", "synthesis.")
    assert all(name.startswith(intra) for name in moved)


@pytest.mark.parametrize("window", [1, 2])
def test_gradients_reach_references_only_across_a_window(window, started, batch, monkeypatch):
    found, code_frame = [], started.code_frame

    def spy(x, crf, size, channel, references=()):
        found.append([r.memory.past.picture.requires_grad for r in references])
        return code_frame(x, crf, size, channel, references)

    monkeypatch.setattr(started, "code_frame", spy)
    unified.unified_objective(started, batch, replace(STAGE, window=window))
    assert found == [[], [False], [False, window > 1]]


@pytest.mark.parametrize("way", [0, 1])
def test_broken_references_are_rated_lower(way, started, known):
    torch.manual_seed(0)
    broken, finest = unified.break_reference(known, way), torch.zeros_like(known.crf)
    good, bad = (
        started.rate_references(known.past.picture, finest, (4, 4), (Reference(memory, -1),))[0]
        for memory in (known, broken)
    )
    assert good == 15
    assert bad < good
    assert broken.past.picture.shape == known.past.picture.shape


def test_a_frame_whose_references_are_all_broken_keeps_them_at_the_lowest_level(
    started, batch, known, monkeypatch
):
    monkeypatch.setattr(UniLvcCodec, "rate_references", lambda *_: (0, 0))
    place = unified.Place(1, (0, 2), 0.0)
    x = alignment.pictures(batch)[1]
    stage = replace(STAGE, broken=0.0)
    found = unified._refer(started, x, torch.zeros(2), place, {0: known, 2: known}, stage)
    assert [(r.distance, r.level) for r in found] == [(-1, 1), (1, 1)]


def test_later_stages_still_draw_what_earlier_ones_taught():
    for stage in UNI_LVC_SMALL:
        assert stage.mixture[unified.LOW_DELAY] > 0
        assert stage.mixture[unified.RANDOM_ACCESS] > 0
    assert UNI_LVC_SMALL[0].broken == 0
    assert UNI_LVC_SMALL[-1].broken > 0
