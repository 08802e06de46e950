"""Residual blocks: depthwise 3x3 for space, 1x1 for channels; one on the grid, one free.

Source: DCVC-RT (arXiv 2502.20762), DepthConvBlock. Deviation: on the grid the nonlinearity is a
ReLU that the clamp gives for nothing, and the channel mixer widens twice instead of four times.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.exact import Activation, GridConv, add_clipped


class GridBlock(nn.Module):
    """DepthConv block in exact arithmetic, for everything a decoder runs.

    Shape: (B, C, H, W) -> (B, C, H, W), whole numbers in [-2048, 2047].
    """

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        wide = channels * expansion
        self.enter = GridConv(channels, channels, Activation.RELU, gain=1.4)
        self.space = GridConv(channels, channels, depthwise=True, positive_input=True)
        self.leave = GridConv(channels, channels, Activation.LINEAR, gain=0.3)
        self.widen = GridConv(channels, wide, Activation.RELU, gain=1.4)
        self.narrow = GridConv(wide, channels, Activation.LINEAR, positive_input=True, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Mix space, then channels; each as an update of the stream."""
        x = add_clipped(x, self.leave(self.space(self.enter(x))))
        return add_clipped(x, self.narrow(self.widen(x)))


class FreeBlock(nn.Module):
    """DepthConv block in ordinary floating point, for what only the encoder runs.

    Shape: (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        wide = channels * expansion
        self.enter = nn.Conv2d(channels, channels, 1)
        self.space = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.leave = nn.Conv2d(channels, channels, 1)
        self.widen = nn.Conv2d(channels, wide, 1)
        self.narrow = nn.Conv2d(wide, channels, 1)
        for layer in (self.leave, self.narrow):
            nn.init.normal_(layer.weight, std=0.3 * layer.in_channels**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Mix space, then channels; each as an update of the stream."""
        x = x + self.leave(self.space(F.silu(self.enter(x))))
        return x + self.narrow(F.silu(self.widen(x)))
