"""Training of LSTVC as published: flow, then compensation, then everything.

    flow           error of the frame before, warped; ours, since there are no weights to begin with
    compensation   lambda d(context, F_t) + R_m: motion and compensation alone
    all            lambda d(x_hat, x) + R_m + R_c

The features F_t of the current frame come from the same net as those that are compensated, which
could make both vanish. So no gradient passes through F_t, and a head of three channels must make
the picture of the context. As long as there is nothing but compensation, frames before are those of
the intra codec.

Source: LSTVC (arXiv 2208.03754), III-D. Deviations: distortion of 4:2:0 planes; one step of the
optimizer per clip instead of one per frame; the guard.
"""

import math

import torch
from torch import Tensor, nn

from kinema.models.frames import CodedFrame, Reference
from kinema.models.lstvc_paper import LstvcPaperCodec, Memory, Predicted, enter
from kinema.models.registry import WEIGHTS
from kinema.parts.channels import Estimate
from kinema.parts.optical_flow import warp
from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT, half_planes
from kinema.parts.quality import BEST_LAMBDA, MAX_CRF, WORST_LAMBDA, rd_lambda
from kinema.train.alignment import pictures
from kinema.train.checkpoint import load_parameters
from kinema.train.data import Batch, CropSampler
from kinema.train.losses import balance, plane_mse, psnr
from kinema.train.objectives import Outcome
from kinema.train.stages import Stage

MSE_LAGRANGIANS = (256.0, 512.0, 1024.0, 2048.0)  # published, for samples 0 to 1
MS_SSIM_LAGRANGIANS = (8.0, 16.0, 32.0, 64.0)
MSE_PER_MS_SSIM = MSE_LAGRANGIANS[0] / MS_SSIM_LAGRANGIANS[0]  # pairs them, for the I frame
FEATURE_SHARE = 0.1  # of d(context, F_t) beside the error of the head
ROUGHNESS = 0.01  # weight of differences between neighbouring vectors


def two_stage_objective(model: nn.Module, batch: Batch, stage: Stage) -> Outcome:
    """Minimise what the stage's `focus` says, over the P frames of clips behind an I frame."""
    assert isinstance(model, LstvcPaperCodec)
    frames = pictures(batch)
    if stage.focus == "flow":
        return flow_outcome(model.flow, frames)
    crf = draw_crf(stage, len(frames[0]), frames[0].device)
    if stage.focus == "compensation":
        return _compensation(model, frames, crf, stage)
    return _everything(model, frames, crf, stage)


def start_two_stage(model: nn.Module, sampler: CropSampler) -> None:
    """Begin with the shipped intra codec, as `intra` of the model."""
    del sampler
    assert isinstance(model.intra, nn.Module)
    load_parameters(WEIGHTS / "intra-small.safetensors", model.intra)


def crf_of(lagrangian: float) -> float:
    """Find the quality whose lambda is a published one, given for samples 0 to 1."""
    slope = math.log(WORST_LAMBDA / BEST_LAMBDA) / MAX_CRF
    return math.log(lagrangian / 255.0**2 / BEST_LAMBDA) / slope


def draw_crf(stage: Stage, count: int, device: torch.device) -> Tensor:
    """Give the qualities of a batch, (B,): that of the stage, or any in the published range."""
    if stage.lagrangian is not None:
        factor = MSE_PER_MS_SSIM if stage.metric == "ms-ssim" else 1.0
        return torch.full((count,), crf_of(stage.lagrangian * factor), device=device)
    worst, best = crf_of(MSE_LAGRANGIANS[0]), crf_of(MSE_LAGRANGIANS[-1])
    return best + (worst - best) * torch.rand(count, device=device)


def flow_outcome(find: nn.Module, frames: list[Tensor]) -> Outcome:
    """Error of frames warped from those before them by the flow that a net finds; none is coded."""
    losses, qualities = [], []
    for before, now in zip(map(enter, frames), map(enter, frames[1:]), strict=False):
        flow = find(now, before).float()
        error = warp(before, flow) - now
        rough = flow.diff(dim=2).abs().mean() + flow.diff(dim=3).abs().mean()
        losses.append((error.square() + 1e-6).sqrt().mean() + ROUGHNESS * rough)
        qualities.append(psnr(255.0**2 * error[:, 0].detach().square().mean()))
    return Outcome(torch.stack(losses).mean(), torch.zeros(()), torch.stack(qualities).mean())


