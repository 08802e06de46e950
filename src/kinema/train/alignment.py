"""Training of what earlier frames tell: by rate alone, on a transform that stays as it is.

Since no context touches symbols or pictures, distortion does not depend on it: the loss of P frames
is their bits, at every quality.
"""

import numpy as np
import torch
from torch import Tensor, nn

from kinema.models.dual_domain import DualDomainCodec
from kinema.models.frames import Reference
from kinema.models.moving import Memory
from kinema.models.registry import WEIGHTS
from kinema.parts.channels import Estimate, Listener
from kinema.parts.planes import pack_planes
from kinema.parts.quadtree import ORDER, by_quarter, cut
from kinema.parts.quality import MAX_CRF
from kinema.train.checkpoint import load_parameters
from kinema.train.data import Batch, CropSampler
from kinema.train.losses import balance
from kinema.train.objectives import Outcome
from kinema.train.stages import Stage

START_BATCHES, START_CROPS, START_SIZE = 12, 8, 192


def alignment_objective(model: nn.Module, batch: Batch, stage: Stage) -> Outcome:
    """Bits of the P frames of clips that begin with an I frame, at a random quality each.

    What is reported as bpp is theirs; quality is that of the frozen transform, and left out.
    """
    assert isinstance(model, DualDomainCodec)
    frames = pictures(batch)
    count, samples = len(frames[0]), frames[0].shape[2] * frames[0].shape[3] * 64
    size = (frames[0].shape[2] // 2, frames[0].shape[3] // 2)
    crf = torch.rand(count, device=frames[0].device) * MAX_CRF
    with torch.no_grad():
        channel = Estimate(noise=False, decide=stage.decide)
        coded = model.code_frame(frames[0], crf, size, channel)
    rates = []
    for x in frames[1:]:
        channel = Estimate(noise=False, decide=stage.decide)
        references = (Reference(coded.memory, -1),)
        coded = model.code_frame(x, crf, size, channel, references)
        rates.append(channel.bits() / samples)
    bpp = torch.stack(rates).mean(0)
    return Outcome((bpp * balance(crf)).mean(), bpp.mean(), torch.zeros(()))


def start_alignment(model: nn.Module, sampler: CropSampler) -> None:
    """Begin with the shipped intra codec, and the best fixed share of the coarse latent.

    The share of each channel minimises the squared error of means in units of the intra prior's
    scales; scales shrink by as much as these errors do.
    """
    assert isinstance(model, DualDomainCodec)
    load_parameters(WEIGHTS / "intra-small.safetensors", model)
    with torch.no_grad():
        share, log_gain = _fit_share(model, sampler)
        model.temporal.start_from(model.latent.spatial, share, log_gain)


def pictures(batch: Batch) -> list[Tensor]:
    """Frames of a batch of clips in picture units, one (B, 96, S/8, S/8) for each time."""
    packed = []
    for t in range(batch.y.shape[1]):
        y, u, v = (plane[:, t, None] for plane in (batch.y, batch.u, batch.v))
        packed.append(pack_planes(y, u, v).contiguous(memory_format=torch.channels_last))
    return packed


def _fit_share(model: DualDomainCodec, sampler: CropSampler) -> tuple[Tensor, Tensor]:
    """Share of the coarse latent and change of log-scales, per channel: (M,) each."""
    random = np.random.default_rng(0)
    sums = torch.zeros(3, model.latent.num_channels)
    for _ in range(START_BATCHES):
        first, second = pictures(sampler.draw(random, START_CROPS, START_SIZE, 2))
        sums = sums + _moments(model, first, second).cpu()
    own, mixed, other = sums
    share = (mixed / other.clamp(min=1e-6)).clamp(0, 1)
    left = own - 2 * share * mixed + share.square() * other
    return share, 0.5 * torch.log((left / own.clamp(min=1e-6)).clamp(min=0.02, max=1))


def _moments(model: DualDomainCodec, first: Tensor, second: Tensor) -> Tensor:
    """Products of intra errors e and of differences d from intra to coarse means, per channel.

    Returns:
        sums of e e, of e d and of d d, (3, M).
    """
    crf = torch.linspace(4, MAX_CRF - 4, len(first), device=first.device)
    size = (first.shape[2] // 2, first.shape[3] // 2)
    before = model.code_frame(first, crf, size, Estimate(noise=False, decide=1.0)).memory
    assert isinstance(before, Memory)
    channel, listener = Estimate(noise=False, decide=1.0), Listener()
    after = model.code_frame(second, crf, size, channel, (Reference(before, -1),)).memory
    assert isinstance(after, Memory)
    context = model.look_back(before, after.fields[0])
    latent = model.settle(second, crf, size, channel)
    model.latent.code(latent, crf, size, listener)
    steps = model.latent.steps.base(crf)[:, :, None, None]
    rows = torch.zeros(3, model.latent.num_channels, device=first.device)
    assert latent.sizes is not None
    whole = model.recast(context.coarse, latent.sizes)
    for index, (symbols, distribution) in enumerate(listener.heard[-len(ORDER) :]):
        scale = torch.exp(distribution.log_scale.clamp(min=-1.0))
        error = (symbols - distribution.mean) / scale
        coarse = cut(whole, index) / by_quarter(steps.flatten(1))[:, :, None, None]
        off = (coarse - distribution.mean) / scale
        for row, product in enumerate((error * error, error * off, off * off)):
            rows[row] += product.sum((0, 2, 3))
    back = by_quarter(torch.arange(rows.shape[1], device=rows.device)[None])[0]
    ordered = torch.empty_like(rows)
    ordered[:, back] = rows
    return ordered
