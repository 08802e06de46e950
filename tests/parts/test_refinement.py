"""Refinement: cheaper and better together than symbols chosen one by one."""

import torch

from kinema.parts.channels import Estimate
from kinema.parts.latent_codec import LatentCodec, LatentInput
from kinema.parts.priors import PriorConfig
from kinema.parts.refinement import refine

CRF, SIZE = torch.tensor([30.0]), (5, 6)
WORTH = 0.02  # bits of a squared error


def setting(freeze):
    """A frozen codec whose distributions lean on what is known, and a latent."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = PriorConfig(latent_channels=12, hyper_channels=4, prior_channels=8)
    codec = LatentCodec(config, torch.full((8, 12), 2.0))
    with torch.no_grad():
        for parameter in codec.spatial.parameters():
            parameter += torch.randn_like(parameter) * 0.2
    y = 20 * torch.randn(1, 12, *SIZE)
    return freeze(codec), LatentInput(y, torch.full((1, 12), WORTH))


def cost(codec, latent, y):
    """Bits and worth of errors, of the latent as it would be coded."""
    channel = Estimate(noise=False, decide=1.0 if latent.weight is not None else 0.0)
    with torch.no_grad():
        coded = codec.code(latent, CRF, SIZE, channel)
    return float(channel.bits() + WORTH * (coded.y_hat - y).square().sum()), coded


def test_passes_lower_the_cost_of_a_frame(freeze):
    codec, latent = setting(freeze)
    before, start = cost(codec, latent, latent.y)

    def attempt(tried, channel):
        coded = codec.code(tried, CRF, SIZE, channel)
        return coded, WORTH * (coded.y_hat - latent.y).square().sum((1, 2, 3))

    with torch.inference_mode():
        same = refine(start, latent.weight, 0, attempt)
        better = refine(start, latent.weight, 6, attempt)
    assert torch.allclose(same.y, start.y_hat)
    assert same.weight is None
    after, found = cost(codec, better, latent.y)
    assert torch.equal(found.z_hat, start.z_hat)
    assert torch.allclose(found.y_hat, better.y)
    assert after < before
    assert not better.y.requires_grad
