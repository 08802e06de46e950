"""Training of DCVC-TCM and CAMA as published: part by part, then many frames at once.

    flow        error of the frame before, warped; ours, since there are no weights to begin with
    motion      lambda D(warped picture) + R_m, motion codec alone
    contexts    lambda D, without rate, motion codec as it is
    latents     lambda D + R_y, motion codec as it is
    all         lambda D + R; in cascaded stages with gradients across frames, and frames weighed

Source: schedule of DCVC-TCM and DCVC-DC as their public re-implementations have it; CAMA (arXiv
2512.12936) for cascaded training with weights that follow the references; its schedule is unread.
Deviations: distortion of 4:2:0 planes.
"""

import torch
from torch import Tensor, nn

from kinema.models.cama_paper import CamaPaperCodec, Memory
from kinema.models.frames import CodedFrame, Reference
from kinema.models.lstvc_paper import enter
from kinema.parts.channels import Estimate
from kinema.parts.optical_flow import warp
from kinema.parts.planes import half_planes
from kinema.parts.quality import shift_crf
from kinema.train.alignment import pictures
from kinema.train.data import Batch
from kinema.train.losses import balance, plane_error, plane_mse
from kinema.train.objectives import Outcome
from kinema.train.stages import Stage
from kinema.train.two_stage import distortion, draw_crf, flow_outcome


def cascade_objective(model: nn.Module, batch: Batch, stage: Stage) -> Outcome:
    """Minimise what the stage's `focus` says, over the P frames of clips behind an I frame."""
    assert isinstance(model, CamaPaperCodec)
    frames = pictures(batch)
    if stage.focus == "flow":
        return flow_outcome(model.flow, frames)
    crf = draw_crf(stage, len(frames[0]), frames[0].device)
    if stage.focus == "motion":
        return _motion(model, frames, crf, stage)
    return _frames(model, frames, crf, stage)


def _motion(model: CamaPaperCodec, frames: list[Tensor], crf: Tensor, stage: Stage) -> Outcome:
    """Rate of motion, and the error of what is warped by it; frames before are not coded."""
    costs, rates, qualities = [], [], []
    for before, x in zip(map(enter, frames), frames[1:], strict=False):
        channel, picture = Estimate(noise=True), enter(x)
        known = Memory(before, None, 0)
        size = (before.shape[2] // 16, before.shape[3] // 16)
        y = model.motion_analysis(model.find_flow(picture, known, crf))
        y_hat = model.motion.code(y, None, crf, size, channel)
        moved = warp(before, model.motion_synthesis(y_hat, before).float())
        rate = channel.bits() / (picture.shape[2] * picture.shape[3])
        cost, quality = distortion(x, half_planes(moved), crf, stage)
        costs.append(rate + cost)
        rates.append(rate.detach())
        qualities.append(quality)
    return _outcome(torch.stack(costs), rates, qualities, crf)


def _frames(model: CamaPaperCodec, frames: list[Tensor], crf: Tensor, stage: Stage) -> Outcome:
    """Rate and distortion; frames see what those before them left, errors and all."""
    with torch.no_grad():
        coded = _code(model, frames[0], crf, Estimate(noise=False))
        errors = [plane_error(*plane_mse(frames[0], coded.x_hat))]
    memory, costs, rates, qualities = coded.memory, [], [], []
    for index, x in enumerate(frames[1:], start=1):
        channel = Estimate(noise=True)
        own = shift_crf(crf, stage.weights.layer(index))
        coded = _code(model, x, own, channel, memory)
        rate = channel.bits() / (x.shape[2] * x.shape[3] * 64)
        cost, quality = distortion(x, coded.x_hat, crf, stage)
        costs.append(cost)
        rates.append(rate)
        qualities.append(quality)
        errors.append(plane_error(*plane_mse(x, coded.x_hat)).detach())
        memory = _carried(coded.memory, index, stage)
    total = stage.weights.weigh(errors) * torch.stack(costs)
    if stage.focus != "contexts":
        total = total + torch.stack(rates)
    return _outcome(total, [rate.detach() for rate in rates], qualities, crf)


def _code(
    model: CamaPaperCodec, x: Tensor, crf: Tensor, channel: Estimate, memory: object = None
) -> CodedFrame:
    size = (x.shape[2] // 2, x.shape[3] // 2)
    references = () if memory is None else (Reference(memory, -1),)
    return model.code_frame(x, crf, size, channel, references)


def _carried(memory: object, index: int, stage: Stage) -> object:
    """What the next frame sees; gradients pass within a window of frames."""
    assert isinstance(memory, Memory)
    if index % stage.window:
        return memory
    features = None if memory.features is None else memory.features.detach()
    return Memory(memory.picture.detach(), features, memory.place)


def _outcome(costs: Tensor, rates: list[Tensor], qualities: list[Tensor], crf: Tensor) -> Outcome:
    loss = (costs.mean(0) * balance(crf)).mean()
    return Outcome(loss, torch.stack(rates).mean(), torch.stack(qualities).mean())
