"""Orders in which published codecs code a latent: at once, in four steps, or in nine.

What priors tell is (B, 2 M, h, w). At once: it is log-scales and means. In four steps: likewise for
the first; nets add to it, for the others, what is known of the latent by then. In nine: the
multistage context model makes its own of it.

Source: DCVC-TCM (arXiv 2111.13850), hyper-prior and temporal prior alone; DCVC-DC (arXiv
2302.14402), four steps; its depthwise blocks in the fusion of priors. In ordinary floating point.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from kinema.nn.residual import DepthwiseBlock, Leaky, conv, silent
from kinema.parts.channels import Channel, Distribution
from kinema.parts.multistage import START_LOG_SCALE, MultistageContext
from kinema.parts.quadtree import ORDER, check_channels, cut, inside, put

Order = Literal["multistage", "quadtree", "single"]
Fusion = Literal["places", "residual", "depthwise"]


class SingleStep(nn.Module):
    """Carries a latent at once: no element tells anything of another."""

    def code(self, y: Tensor | None, features: Tensor, channel: Channel) -> Tensor:
        """Carry a latent through `channel`.

        Args:
            y: (B, M, h, w) in steps; None when decoding.
            features: log-scales and means, (B, 2 M, h, w).
            channel: where the symbols go to, or come from.

        Returns:
            the latent as the decoder knows it, (B, M, h, w).
        """
        log_scale, mean = features.float().chunk(2, 1)
        return _carry(y, mean, Distribution(torch.zeros_like(mean), _lowered(log_scale)), channel)


class QuadtreeContext(nn.Module):
    """Carries a latent in four steps; it begins as `SingleStep`."""

    def __init__(self, channels: int, hidden: int) -> None:
        """Create the nets; `channels` is a multiple of 4."""
        super().__init__()
        check_channels(channels)
        self.looks = nn.ModuleList(
            nn.Sequential(
                conv(3 * channels, 2 * hidden), Leaky(), DepthwiseBlock(2 * hidden),
                silent(nn.Conv2d(2 * hidden, 2 * channels, 1)),
            )
            for _ in ORDER[1:]
        )  # fmt: skip

    def code(self, y: Tensor | None, features: Tensor, channel: Channel) -> Tensor:
        """Carry a latent through `channel`; arguments as `SingleStep.code`."""
        count, double, height, width = features.shape
        known = features.new_zeros(count, double // 2, height, width, dtype=torch.float32)
        for index in range(len(ORDER)):
            told = features
            if index:
                told = told + self.looks[index - 1](torch.cat([features, known], 1))
            log_scale, mean = (cut(part, index) for part in told.float().chunk(2, 1))
            places = inside(double // 2, (height, width), index, features.device)
            distribution = Distribution(torch.zeros_like(mean), _lowered(log_scale), places)
            part = None if y is None else cut(y, index)
            known = known + put(_carry(part, mean, distribution, channel), index, (height, width))
        return known


def order_of(
    order: Order, channels: int, hidden: int
) -> SingleStep | QuadtreeContext | MultistageContext:
    """Make what carries a latent of `channels`, with nets of width `hidden`."""
    if order == "single":
        return SingleStep()
    if order == "quadtree":
        return QuadtreeContext(channels, hidden)
    return MultistageContext(channels, 2 * channels, hidden)


def wide_fusion(kind: Fusion, channels: int) -> nn.Sequential:
    """Merge what two priors tell, 2 M channels each: three 3x3 convolutions, or blocks."""
    if kind == "depthwise":
        wide = 4 * channels
        return nn.Sequential(
            DepthwiseBlock(wide), nn.Conv2d(wide, 2 * channels, 1), DepthwiseBlock(2 * channels)
        )
    first, second = channels * 10 // 3, channels * 8 // 3
    return nn.Sequential(
        conv(4 * channels, first), Leaky(), conv(first, second), Leaky(),
        conv(second, 2 * channels),
    )  # fmt: skip


def _lowered(log_scale: Tensor) -> Tensor:
    """Nets count from where most symbols are zero."""
    return log_scale + START_LOG_SCALE


def _carry(y: Tensor | None, mean: Tensor, around: Distribution, channel: Channel) -> Tensor:
    """Carry what a latent is off its means; what is not coded counts as on them."""
    symbols = channel.carry(None if y is None else y - mean, around)
    return symbols.to(mean.dtype) + mean
