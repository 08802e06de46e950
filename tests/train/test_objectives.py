"""What a step minimises, and where training starts."""

import numpy as np
import pytest
import torch

from kinema.models.intra import IntraCodec
from kinema.parts.channels import Estimate
from kinema.train.objectives import intra_objective, start_intra
from kinema.train.recipes import RECIPES
from kinema.train.stages import Stage

STAGE = Stage(name="any", steps=1, batch=2, crop=64, lr=0, final_lr=0)


def test_loss_is_finite_and_every_picture_counts(sampler, tiny_config):
    torch.manual_seed(0)
    batch = sampler.draw(np.random.default_rng(0), 2, 64, num_frames=3)
    outcome = intra_objective(IntraCodec(tiny_config), batch, STAGE)
    assert outcome.loss.isfinite()
    assert outcome.loss.requires_grad
    assert outcome.bpp > 0


@pytest.mark.parametrize("decide", [0.0, 1.0])
def test_deciding_stages_are_obeyed(decide, sampler, tiny_config, monkeypatch):
    seen = []
    original = Estimate.__init__

    def spy(self, **settings):
        seen.append(settings)
        original(self, **settings)

    monkeypatch.setattr(Estimate, "__init__", spy)
    stage = Stage(name="any", steps=1, batch=2, crop=64, lr=0, final_lr=0, decide=decide)
    batch = sampler.draw(np.random.default_rng(0), 1, 64)
    intra_objective(IntraCodec(tiny_config), batch, stage)
    assert seen == [{"noise": True, "decide": decide}]


def test_start_saves_bits_before_any_training(sampler, tiny_config):
    torch.manual_seed(0)
    network = IntraCodec(tiny_config)
    batch = sampler.draw(np.random.default_rng(5), 4, 64)
    with torch.no_grad():
        before = intra_objective(network, batch, STAGE)
        start_intra(network, sampler)
        after = intra_objective(network, batch, STAGE)
    assert after.bpp < 0.7 * before.bpp
    assert after.psnr_y > before.psnr_y - 0.5


def test_recipes_are_whole():
    for recipe in RECIPES.values():
        assert recipe.stages
        for stage in recipe.stages:
            assert stage.crop % 16 == 0
            assert 0 < stage.final_lr <= stage.lr
            assert stage.warmup <= stage.steps
