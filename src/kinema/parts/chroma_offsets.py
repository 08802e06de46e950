"""Chroma offsets: how much coarser each chroma plane of a picture is than luma.

PSNR counts by what share an error changes, not by how much: halving the small error of a plane that
has hardly any colours is worth as much as halving a large one, and costs less. So steps follow from
the picture. Its planes should err in proportion to what they count in a score of 6:1:1; how
much they will err is told by what rounding leaves. An offset is a third of an octave, as in HEVC a
QP is a sixth; what an encoder chose comes before everything else that has to do with the latent.

Source: slice_cb_qp_offset and slice_cr_qp_offset of HEVC (ITU-T H.265, section 7.4.7.1). Of the
systems here, no paper has it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.parts.block_cosines import plane_counts
from kinema.parts.channels import Channel, Distribution

PER_OCTAVE = 3
LOWEST, HIGHEST = -4, 2
LUMA_SCORE = 6.0  # what luma's PSNR counts in the score, where each chroma plane's counts 1
DEAD_ZONE = 0.6  # of a step: amplitudes below are lost as a whole
LEAST = 1e-3  # bits that an error counts at least: black pictures have none
FACTOR_BITS = 6  # after the point of a factor
NAT_BITS = 6  # after the point of its logarithm
LOG_SCALES = (1.0, 0.2)  # of the offset of U; of what that of V is more
CERTAIN = 1e6  # bits that another offset would cost: the choice is made here


def carry_offsets(offsets: Tensor | None, count: int, channel: Channel) -> Tensor:
    """Carry offsets through `channel`.

    Args:
        offsets: of U and V, (B, 2) whole numbers; None when decoding.
        count: B.
        channel: where the symbols go to, or come from.

    Returns:
        offsets, (B, 2), LOWEST to HIGHEST.
    """
    log_scale = torch.tensor(LOG_SCALES).view(1, 2, 1, 1).expand(count, -1, -1, -1)
    told = None
    if offsets is not None:
        log_scale = log_scale.to(offsets.device)
        told = torch.stack([offsets[:, 0], offsets[:, 1] - offsets[:, 0]], 1)[:, :, None, None]
    mean, weight = torch.zeros_like(log_scale), torch.full_like(log_scale, CERTAIN)
    known = Distribution(mean, log_scale, weight=weight, is_binding=False)
    symbols = channel.carry(told, known).detach().round()[:, :, 0, 0]
    blue, more = symbols.unbind(1)
    return torch.stack([blue, blue + more], 1).clamp(LOWEST, HIGHEST).float()


@torch.no_grad()
def choose_offsets(y: Tensor, steps: Tensor, weight: Tensor | None) -> Tensor:
    """Tell the offsets with which planes err in proportion; encoder only.

    Args:
        y: amplitudes, (B, M, h, w).
        steps: of the quantiser without offsets, (B, M) amplitudes.
        weight: bits that a squared error of an amplitude costs, (B, M); None: there are none.

    Returns:
        of U and V, (B, 2) whole numbers.
    """
    if weight is None:
        return torch.zeros(len(y), 2, device=y.device)
    s = y.float().abs() / steps[:, :, None, None].float()
    lost = torch.where(s < DEAD_ZONE, s.square(), 1 / 12).double().sum((2, 3))
    error = lost * weight.double() * steps.double().square()
    planes = torch.split(error, list(plane_counts(y.shape[1])), 1)
    luma, *chroma = (plane.sum(1) for plane in planes)
    share = luma / LUMA_SCORE + LEAST
    squared = (torch.stack(chroma, 1) + LEAST) / share[:, None]
    offsets = torch.round(torch.log2(squared) * (PER_OCTAVE / 2))
    return offsets.clamp(LOWEST, HIGHEST).float()


def step_factors(offsets: Tensor, channels: int) -> Tensor:
    """By how much steps of each channel are larger than without: (B, M), multiples of 1/64."""
    table = [round(2 ** (n / PER_OCTAVE) * 2**FACTOR_BITS) for n in range(LOWEST, HIGHEST + 1)]
    return _look_up(table, _spread(offsets, channels)) * 2.0**-FACTOR_BITS


def scale_shifts(offsets: Tensor, channels: int) -> Tensor:
    """By how much log-scales, which are in steps, are smaller: (B, M) nats, multiples of 1/64."""
    nats = math.log(2) / PER_OCTAVE
    table = [round(n * nats * 2**NAT_BITS) for n in range(LOWEST, HIGHEST + 1)]
    return _look_up(table, _spread(offsets, channels)) * 2.0**-NAT_BITS


def plane_shares(offsets: Tensor) -> Tensor:
    """What errors are worth, as part of what they are without offsets; any shape."""
    return torch.exp2(offsets * (-2 / PER_OCTAVE))


def share_weight(weight: Tensor, offsets: Tensor) -> Tensor:
    """Bits that squared errors of amplitudes cost, (B, M), with offsets."""
    return weight * plane_shares(_spread(offsets, weight.shape[1])).to(weight)


def _spread(offsets: Tensor, channels: int) -> Tensor:
    """Offsets of each channel, (B, M): none of luma."""
    counts = torch.tensor(plane_counts(channels), device=offsets.device)
    return F.pad(offsets, (1, 0)).repeat_interleave(counts, 1)


def _look_up(table: list[int], offsets: Tensor) -> Tensor:
    return torch.tensor(table, device=offsets.device)[offsets.long() - LOWEST]
