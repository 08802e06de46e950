"""Refinement: symbols of a latent are improved together, by whole steps; encoder only.

What a symbol does to those around it, through the distributions of later steps and through the
synthesis, is told by gradients; what it costs itself, by its own distribution. Each pass moves
the symbols for which all this together promises a gain, every second one of a chequerboard.

Source: iterative inference for learned codecs, Yang, Bamler and Mandt (arXiv 2006.04240), section
3; whole steps instead of their annealed noise are ours, since ten passes have to do.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from kinema.parts.channels import Channel, Distribution, Listener
from kinema.parts.laplace import laplace_bits
from kinema.parts.latent_codec import CodedLatent, LatentInput
from kinema.parts.quadtree import ORDER, put

# Gradients tell little of a whole step away: both nets bend. Measured on two clips
# (docs/LOG.md): without these bounds, each pass makes things worse.
CURVATURE = 0.8  # of the error, as a part of what the block transform alone has
SLOPE_LIMIT = 1.2  # of the error, in the same unit
OTHERS_LIMIT = 3.0  # bits that a move may promise to save elsewhere
OWN_LIMIT = 8.0  # bits that a move may cost by itself

# From a latent: it as the decoder knows it, and the error of the picture in bits, (B,).
Attempt = Callable[[LatentInput, Channel], tuple[CodedLatent, Tensor]]


def refine(start: CodedLatent, weight: Tensor, passes: int, attempt: Attempt) -> LatentInput:
    """Improve symbols.

    Args:
        start: symbols to begin with, as chosen one by one.
        weight: bits that a squared error of an amplitude costs, (B, M).
        passes: how often to look and move.
        attempt: carries a latent through a channel and synthesises the picture.

    Returns:
        the latent that is to be coded as it is; hyper-latent, sizes and offsets remain. A picture
        for which no pass gained anything keeps its symbols.
    """
    with torch.inference_mode(mode=False):
        y, z, steps = (t.detach().clone() for t in (start.y_hat, start.z_hat, start.steps))
        sizes, offsets = (t if t is None else t.clone() for t in (start.sizes, start.offsets))
        curvature = CURVATURE * weight.clone()[:, :, None, None] * steps.square()
        best, least = y, torch.full((len(y),), torch.inf, device=y.device)
        for number in range(passes + 1):
            with torch.set_grad_enabled(number < passes):
                seen = _look(LatentInput(y, None, z, sizes=sizes, offsets=offsets), attempt)
            is_best = seen.cost < least
            best, least = _where(is_best, seen.y_hat, best), _where(is_best, seen.cost, least)
            if number < passes:
                moves = _choose_moves(seen, steps, curvature)
                y = seen.y_hat + moves * _chequerboard(y, number) * steps
    return LatentInput(best, None, z, sizes=sizes, offsets=offsets)


class _Seen(NamedTuple):
    """What an attempt came to.

    Attributes:
        y: what was to be coded, (B, M, h, w).
        y_hat: what was coded, without gradients.
        error: of the picture in bits, (B,).
        steps: symbols and distributions of each step.
        cost: bits and error, (B,).
    """

    y: Tensor
    y_hat: Tensor
    error: Tensor
    steps: list[tuple[Tensor, Distribution]]
    cost: Tensor


def _look(latent: LatentInput, attempt: Attempt) -> _Seen:
    y, listener = latent.y.detach().requires_grad_(torch.is_grad_enabled()), Listener()
    coded, error = attempt(latent._replace(y=y), listener)
    steps = listener.heard[-len(ORDER) :]  # what comes before stays
    cost = (error + listener.bits()).detach()
    return _Seen(y, coded.y_hat.detach(), error, steps, cost)


def _choose_moves(seen: _Seen, steps: Tensor, curvature: Tensor) -> Tensor:
    """Steps that each symbol should move by if no other does: -1, 0 or 1, (B, M, h, w)."""
    bits = [laplace_bits(s, d.mean, d.log_scale).sum() for s, d in seen.steps]
    (slope,) = torch.autograd.grad(seen.error.sum(), seen.y, retain_graph=True)
    (others,) = torch.autograd.grad(torch.stack(bits).sum(), seen.y)
    limit = SLOPE_LIMIT / CURVATURE * curvature
    slope = torch.maximum(torch.minimum(slope * steps, limit), -limit)
    slope = slope + (others * steps).clamp(-OTHERS_LIMIT, OTHERS_LIMIT)
    with torch.no_grad():
        up, down = (_own_cost(seen.steps, by, slope) + by * slope + curvature for by in (1.0, -1.0))
    return torch.where(torch.minimum(up, down) < 0, torch.where(up < down, 1.0, -1.0), 0.0)


def _own_cost(heard: list[tuple[Tensor, Distribution]], by: float, like: Tensor) -> Tensor:
    """Bits that each symbol costs more after a move; infinite above `OWN_LIMIT` and uncoded."""
    total = torch.zeros_like(like)
    size = (like.shape[2], like.shape[3])
    for index, (symbols, known) in enumerate(heard):
        bits = [laplace_bits(s, known.mean, known.log_scale) for s in (symbols + by, symbols)]
        more = bits[0] - bits[1]
        total = total + put(more.masked_fill(more > OWN_LIMIT, torch.inf), index, size)
    return total


def _chequerboard(like: Tensor, number: int) -> Tensor:
    """Ones where pass `number` moves symbols, zeros elsewhere; (M, h, w)."""
    axes = [torch.arange(n, device=like.device) for n in like.shape[1:]]
    channel, row, column = torch.meshgrid(*axes, indexing="ij")
    return ((channel + row + column + number) % 2).to(like.dtype)


def _where(is_so: Tensor, values: Tensor, others: Tensor) -> Tensor:
    """Choose by picture; `is_so` is (B,)."""
    return torch.where(is_so.view(-1, *[1] * (values.dim() - 1)), values, others)
