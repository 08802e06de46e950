"""Training of what looks back: by rate alone, from a start that already saves bits."""

import numpy as np
import pytest
import torch

from kinema.models.dual_domain import DualDomainCodec
from kinema.models.frames import Reference
from kinema.models.moving import MovingConfig
from kinema.parts.channels import Estimate
from kinema.train import alignment
from kinema.train.stages import DUAL_DOMAIN_SMALL, Stage

STAGE = Stage(name="any", steps=1, batch=2, crop=64, num_frames=3, lr=0, final_lr=0, decide=1.0)


@pytest.fixture
def started(sampler, small_start, tiny_moving):
    """A tiny codec as training finds it: the intra codec is the best block transform."""
    network = DualDomainCodec(MovingConfig(**tiny_moving))
    alignment.start_alignment(network, sampler)
    return network


def test_p_frames_save_bits_before_any_training(started, sampler):
    clip = alignment.pictures(sampler.draw(np.random.default_rng(0), 4, 96, 2))
    crf, size = torch.full((4,), 20.0), (6, 6)
    with torch.no_grad():
        memory = started.code_frame(clip[0], crf, size, Estimate(noise=False)).memory
        channels = Estimate(noise=False), Estimate(noise=False)
        started.code_frame(clip[1], crf, size, channels[0])
        started.code_frame(clip[1], crf, size, channels[1], (Reference(memory, -1),))
    intra, inter = (float(channel.bits().sum()) for channel in channels)
    assert inter < 0.9 * intra


def test_shares_lie_between_nothing_and_all(started):
    share = started.temporal.share.weight[:, 0, 1, 1]
    assert 0 <= share.min() < share.max() <= 1


def test_loss_is_the_rate_of_p_frames_and_trains_what_looks_back(started, sampler):
    frozen = DUAL_DOMAIN_SMALL[0].frozen
    for name, parameter in started.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    batch = sampler.draw(np.random.default_rng(1), 2, 64, num_frames=3)
    outcome = alignment.alignment_objective(started, batch, STAGE)
    assert outcome.bpp > 0
    outcome.loss.backward()
    moved = {n for n, p in started.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"temporal.share.weight", "temporal.fuse.weight"} <= moved
    assert any(name.startswith("motion.") for name in moved)
    assert not any(name.startswith(frozen) for name in moved)
