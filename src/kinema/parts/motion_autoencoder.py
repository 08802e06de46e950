"""Autoencoder of a dense flow, in ordinary floating point: 2@1 to 64@1/16 and back.

Source: the motion transforms of DCVC-DC (arXiv 2302.14402): 64 channels, a block after each change
of resolution. Deviation: the blocks are those of DCVC-RT (arXiv 2502.20762).
"""

from torch import Tensor, nn

from kinema.nn.blocks import WsiluBlock
from kinema.nn.residual import SubpixelStep, conv


class FlowAnalysis(nn.Module):
    """Encoder only. Shape: (B, 2, H, W), samples -> (B, M, H/16, W/16)."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.nets = nn.Sequential(
            conv(2, width, stride=2), WsiluBlock(width, width),
            conv(width, width, stride=2), WsiluBlock(width, width),
            conv(width, width, stride=2), WsiluBlock(width, width),
            conv(width, latent, stride=2),
        )  # fmt: skip

    def forward(self, flow: Tensor) -> Tensor:
        """Transform a flow."""
        return self.nets(flow)


class FlowSynthesis(nn.Module):
    """Shape: (B, M, H/16, W/16) -> (B, 2, H, W), samples; from the first step on near 0."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.nets = nn.Sequential(
            WsiluBlock(latent, width), SubpixelStep(width, width), WsiluBlock(width, width),
            SubpixelStep(width, width), WsiluBlock(width, width),
            SubpixelStep(width, width), WsiluBlock(width, width), SubpixelStep(width, 2),
        )  # fmt: skip

    def forward(self, y_hat: Tensor) -> Tensor:
        """Reconstruct a flow."""
        return self.nets(y_hat).float()
