"""At which resolution an encoder looks for motion: full, by a rule, or by trial of all.

Looking at pictures reduced by a factor finds longer motion, and a smoother flow that costs fewer
bits. What is coded is a flow of full resolution, so that nothing tells the factor: encoder only.

Source: training-free downsampling of CAMA (arXiv 2512.12936): factor by motion magnitude and
resolution. Unstated, ours: statistic and limits, which are settings; the trial.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.parts.optical_flow import rescale

Way = Literal["full", "rule", "trial"]
Find = Callable[[Tensor, Tensor], Tensor]  # from pictures to flows of their size, in its samples


@dataclass(frozen=True, kw_only=True)
class MotionScales:
    """How the factor is chosen."""

    way: Way = "full"
    factors: tuple[int, ...] = (1, 2, 4)  # the full resolution first
    small_side: int = 480  # samples: pictures whose shorter side is no longer are small
    small_limits: tuple[float, ...] = (8.0,)  # mean lengths from which the next factor is taken
    large_limits: tuple[float, ...] = (4.0, 16.0)  # likewise, of larger pictures

    def choose(self, flow: Tensor, size: tuple[int, int]) -> Tensor:
        """Places in `factors` by the rule.

        Args:
            flow: found at full resolution, (B, 2, ...), samples; of pictures, or of their blocks.
            size: (H, W) of the pictures.

        Returns:
            (B,).
        """
        is_small = min(size) <= self.small_side
        limits = self.small_limits if is_small else self.large_limits
        length = flow.float().square().sum(1).sqrt().mean((1, 2))
        return torch.bucketize(length, length.new_tensor(limits), right=True).clamp(
            max=len(self.factors) - 1
        )


def flows_at(find: Find, x: Tensor, reference: Tensor, factors: Sequence[int]) -> list[Tensor]:
    """Flows found at reduced resolutions, brought to the full one.

    Args:
        find: what finds flows.
        x: (B, C, H, W), sides multiples of what `find` needs times the largest factor.
        reference: likewise.
        factors: by which pictures are reduced.

    Returns:
        (B, 2, H, W), in samples, for each factor.
    """
    flows = []
    for factor in factors:
        if factor == 1:
            flows.append(find(x, reference))
            continue
        small = find(F.avg_pool2d(x, factor), F.avg_pool2d(reference, factor))
        flows.append(rescale(small.float(), factor))
    return flows


def find_flow(find: Find, x: Tensor, reference: Tensor, scales: MotionScales) -> Tensor:
    """The flow at full resolution, or what the rule says; arguments as `flows_at`."""
    flow = find(x, reference)
    if scales.way == "full":
        return flow
    places = scales.choose(flow, (x.shape[2], x.shape[3]))
    reduced = [
        flows_at(find, x, reference, [factor])[0] if bool((places == place).any()) else flow
        for place, factor in enumerate(scales.factors[1:], start=1)
    ]
    return by_places([flow, *reduced], places)


def by_places(options: Sequence[Tensor], places: Tensor) -> Tensor:
    """Take, for each picture, one of several options (B, ...), whose places are (B,)."""
    pictures = torch.arange(len(places), device=places.device)
    return torch.stack(list(options))[places, pictures]


@torch.no_grad()
def cheapest(options: Sequence[Tensor], cost: Callable[[Tensor], Tensor]) -> Tensor:
    """Take, for each picture, the option of least cost.

    Args:
        options: (B, ...) each.
        cost: gives (B,).
    """
    costs = torch.stack([cost(option) for option in options])
    return by_places(options, costs.argmin(0))
