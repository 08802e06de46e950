"""Training of conditional coding: rate and distortion of P frames behind a given I frame."""

import torch
from torch import Tensor, nn

from kinema.models.cama import CamaCodec
from kinema.models.dual_domain import DualDomainCodec
from kinema.models.frames import Reference
from kinema.models.lstvc import LstvcCodec
from kinema.models.moving import Memory
from kinema.models.registry import WEIGHTS
from kinema.parts.channels import Estimate
from kinema.parts.quality import MAX_CRF, rd_lambda, shift_crf
from kinema.parts.temporal import TemporalPrior
from kinema.train.alignment import pictures, start_alignment
from kinema.train.checkpoint import load_parameters
from kinema.train.data import Batch, CropSampler
from kinema.train.losses import balance, plane_error, plane_mse, psnr
from kinema.train.objectives import Outcome
from kinema.train.stages import Stage


def conditional_objective(model: nn.Module, batch: Batch, stage: Stage) -> Outcome:
    """Rate plus lambda times distortion of the P frames of clips, at a random quality each.

    Frames see what those before them left, errors and all; gradients reach across `stage.window`
    of them, so that a frame also answers for what it leaves. Where frames weigh by their place,
    their crf says so, which is how networks know it.
    """
    assert isinstance(model, LstvcCodec)
    frames = pictures(batch)
    size = (frames[0].shape[2] // 2, frames[0].shape[3] // 2)
    crf = torch.rand(len(frames[0]), device=frames[0].device) * MAX_CRF
    with torch.no_grad():
        intra = Estimate(noise=False, decide=stage.decide)
        finer = torch.minimum(crf, MAX_CRF - crf).clamp(max=stage.intra_gain)
        coded = model.code_frame(frames[0], crf - finer, size, intra)
        worth = rd_lambda(crf - finer) / rd_lambda(crf)  # of the I frame's errors
        errors = [worth * plane_error(*plane_mse(frames[0], coded.x_hat))]
    rates, qualities, memory = [], [], coded.memory
    for index, x in enumerate(frames[1:]):
        memory = _detached(memory) if index % stage.window == 0 else memory
        channel = Estimate(noise=True, decide=stage.decide)
        own = shift_crf(crf, stage.weights.layer(index + 1))
        coded = model.code_frame(x, own, size, channel, (Reference(memory, -1),))
        planes = plane_mse(x, coded.x_hat)
        errors.append(plane_error(*planes))
        rates.append(channel.bits() / (x.shape[2] * x.shape[3] * 64))
        qualities.append(psnr(planes[0].detach()))
        memory = coded.memory
    weights = stage.weights.weigh([error.detach() for error in errors])
    costs = torch.stack(rates) + weights * rd_lambda(crf) * torch.stack(errors[1:])
    loss = (costs.mean(0) * balance(crf)).mean()
    return Outcome(loss, torch.stack(rates).detach().mean(), torch.stack(qualities).mean())


def start_conditional(model: nn.Module, sampler: CropSampler) -> None:
    """Begin as the dual-domain codec begins, with symbols that count from its prediction."""
    assert isinstance(model, LstvcCodec)
    other = DualDomainCodec(model.moving_config)
    start_alignment(other, sampler)
    take_over(model, other)


def start_features(model: nn.Module, sampler: CropSampler) -> None:
    """Begin as the shipped LSTVC; what features add begins as nothing."""
    del sampler
    assert isinstance(model, CamaCodec)
    for name in ("intra-small", "lstvc-small"):
        load_parameters(WEIGHTS / f"{name}.safetensors", model)


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

    def cut(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.detach()

    return Memory(
        memory.picture.detach(),
        tuple(latent.detach() for latent in memory.latents),
        tuple(field.detach() for field in memory.fields),
        memory.z_hat.detach(),
        cut(memory.state),
        cut(memory.features),
    )
