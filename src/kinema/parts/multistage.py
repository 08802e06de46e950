"""The multistage context model: a latent in nine steps, four groups of channels, places by places.

Groups grow from few channels to many. The first is coded in four steps, one place of each 2x2 cell
after the other; the second and the third in two checkerboards; the last at once. Each step knows
everything coded before it.

Source: TinyLIC (Lu, Ma, arXiv 2204.11448) and its public code. Deviations: no masked kernels, a
kernel sees zeros where nothing is known yet, which gives the same at the places that count; the
nets of channels look at known groups alone, what the priors tell comes in at each place.
"""

import math
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from kinema.nn.residual import conv
from kinema.parts.channels import Channel, Distribution

Places = tuple[tuple[int, int], ...]  # (row, column) in each 2x2 cell
_EVEN, _ODD = ((0, 0), (1, 1)), ((0, 1), (1, 0))
# Places of each step, by group.
STEPS: tuple[tuple[Places, ...], ...] = (
    (((0, 0),), ((1, 1),), ((0, 1),), ((1, 0),)),
    (_ODD, _EVEN),
    (_EVEN, _ODD),
    ((*_EVEN, *_ODD),),
)
KERNELS = ((3, 5, 5), (5,), (5,), ())  # of the nets that look around, for steps after the first
NUM_GROUPS = len(STEPS)
START_LOG_SCALE = -1.0  # most symbols are zero


def group_sizes(channels: int) -> list[int]:
    """Cut channels by the cosine rule: few first, many last."""
    angle = math.pi / (2 * NUM_GROUPS)
    edges = [math.ceil(math.cos(t * angle) * channels) for t in range(NUM_GROUPS)]
    return [a - b for a, b in pairwise([*edges, 0])]


class MultistageContext(nn.Module):
    """Carries a latent step by step, off the means it predicts."""

    def __init__(self, channels: int, features: int, hidden: int) -> None:
        """Create the nets.

        Args:
            channels: M of the latent.
            features: of what hyper-prior and priors tell.
            hidden: width of the nets.
        """
        super().__init__()
        self.sizes = group_sizes(channels)
        self.by_channel, self.by_place = nn.ModuleList(), nn.ModuleList()
        self.parameters_of = nn.ModuleList()
        known = 0
        for size, kernels in zip(self.sizes, KERNELS, strict=True):
            told = hidden if known else 0
            if known:
                self.by_channel.append(_channel_net(known, hidden))
            looks = [conv(size, 2 * size, kernel) for kernel in kernels]
            self.by_place.append(nn.ModuleList(looks))
            seen = features + told + (2 * size if kernels else 0)
            self.parameters_of.append(_parameter_net(seen, hidden, 2 * size))
            known += size

    def code(self, y: Tensor | None, features: Tensor, channel: Channel) -> Tensor:
        """Carry a latent through `channel`.

        Args:
            y: (B, M, h, w) in steps; None when decoding.
            features: what is known of it, (B, F, h, w).
            channel: where the symbols go to, or come from.

        Returns:
            the latent as the decoder knows it, (B, M, h, w).
        """
        done: list[Tensor] = []
        parts = [None] * NUM_GROUPS if y is None else torch.split(y, self.sizes, 1)
        for index, part in enumerate(parts):
            told = [features]
            if done:
                told.append(self.by_channel[index - 1](torch.cat(done, 1)))
            done.append(self._code_group(index, part, torch.cat(told, 1), channel))
        return torch.cat(done, 1)

    def _code_group(self, index: int, y: Tensor | None, told: Tensor, channel: Channel) -> Tensor:
        size, (count, _, height, width) = self.sizes[index], told.shape
        known = told.new_zeros(count, size, height, width, dtype=torch.float32)
        looks = [None, *self.by_place[index]]  # type: ignore[misc]  # a list of modules
        for step, (places, look) in enumerate(zip(STEPS[index], looks, strict=True)):
            seen = told
            if self.by_place[index]:
                around = told.new_zeros(count, 2 * size, height, width) if not step else look(known)
                seen = torch.cat([told, around], 1)
            log_scale, mean = self.parameters_of[index](seen).float().chunk(2, 1)
            inside = positions(size, (height, width), places, told.device)
            distribution = Distribution(torch.zeros_like(mean), log_scale, inside)
            symbols = channel.carry(None if y is None else y - mean, distribution)
            here = distribution.scatter(distribution.gather(mean))
            known = known + symbols.to(mean.dtype) + here
        return known


@lru_cache(maxsize=64)
def positions(
    channels: int, size: tuple[int, int], places: Places, device: torch.device
) -> Tensor | None:
    """Tell which elements of a group a step codes: as `Distribution.inside`; None if all."""
    if len(places) == len(STEPS[0]):
        return None
    with torch.inference_mode(mode=False):  # what is kept must also serve a training step
        mask = torch.zeros(*size, channels, dtype=torch.bool, device=device)
        for row, column in places:
            mask[row::2, column::2] = True
        return mask.flatten().nonzero().squeeze(1)


def _channel_net(known: int, hidden: int) -> nn.Sequential:
    """From the groups before to what they tell."""
    return nn.Sequential(
        conv(known, hidden, 5), nn.GELU(), conv(hidden, hidden, 5), nn.GELU(), conv(hidden, hidden)
    )


def _parameter_net(seen: int, hidden: int, parameters: int) -> nn.Sequential:
    """From everything known at a place to log-scales and means."""
    last = nn.Conv2d(hidden, parameters, 1)
    with torch.no_grad():
        last.weight.mul_(0.3)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # it has one
        last.bias[: parameters // 2] = START_LOG_SCALE  # type: ignore[index]  # as above
    return nn.Sequential(
        nn.Conv2d(seen, 2 * hidden, 1), nn.GELU(), nn.Conv2d(2 * hidden, hidden, 1), nn.GELU(), last
    )
