"""A change of basis: what nets know of the latents of one block transform, told in cosines.

Linear layers that read latents are turned exactly. What belongs to single channels (scales, steps,
what the hyper-latent sees of them) is taken from the channel that is most like each cosine: a good
start, and exact where the old channels are cosines themselves.
"""

import torch
from torch import Tensor, nn

from kinema.models.lstvc import LstvcCodec
from kinema.nn.exact import GridConv
from kinema.parts.planes import STEPS_PER_LEVEL
from kinema.parts.quadtree import NUM_QUARTERS
from kinema.parts.temporal import TemporalPrior


@torch.no_grad()
def tell_in_cosines(model: LstvcCodec) -> None:
    """Turn P frames from the block transform of the intra codec to cosines of like amplitudes."""
    cosines, linear = model.cosines, model.analysis.linear.double()
    cosines.start_from(linear)
    gain = cosines.gain.double()
    turn = linear @ cosines.rows.T.to(linear.device) * (STEPS_PER_LEVEL / gain)
    length = linear.norm(dim=1) * STEPS_PER_LEVEL  # amplitudes of a channel per level, about
    like = (turn * gain / length[:, None]).abs().argmax(0)
    prior = model.contextual.spatial
    assert isinstance(prior, TemporalPrior)
    for conv in _readers(model, prior):
        latents = conv.weight[:, : len(turn), 0, 0]
        latents.copy_(latents.double() @ turn)
    steps = model.contextual.steps.table.knots
    steps.copy_(steps[:, like] + (gain / length[like]).log().to(steps.dtype))
    prior.log_scale.knots.copy_(prior.log_scale.knots[:, like])
    enter = model.contextual.hyper.enter
    enter.weight.copy_(enter.weight[:, like])
    kept = torch.linalg.pinv(turn)[torch.arange(len(like)), like]
    for leave in prior.leave:
        assert isinstance(leave, GridConv)
        for rows in (leave.weight, leave.bias):
            rows.copy_(_by_channel(rows, like, kept))
    _share_alone(prior)


def _readers(model: LstvcCodec, prior: TemporalPrior) -> list[GridConv]:
    """Layers whose first inputs are latents."""
    first = [model.alignment.enter, model.long_term.begin, model.long_term.supply]
    stages = [stage.project for stage in model.alignment.stages]
    found = [*first, *stages, *prior.enter, *prior.notice]
    assert all(isinstance(conv, GridConv) for conv in found)
    return found


def _by_channel(rows: Tensor, like: Tensor, kept: Tensor) -> Tensor:
    """Means and log-scales of a step, quarter by quarter, from those of like channels.

    Args:
        rows: (2 M, ...) as `SpatialPrior.leave` has them.
        like: (M,).
        kept: how much of a like channel's mean is the cosine's, (M,).
    """
    parts = rows.view(NUM_QUARTERS, 2, -1, *rows.shape[1:])
    flat = parts.permute(1, 2, 0, *range(3, parts.ndim)).flatten(1, 2)  # (2, M, ...) by channel
    found = flat[:, like]
    found[0] *= kept.to(rows.dtype).view(-1, *[1] * (rows.ndim - 1))
    found = found.view(2, -1, NUM_QUARTERS, *rows.shape[1:])
    return found.permute(2, 0, 1, *range(3, found.ndim)).flatten(0, 2)


def _share_alone(prior: TemporalPrior) -> None:
    """Expect the coarse latent as it is."""
    nn.init.zeros_(prior.share.weight)
    nn.init.zeros_(prior.share.bias)
    prior.share.weight[:, 0, 1, 1] = 1
