"""Layers of published codecs, in ordinary floating point: residual blocks, GDN, sub-pixel steps."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BlockKind = Literal["residual", "depthwise"]
SLOPE = 0.1  # of leaky ReLUs below 0
FINE_SLOPE = 0.01  # of that before a depthwise convolution
MAX_WIDE = 1024  # channels of a depthwise block's mixer, but at least twice its own
SPREAD_START, SELF_START, OTHER_START = (
    1.0,
    0.1,
    1e-3,
)  # of GDN: beta; gamma on and off the diagonal


def conv(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Make a convolution that keeps the size, or divides it by the stride."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)


def silent(layer: nn.Conv2d) -> nn.Conv2d:
    """Let a convolution begin as zero, so that what it adds to is at first as if alone."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def leaky(x: Tensor) -> Tensor:
    """Apply the leaky ReLU of residual blocks, any shape."""
    return F.leaky_relu(x, SLOPE)


class Leaky(nn.Module):
    """`leaky` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return leaky(x)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions as an update of the stream, zero at first.

    Shape: (B, C, H, W) -> the same.
    """

    def __init__(self, channels: int, hidden: int | None = None) -> None:
        """Create the block, with fewer channels between its convolutions where `hidden` says so."""
        super().__init__()
        self.enter = conv(channels, hidden or channels)
        self.leave = silent(conv(hidden or channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Update `x`."""
        return x + self.leave(leaky(self.enter(leaky(x))))


class DepthwiseBlock(nn.Module):
    """Depthwise 3x3 for space, 1x1 for channels; each an update of the stream, zero at first.

    Shape: (B, C, H, W) -> the same.

    Source: DCVC-DC (arXiv 2302.14402) and its public code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = max(min(4 * channels, MAX_WIDE), 2 * channels)
        self.enter = nn.Conv2d(channels, channels, 1)
        self.space = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.leave = silent(nn.Conv2d(channels, channels, 1))
        self.widen = nn.Conv2d(channels, wide, 1)
        self.narrow = silent(nn.Conv2d(wide, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Update `x` by what is around, then place by place."""
        x = x + self.leave(self.space(F.leaky_relu(self.enter(x), FINE_SLOPE)))
        return x + self.narrow(leaky(self.widen(x)))


def block(kind: BlockKind, channels: int, hidden: int | None = None) -> nn.Module:
    """Make a block of a kind; `hidden` is of residual ones."""
    return DepthwiseBlock(channels) if kind == "depthwise" else ResidualBlock(channels, hidden)


class Bottleneck(nn.Module):
    """1x1, 3x3 on half the channels, 1x1 as an update of the stream, zero at first; after ELIC.

    Shape: (B, C, H, W) -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, channels // 2, 1)
        self.space = conv(channels // 2, channels // 2)
        self.widen = silent(nn.Conv2d(channels // 2, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Update `x`."""
        return x + self.widen(F.relu(self.space(F.relu(self.narrow(x)))))


class Gdn(nn.Module):
    """Generalised divisive normalisation, or its inverse. Shape: (B, C, H, W) -> the same.

    y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j**2); the inverse multiplies. Parameters are the
    square roots of beta and gamma.

    Source: Balle et al., arXiv 1511.06281.
    """

    def __init__(self, channels: int, *, is_inverse: bool = False) -> None:
        super().__init__()
        gamma = torch.full((channels, channels), OTHER_START) + SELF_START * torch.eye(channels)
        self.gamma = nn.Parameter(gamma.sqrt())
        self.beta = nn.Parameter(torch.full((channels,), SPREAD_START))
        self.is_inverse = is_inverse

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the energy of all channels at a place."""
        gamma = self.gamma.square()[:, :, None, None]
        energy = F.conv2d(x.square(), gamma, self.beta.square() + 1e-6)
        return x * (torch.sqrt(energy) if self.is_inverse else torch.rsqrt(energy))


class SubpixelStep(nn.Module):
    """Twice the size by pixel-shuffle. Shape: (B, in, h, w) -> (B, out, 2h, 2w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.widen = conv(in_channels, 4 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Widen, shuffle."""
        return F.pixel_shuffle(self.widen(x), 2)
