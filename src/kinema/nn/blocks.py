"""Residual blocks: depthwise 3x3 for space, 1x1 for channels; on the grid, free, and as published.

Source: DCVC-RT (arXiv 2502.20762), DepthConvBlock. Deviations of `GridBlock` and `FreeBlock`: the
channel mixer widens twice instead of four times, and on the grid the nonlinearity is a ReLU that
the clamp gives for nothing.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
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


class WsiluBlock(nn.Module):
    """DepthConv block as published, in ordinary floating point.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W); 8 C**2 + 17 C parameters for C
    channels, and those of a 1x1 convolution before everything else where there is an adaptor.
    """

    def __init__(self, in_channels: int, out_channels: int, *, force_adaptor: bool = False) -> None:
        """Create the block.

        Args:
            in_channels: channels of the input.
            out_channels: channels C of everything after the adaptor.
            force_adaptor: have one even where the numbers of channels agree.
        """
        super().__init__()
        c = out_channels
        has_adaptor = force_adaptor or in_channels != c
        self.adapt = nn.Conv2d(in_channels, c, 1) if has_adaptor else nn.Identity()
        self.enter = nn.Conv2d(c, c, 1)
        self.space = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.leave = nn.Conv2d(c, c, 1)
        self.widen = nn.Conv2d(c, 4 * c, 1)
        self.narrow = nn.Conv2d(2 * c, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix space, then channels; each as an update of the stream."""
        x = self.adapt(x)
        x = x + self.leave(self.space(wsilu(self.enter(x))))
        first, second = wsilu(self.widen(x)).chunk(2, 1)
        return x + self.narrow(first + second)


def wsilu(x: Tensor) -> Tensor:
    """Apply x * sigmoid(4 x), any shape: a SiLU that is closer to a ReLU."""
    return x * torch.sigmoid(4.0 * x)


def wsilu_blocks(*channels: int) -> nn.Sequential:
    """Chain blocks from each number of channels to the next."""
    return nn.Sequential(*[WsiluBlock(a, b) for a, b in pairwise(channels)])


def one_by_one(net: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Run a net in floating point so that what a picture gives does not depend on its batch.

    How a sum of products is cut into parts, and so its last bit, depends on the shape of all that
    is multiplied. Where gradients are wanted, in training, that does no harm: all run at once.

    Args:
        net: from tensors (B, ...) to one.
        inputs: its tensors, (B, ...) each.
    """
    if torch.is_grad_enabled() or len(inputs[0]) == 1:
        return net(*inputs)
    pictures = zip(*(torch.split(tensor, 1) for tensor in inputs), strict=True)
    return torch.cat([net(*picture) for picture in pictures])
