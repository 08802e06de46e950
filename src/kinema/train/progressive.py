"""Training of the dual-domain system as published: transform, motion, alignment, everything.

    intra       R + lambda D of pictures, I frames
    flow        error of the frame before, warped; neither of them coded
    motion      R_m + lambda d(warped picture, x), frames before as I frames
    alignment   R of I and P frames, which share their prior; no context touches a picture, so
                there is nothing else to minimise
    all         R + lambda D of clips, some frames of which are I frames

A load-balance term of the experts joins wherever the transform is trained.

Source: arXiv 2512.10450, whose training is unread. The order follows from what depends on what.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from kinema.models.dual_domain_paper import Coded, DualDomainPaperCodec, Known, Memory
from kinema.parts.channels import Estimate
from kinema.parts.experts import BALANCE
from kinema.parts.optical_flow import warp
from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT, full_planes, half_planes
from kinema.parts.quality import MAX_CRF, rd_lambda
from kinema.train.alignment import pictures
from kinema.train.data import Batch, CropSampler
from kinema.train.losses import balance, plane_mse, psnr
from kinema.train.objectives import Outcome
from kinema.train.stages import Stage
from kinema.train.two_stage import flow_outcome

INTRA_SHARE = 0.25  # of the later frames of a clip, where everything is trained


def progressive_objective(model: nn.Module, batch: Batch, stage: Stage) -> Outcome:
    """Minimise what the stage's `focus` says, at a random quality per clip."""
    assert isinstance(model, DualDomainPaperCodec)
    frames = pictures(batch)
    if stage.focus == "flow":
        return flow_outcome(model.flow, frames)
    crf = torch.rand(len(frames[0]), device=frames[0].device) * MAX_CRF
    if stage.focus == "motion":
        return _motion(model, frames, crf)
    return _clip(model, frames, crf, stage)


def start_progressive(model: nn.Module, sampler: CropSampler) -> None:
    """Begin by chance: there are no weights of this size to begin with."""
    del sampler
    assert isinstance(model, DualDomainPaperCodec)


def _motion(model: DualDomainPaperCodec, frames: list[Tensor], crf: Tensor) -> Outcome:
    """Rate of the motion, and error of the warped picture."""
    costs, rates, qualities = [], [], []
    motion: Tensor | None = None
    for first, x in pairwise(frames):
        with torch.no_grad():
            known = _code(model, first, crf, Estimate(noise=False), None).frame.memory
        assert isinstance(known, Memory)
        before, channel = known._replace(motion=motion), Estimate(noise=True)
        moved = model.code_motion(full_planes(x), before, crf, _size(x), channel)
        rate = channel.bits() / _samples(x)
        cost, quality = _distortion(x, half_planes(warp(before.picture, moved.flow)), crf)
        costs.append(rate + cost)
        rates.append(rate.detach())
        qualities.append(quality)
        motion = moved.latent.detach()
    return _outcome(costs, rates, qualities, crf, torch.zeros(()))


def _clip(model: DualDomainPaperCodec, frames: list[Tensor], crf: Tensor, stage: Stage) -> Outcome:
    """Rate of clips, and distortion too unless only what looks back is trained."""
    is_rate_alone = stage.focus == "alignment"
    costs, rates, qualities, uneven = [], [], [], []
    memory: Memory | None = None
    for index, x in enumerate(frames):
        is_intra = index == 0 or (stage.focus == "all" and float(torch.rand(())) < INTRA_SHARE)
        before = None if is_intra else memory
        if before is not None and index % stage.window == 0:
            before = _detached(before)
        channel = Estimate(noise=True)
        coded = _code(model, x, crf, channel, before)
        assert isinstance(coded.frame.memory, Memory)
        memory = coded.frame.memory
        rate = channel.bits() / _samples(x)
        cost, quality = _distortion(x, coded.frame.x_hat, crf)
        costs.append(rate if is_rate_alone else rate + cost)
        uneven.append(coded.unevenness)
        rates.append(rate.detach())
        qualities.append(quality)
    extra = torch.zeros(()) if is_rate_alone else BALANCE * torch.stack(uneven).mean()
    return _outcome(costs, rates, qualities, crf, extra)


def _code(
    model: DualDomainPaperCodec,
    x: Tensor,
    crf: Tensor,
    channel: Estimate,
    before: Memory | None,
) -> Coded:
    return model.code(x, crf, _size(x), channel, before)


def _detached(memory: Memory) -> Memory:
    return Memory(
        memory.picture.detach(),
        tuple(Known(known.symbols.detach(), known.crf) for known in memory.latents),
        tuple(flow.detach() for flow in memory.flows),
        None if memory.motion is None else memory.motion.detach(),
    )


def _distortion(x: Tensor, x_hat: Tensor, crf: Tensor) -> tuple[Tensor, Tensor]:
    """Lambda times distortion, per picture (B,), and the mean PSNR of luma."""
    y, u, v = plane_mse(x, x_hat)
    cost = rd_lambda(crf) * (LUMA_WEIGHT * y + CHROMA_WEIGHT * (u + v))
    return cost, psnr(y.detach()).mean()


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[2] // 2, x.shape[3] // 2


def _samples(x: Tensor) -> int:
    return x.shape[2] * x.shape[3] * 64


def _outcome(
    costs: list[Tensor], rates: list[Tensor], qualities: list[Tensor], crf: Tensor, extra: Tensor
) -> Outcome:
    loss = (torch.stack(costs).mean(0) * balance(crf)).mean() + extra.to(crf.device)
    return Outcome(loss, torch.stack(rates).mean(), torch.stack(qualities).mean())
