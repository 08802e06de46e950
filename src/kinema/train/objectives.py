"""What one training step of an intra system minimises, and where it starts."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.models.intra import IntraCodec
from kinema.parts.channels import Estimate
from kinema.parts.chroma_offsets import plane_shares
from kinema.parts.planes import pack_planes
from kinema.parts.quality import MAX_CRF, rd_lambda
from kinema.train.data import Batch, CropSampler
from kinema.train.losses import balance, plane_error, plane_mse, psnr
from kinema.train.stages import Stage


@dataclass(frozen=True)
class Outcome:
    """What a training step came to; scalars, means over the batch.

    Attributes:
        loss: with gradient.
        bpp: estimated bits per luma sample.
        psnr_y: of luma, in dB.
    """

    loss: Tensor
    bpp: Tensor
    psnr_y: Tensor


def intra_objective(model: nn.Module, batch: Batch, stage: Stage) -> Outcome:
    """Rate plus lambda times distortion at a random quality per picture."""
    assert isinstance(model, IntraCodec)
    x = _pictures(batch).contiguous(memory_format=torch.channels_last)
    crf = torch.rand(len(x), device=x.device) * MAX_CRF
    channel = Estimate(noise=True, decide=stage.decide)
    size = (x.shape[2] // 2, x.shape[3] // 2)
    coded = model.code_intra(x, crf, size, channel)
    bpp = channel.bits() / (x.shape[2] * x.shape[3] * 64)
    mse_y, mse_u, mse_v = plane_mse(x, model.synthesise(coded, crf))
    assert coded.offsets is not None
    u_share, v_share = plane_shares(coded.offsets).unbind(1)
    distortion = plane_error(mse_y, mse_u * u_share, mse_v * v_share)
    cost = bpp + rd_lambda(crf) * distortion
    return Outcome((cost * balance(crf)).mean(), bpp.mean(), psnr(mse_y).mean())


def start_intra(model: nn.Module, sampler: CropSampler) -> None:
    """Begin as the best block transform of the training material."""
    assert isinstance(model, IntraCodec)
    random = np.random.default_rng(0)
    folded = []
    for _ in range(64):
        x = F.pixel_unshuffle(_pictures(sampler.draw(random, 16, 128)), 2)
        folded.append(x.permute(0, 2, 3, 1).flatten(0, 2).cpu())
    model.start_from_patches(torch.cat(folded))


def _pictures(batch: Batch) -> Tensor:
    """All pictures of a batch, in picture units: (B T, 96, S/8, S/8)."""
    y, u, v = (plane.flatten(0, 1)[:, None] for plane in (batch.y, batch.u, batch.v))
    return pack_planes(y, u, v)
