"""Training of one network for every use: a mixture of intra, low-delay and random-access samples.

Each step draws what its clips are coded as. Knowledge is kept by replay: later stages still draw
what earlier ones taught. Some references are broken on purpose, so that the network learns what a
level of reliability means.

Frames of lower layers, to which others refer, are coded better: a layer's quality stands for its
weight, since the weight of an error is that of its quality.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinema.models.frames import Reference
from kinema.models.uni_lvc import UniLvcCodec
from kinema.models.uni_motion import Known
from kinema.parts.channels import Estimate
from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT, STEPS_PER_LEVEL, whole_picture
from kinema.parts.quality import MAX_CRF, rd_lambda
from kinema.parts.reference_adaptor import MAX_LEVEL
from kinema.train.alignment import pictures
from kinema.train.conditional import start_conditional
from kinema.train.data import Batch, CropSampler
from kinema.train.losses import balance, plane_mse, psnr
from kinema.train.objectives import Outcome, intra_objective
from kinema.train.stages import Stage

INTRA, LOW_DELAY, RANDOM_ACCESS = range(3)  # kinds of samples, in the order of `Stage.mixture`
INTRA_GAIN = 8.0  # crf by which I frames are finer
P_LAYERS = (0.0, 2.0, 1.0, 2.0)  # crf of P frames, in turns, over that of the sample
B_LAYERS = (-4.0, -2.0, 0.0, 2.0)  # crf of random access: the P frame, then B frames by layer
NOISE = 12.0  # standard deviation of broken pictures, 8-bit steps
SURPRISE = 0.2  # of frames whose levels are drawn at random


class Place(NamedTuple):
    """A frame of a clip: where it stands, what it refers to, and its crf over the sample's."""

    frame: int
    references: tuple[int, ...]
    more_crf: float


def unified_objective(model: nn.Module, batch: Batch, stage: Stage) -> Outcome:
    """Rate plus lambda times distortion of one kind of sample, at a random quality each.

    Gradients reach back through references if `stage.window` is more than 1.
    """
    assert isinstance(model, UniLvcCodec)
    kind = _draw_kind(stage.mixture)
    if kind == INTRA:
        return intra_objective(model, batch, stage)
    frames = pictures(batch)
    crf = torch.rand(len(frames[0]), device=frames[0].device) * MAX_CRF
    known: dict[int, Known] = {}
    costs, rates, qualities = [], [], []
    for place in places(kind, len(frames)):
        x, own = frames[place.frame], (crf + place.more_crf).clamp(0, MAX_CRF)
        references = _refer(model, x, own, place, known, stage) if place.references else ()
        with torch.set_grad_enabled(bool(references)):
            channel = Estimate(noise=bool(references), decide=stage.decide)
            coded = model.code_frame(x, own, _size(x), channel, references)
        assert isinstance(coded.memory, Known)
        known[place.frame] = coded.memory if stage.window > 1 else detached(coded.memory)
        if not references:
            continue
        rate = channel.bits() / (x.shape[2] * x.shape[3] * 64)
        y, u, v = plane_mse(x, coded.x_hat)
        cost = rate + rd_lambda(own) * (LUMA_WEIGHT * y + CHROMA_WEIGHT * (u + v))
        costs.append(cost * balance(own))
        rates.append(rate.detach())
        qualities.append(psnr(y.detach()))
    return Outcome(
        torch.stack(costs).mean(), torch.stack(rates).mean(), torch.stack(qualities).mean()
    )


def start_unified(model: nn.Module, sampler: CropSampler) -> None:
    """Begin as LSTVC begins; what B frames add begins as nothing."""
    start_conditional(model, sampler)


def places(kind: int, count: int) -> list[Place]:
    """Say how a clip is coded, in coding order.

    Args:
        kind: LOW_DELAY or RANDOM_ACCESS.
        count: frames of the clip, 2 or more.
    """
    first = Place(0, (), -INTRA_GAIN)
    if kind == LOW_DELAY:
        later = [Place(i, (i - 1,), P_LAYERS[i % len(P_LAYERS)]) for i in range(1, count)]
        return [first, *later]
    last = Place(count - 1, (0,), B_LAYERS[0])
    return [first, last, *_between(0, count - 1, 1)]


def _between(before: int, after: int, layer: int) -> list[Place]:
    """The middle of two coded frames, then the middles of both halves."""
    if after - before < 2:
        return []
    middle = (before + after) // 2
    place = Place(middle, (before, after), B_LAYERS[min(layer, len(B_LAYERS) - 1)])
    return [place, *_between(before, middle, layer + 1), *_between(middle, after, layer + 1)]


def detached(known: Known) -> Known:
    """The same without gradients."""
    past = known.past
    state = None if past.state is None else past.state.detach()
    past = past._replace(
        picture=past.picture.detach(),
        latents=tuple(latent.detach() for latent in past.latents),
        z_hat=past.z_hat.detach(),
        state=state,
    )
    return known._replace(past=past)


def break_reference(known: Known, way: int) -> Known:
    """Make a reference useless: as if behind a scene cut (way 0), or noisy (way 1).

    Behind the cut lies another clip of the batch, or the same one upside down.
    """
    past = known.past
    if way:
        noise = torch.randn_like(past.picture) * (NOISE * STEPS_PER_LEVEL)
        return known._replace(past=past._replace(picture=whole_picture(past.picture + noise)))

    def other(values: Tensor) -> Tensor:
        return values.flip(2).roll(1, 0)

    state = None if past.state is None else other(past.state)
    latents = tuple(other(latent) for latent in past.latents)
    past = past._replace(picture=other(past.picture), latents=latents, state=state)
    return known._replace(past=past)


def _refer(
    model: UniLvcCodec,
    x: Tensor,
    crf: Tensor,
    place: Place,
    known: dict[int, Known],
    stage: Stage,
) -> tuple[Reference, ...]:
    """References of a frame, some of them broken, with their levels; at least one remains."""
    references = []
    for index in place.references:
        memory = known[index]
        if _chance(stage.broken):
            memory = break_reference(memory, int(_chance(0.3)))
        references.append(Reference(memory, index - place.frame))
    rated = model.rate_references(x, crf, _size(x), tuple(references))
    if _chance(SURPRISE * bool(stage.broken)):
        rated = tuple(int(torch.randint(1, MAX_LEVEL + 1, ())) for _ in rated)
    if not any(rated):
        rated = (1,) * len(rated)
    pairs = zip(references, rated, strict=True)
    return tuple(Reference(r.memory, r.distance, level) for r, level in pairs)


def _draw_kind(mixture: tuple[float, float, float]) -> int:
    return int(torch.multinomial(torch.tensor(mixture), 1))


def _chance(share: float) -> bool:
    return bool(torch.rand(()) < share)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[2] // 2, x.shape[3] // 2