def _compensation(
    model: LstvcPaperCodec, frames: list[Tensor], crf: Tensor, stage: Stage
) -> Outcome:
    """The rate-compensation loss; frames before are those of the intra codec."""
    with torch.no_grad():
        known = [_code(model, x, crf, Estimate(noise=False)).memory for x in frames[:-1]]
    costs, rates, qualities, state = [], [], [], None
    for index, (x, before) in enumerate(zip(frames[1:], known, strict=True), start=1):
        assert isinstance(before, Memory)
        channel, picture = Estimate(noise=True), enter(x)
        predicted = model.predict(picture, Memory(before.picture, state), crf, channel)
        state = _carried(predicted.state, index, stage)
        preview = model.preview(predicted.context).float() + 0.5
        rate = channel.bits() / (picture.shape[2] * picture.shape[3])
        cost, quality = distortion(x, half_planes(preview), crf, stage)
        features = _feature_error(model, predicted, picture)
        costs.append(rate + cost + FEATURE_SHARE * rd_lambda(crf) * 255.0**2 * features)
        rates.append(rate.detach())
        qualities.append(quality)
    return _outcome(costs, rates, qualities, crf)


def _everything(model: LstvcPaperCodec, frames: list[Tensor], crf: Tensor, stage: Stage) -> Outcome:
    """Rate and distortion; frames see what those before them left, errors and all."""
    with torch.no_grad():
        memory = _code(model, frames[0], crf, Estimate(noise=False)).memory
    costs, rates, qualities = [], [], []
    for index, x in enumerate(frames[1:], start=1):
        channel = Estimate(noise=True)
        coded = _code(model, x, crf, channel, memory)
        rate = channel.bits() / (x.shape[2] * x.shape[3] * 64)
        cost, quality = distortion(x, coded.x_hat, crf, stage)
        costs.append(rate + cost)
        rates.append(rate.detach())
        qualities.append(quality)
        assert isinstance(coded.memory, Memory)
        picture = _carried(coded.memory.picture, index, stage)
        assert picture is not None
        memory = Memory(picture, _carried(coded.memory.state, index, stage))
    return _outcome(costs, rates, qualities, crf)


def _code(
    model: LstvcPaperCodec, x: Tensor, crf: Tensor, channel: Estimate, memory: object = None
) -> CodedFrame:
    size = (x.shape[2] // 2, x.shape[3] // 2)
    references = () if memory is None else (Reference(memory, -1),)
    return model.code_frame(x, crf, size, channel, references)


def _feature_error(model: LstvcPaperCodec, predicted: Predicted, picture: Tensor) -> Tensor:
    """d(context, F_t), per picture: (B,)."""
    with torch.no_grad():
        features = model.compensation.pyramid(picture)[-1].float()
    error: Tensor = (predicted.context.float() - features).square().mean((1, 2, 3))
    return error


def distortion(x: Tensor, x_hat: Tensor, crf: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """Lambda times distortion, per picture (B,), and the mean PSNR of luma."""
    y, u, v = plane_mse(x, x_hat)
    quality = psnr(y.detach()).mean()
    if stage.metric == "mse":
        return rd_lambda(crf) * (LUMA_WEIGHT * y + CHROMA_WEIGHT * (u + v)), quality
    from pytorch_msssim import ms_ssim

    similar = ms_ssim(
        enter(x_hat.float()).clamp(0, 1), enter(x.float()), data_range=1.0, size_average=False
    )
    cost: Tensor = rd_lambda(crf) * 255.0**2 / MSE_PER_MS_SSIM * (1 - similar)
    return cost, quality


def _carried(value: Tensor | None, index: int, stage: Stage) -> Tensor | None:
    """What the next frame sees; gradients pass within a window of frames."""
    return value.detach() if value is not None and index % stage.window == 0 else value


def _outcome(
    costs: list[Tensor], rates: list[Tensor], qualities: list[Tensor], crf: Tensor
) -> Outcome:
    loss = (torch.stack(costs).mean(0) * balance(crf)).mean()
    return Outcome(loss, torch.stack(rates).mean(), torch.stack(qualities).mean())
