"""Training of conditional coding: rate and distortion of P frames behind a given I frame."""

import torch
from torch import Tensor, nn

from kinema.models.dual_domain import DualDomainCodec
from kinema.models.frames import Reference
from kinema.models.lstvc import LstvcCodec
from kinema.models.moving import Memory
from kinema.parts.channels import Estimate
from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT
from kinema.parts.quality import MAX_CRF, rd_lambda
from kinema.parts.temporal import TemporalPrior
from kinema.train.alignment import pictures, start_alignment
from kinema.train.basis import tell_in_cosines
from kinema.train.data import Batch, CropSampler
from kinema.train.losses import balance, plane_mse, psnr
from kinema.train.objectives import Outcome
from kinema.train.stages import Stage


def conditional_objective(model: nn.Module, batch: Batch, stage: Stage) -> Outcome:
    """Rate plus lambda times distortion of the P frames of clips, at a random quality each.

    Frames see what those before them left, errors and all; gradients reach across `stage.window`
    of them, so that a frame also answers for what it leaves.
    """
    assert isinstance(model, LstvcCodec)
    frames = pictures(batch)
    size = (frames[0].shape[2] // 2, frames[0].shape[3] // 2)
    crf = torch.rand(len(frames[0]), device=frames[0].device) * MAX_CRF
    with torch.no_grad():
        intra = Estimate(noise=False, decide=stage.decide)
        finer = torch.minimum(crf, MAX_CRF - crf).clamp(max=stage.intra_gain)
        memory: object = model.code_frame(frames[0], crf - finer, size, intra).memory
    costs, rates, qualities = [], [], []
    for index, x in enumerate(frames[1:]):
        memory = _detached(memory) if index % stage.window == 0 else memory
        channel = Estimate(noise=True, decide=stage.decide)
        coded = model.code_frame(x, crf, size, channel, (Reference(memory, -1),))
        rate = channel.bits() / (x.shape[2] * x.shape[3] * 64)
        y, u, v = plane_mse(x, coded.x_hat)
        costs.append(rate + rd_lambda(crf) * (LUMA_WEIGHT * y + CHROMA_WEIGHT * (u + v)))
        rates.append(rate.detach())
        qualities.append(psnr(y.detach()))
        memory = coded.memory
    loss = (torch.stack(costs).mean(0) * balance(crf)).mean()
    return Outcome(loss, torch.stack(rates).mean(), torch.stack(qualities).mean())


def start_conditional(model: nn.Module, sampler: CropSampler) -> None:
    """Begin as the dual-domain codec begins, with symbols that count from its prediction."""
    assert isinstance(model, LstvcCodec)
    other = DualDomainCodec(model.moving_config)
    start_alignment(other, sampler)
    take_over(model, other)
    tell_in_cosines(model)


@torch.no_grad()
def take_over(model: LstvcCodec, other: DualDomainCodec) -> None:
    """Copy what a dual-domain codec knows of motion, alignment and prediction."""
    model.load_state_dict(other.state_dict(), strict=False)
    model.contextual.hyper.load_state_dict(other.latent.hyper.state_dict())
    model.contextual.steps.load_state_dict(other.latent.steps.state_dict())
    prior = model.contextual.spatial
    assert isinstance(prior, TemporalPrior)
    prior.load_state_dict(other.temporal.state_dict())
    prior.trust()
    prior.hyper_share.weight.zero_()  # the hyper-latent of an I frame tells another story


def _detached(memory: object) -> Memory:
    assert isinstance(memory, Memory)

    def cut(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(value.detach() for value in values)

    state = None if memory.state is None else memory.state.detach()
    return Memory(
        memory.picture.detach(),
        cut(memory.latents),
        cut(memory.fields),
        memory.z_hat.detach(),
        state,
    )
