"""What the distortion of each P frame weighs in the loss: alike, by its place, by its references.

A strategy is a value, so that a stage can name it. It looks at a whole clip: errors of all frames,
without gradients, go in; weights come out.

Source: hierarchical weights, public code around DCVC-DC (arXiv 2302.14402); weights that follow
the quality of the references, CAMA (arXiv 2512.12936), whose formula is unread. Ours: the formula,
which references count, and that errors are judged within a clip, so that a clip which is hard to
code does not count as badly referenced throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

CYCLE = (0.5, 1.2, 0.5, 0.9)  # by distance to the I frame, modulo 4
BEST_PLACE = 1  # in the cycle, of the frames that are worth most


class FrameWeights(Protocol):
    """Tells what the P frames of a clip weigh."""

    def layer(self, index: int) -> float:
        """What place `index`, counted from the I frame, weighs before anything is coded."""
        ...

    def weigh(self, errors: Sequence[Tensor]) -> Tensor:
        """Weigh the P frames of clips.

        Args:
            errors: distortion of each frame, the I frame first, (B,) each, without gradients.

        Returns:
            (len(errors) - 1, B).
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """All frames weigh 1."""

    def layer(self, index: int) -> float:
        """1."""
        del index
        return 1.0

    def weigh(self, errors: Sequence[Tensor]) -> Tensor:
        """Ones."""
        return torch.ones_like(torch.stack(list(errors[1:])))


@dataclass(frozen=True)
class Hierarchical:
    """Frames weigh by their place in a cycle that begins at the I frame."""

    cycle: tuple[float, ...] = CYCLE

    def layer(self, index: int) -> float:
        """The weight at this place of the cycle."""
        return self.cycle[index % len(self.cycle)]

    def weigh(self, errors: Sequence[Tensor]) -> Tensor:
        """The same for all clips."""
        layers = errors[0].new_tensor([self.layer(index) for index in range(1, len(errors))])
        return layers[:, None].expand(-1, len(errors[0]))


@dataclass(frozen=True)
class QualityAware(Hierarchical):
    """Hierarchical weights; a frame with poor references weighs more, so that it repairs them.

    References are the frame before and the latest one of the best place. Their errors, times their
    own weights, are compared with the mean of the clip; the mean weight of a clip stays as it was.
    """

    shares: tuple[float, float] = (0.7, 0.3)  # of the frame before, of the latest good one
    power: float = 0.5
    least: float = 0.7  # bounds of what quality does to a weight
    most: float = 1.5

    def weigh(self, errors: Sequence[Tensor]) -> Tensor:
        """Weigh by place and by references."""
        layers = super().weigh(errors)
        own = torch.cat([torch.ones_like(layers[:1]), layers])  # the I frame weighs 1
        level = torch.stack(list(errors)) * own
        relative = level / level.mean(0, keepdim=True).clamp(min=1e-9)
        near, far = self.shares
        seen = [
            near * relative[index - 1] + far * relative[latest_good(index)]
            for index in range(1, len(errors))
        ]
        factor = (torch.stack(seen) ** self.power).clamp(self.least, self.most)
        weights = layers * factor
        return weights * (layers.mean(0) / weights.mean(0))


def latest_good(index: int) -> int:
    """The latest frame before `index` at the best place of the cycle; else the I frame, 0."""
    good = (index - 1 - BEST_PLACE) // len(CYCLE) * len(CYCLE) + BEST_PLACE
    return max(good, 0)
