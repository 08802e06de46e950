"""The hyper-transform of published size, in ordinary floating point: h_a, h_s and the model of z.

Source: DCVC-RT (arXiv 2502.20762) and its public code. Deviation: z has a Laplacian per channel and
quality; docs/papers/intra.md.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.blocks import WsiluBlock
from kinema.parts.channels import Distribution
from kinema.parts.quality import QualityTable

NUM_QUALITIES = 64  # rows of every quality table: one per whole crf


class SubpixelUp(nn.Module):
    """Twice the size, then a block. Shape: (B, in, h, w) -> (B, out, 2h, 2w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(in_channels, out_channels * 4, 1)
        self.block = WsiluBlock(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Widen, shuffle, mix."""
        return self.block(F.pixel_shuffle(self.widen(x), 2))


class PaperHyper(nn.Module):
    """h_a, h_s and the distribution of the hyper-latent z at 1/64."""

    def __init__(self, latent_channels: int, hyper_channels: int) -> None:
        super().__init__()
        latent, width = latent_channels, hyper_channels
        self.down = nn.Sequential(
            WsiluBlock(latent, width),
            nn.Conv2d(width, width, 2, stride=2),
            WsiluBlock(width, width),
            nn.Conv2d(width, width, 2, stride=2),
            WsiluBlock(width, width),
        )
        self.mean = QualityTable(torch.zeros(NUM_QUALITIES, width))
        self.log_scale = QualityTable(torch.zeros(NUM_QUALITIES, width))
        self.up = nn.Sequential(
            SubpixelUp(width, width), SubpixelUp(width, width), WsiluBlock(width, latent)
        )

    def analysis(self, y: Tensor) -> Tensor:
        """h_a: y (B, M, h, w) -> z (B, Z, ceil(h/4), ceil(w/4)); encoder only."""
        height, width = y.shape[-2:]
        return self.down(F.pad(y, (0, -width % 4, 0, -height % 4), mode="replicate"))

    def distribution(self, crf: Tensor, size: tuple[int, ...]) -> Distribution:
        """Tell what is known of z, of spatial `size`, at the qualities `crf` (B,)."""
        mean = self.mean(crf)[:, :, None, None].expand(-1, -1, *size)
        log_scale = self.log_scale(crf)[:, :, None, None].expand(-1, -1, *size)
        return Distribution(mean, log_scale)

    def synthesis(self, z_hat: Tensor) -> Tensor:
        """h_s: symbols of z (B, Z, h, w) -> features (B, M, 4h, 4w)."""
        return self.up(z_hat.float())
