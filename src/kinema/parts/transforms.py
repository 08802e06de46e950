"""Analysis and synthesis of a picture: what a block transform misses.

Blocks of cosines (`parts/block_cosines.py`) carry what is coded; convolutional branches that start
as nothing learn the rest: shape-adaptive bases in the analysis, deblocking and texture in the
synthesis. Both know blocks as whole ones of 16x16 luma samples, however they are divided.

    analysis   x 96@1/8 --- cosines ------------------------------- (+) --- y M@1/16
                   `------- blocks@1/8 --- down --- blocks@1/16 ----'
    synthesis  y --- cosines back --- rough 96@1/8 ---------------------- (+) --- x_hat 96@1/8
               rough --- cosines --- blocks@1/16 --- up --- (+) --- blocks@1/8 --- head ---'
                                                    rough --'

Source: the two-resolution layout of DCVC-RT's intra codec (arXiv 2502.20762), 4:2:0 planes by
pixel-unshuffle and the cosines being ours.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.blocks import FreeBlock, GridBlock
from kinema.nn.exact import Activation, GridConv, GridLayer, add_clipped
from kinema.parts.planes import CHANNELS, FRACTION_BITS
from kinema.parts.quality import QualityTable

FREE_BITS = 16  # after the point of the analysis's table: fine enough to be as good as free
BRANCH_GAIN = 256.0  # amplitude of a branch output of 1, near 0: the spread of a channel
BRANCH_REACH = 1024.0  # most that the branch adds: else it fills weak components with features
KNOTS = 8


@dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """Widths and depths of analysis and synthesis."""

    latent_channels: int = 384  # a complete basis: any rate can be reached
    fine_channels: int = 128  # at 1/8
    coarse_channels: int = 192  # at 1/16
    analysis_fine_blocks: int = 4
    analysis_coarse_blocks: int = 2
    synthesis_fine_blocks: int = 6
    synthesis_coarse_blocks: int = 2


class Analysis(nn.Module):
    """What g_a adds to the cosines of a picture; encoder only, ordinary floating point.

    Shape: (B, 96, H/8, W/8) picture units -> (B, M, H/16, W/16) amplitudes, up to BRANCH_REACH.
    """

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        fine, coarse = config.fine_channels, config.coarse_channels
        self.enter = nn.Conv2d(CHANNELS, fine, 1)
        self.quality = QualityTable(torch.zeros(KNOTS, fine), fraction_bits=FREE_BITS)
        self.fine = nn.Sequential(*[FreeBlock(fine) for _ in range(config.analysis_fine_blocks)])
        self.down = nn.Conv2d(fine, coarse, 2, stride=2)
        self.coarse = nn.Sequential(
            *[FreeBlock(coarse) for _ in range(config.analysis_coarse_blocks)]
        )
        self.leave = nn.Conv2d(coarse, config.latent_channels, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: Tensor, crf: Tensor) -> Tensor:
        """Look at `x` (B, 96, H/8, W/8) for the qualities `crf` (B,), 0 to 63."""
        f = self.enter(x * (1 / 256)) + self.quality(crf)[:, :, None, None].to(x.dtype)
        f = self.coarse(self.down(self.fine(f)))
        return BRANCH_REACH * torch.tanh(self.leave(f).float() * (BRANCH_GAIN / BRANCH_REACH))


class Synthesis(GridLayer):
    """What g_s adds to the picture that blocks make, in exact arithmetic.

    Shape: (B, 96, H/8, W/8) picture units -> the same, multiples of 2**-FRACTION_BITS.
    """

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        fine, coarse = config.fine_channels, config.coarse_channels
        self.enter = GridConv(config.latent_channels, coarse)
        self.coarse = nn.Sequential(
            *[GridBlock(coarse) for _ in range(config.synthesis_coarse_blocks)]
        )
        self.up = GridConv(coarse, fine * 4, Activation.LINEAR)
        self.look = GridConv(CHANNELS, fine, Activation.LINEAR)
        self.quality = QualityTable(torch.zeros(KNOTS, fine), unit=64.0)
        self.fine = nn.Sequential(*[GridBlock(fine) for _ in range(config.synthesis_fine_blocks)])
        self.head = GridConv(
            fine, CHANNELS, Activation.LINEAR, fraction_bits=FRACTION_BITS, gain=0.0
        )

    def forward(self, rough: Tensor, whole: Tensor, latent: Tensor, crf: Tensor) -> Tensor:
        """Reconstruct.

        Args:
            rough: the picture that blocks make, (B, 96, H/8, W/8), in 2**-FRACTION_BITS.
            whole: the same on the grid.
            latent: its cosines, (B, M, H/16, W/16) on the grid.
            crf: qualities, (B,).
        """
        f = F.pixel_shuffle(self.up(self.coarse(self.enter(latent))), 2)
        f = f + self.quality(crf)[:, :, None, None].to(f.dtype)
        return rough + self.head(self.fine(add_clipped(f, self.look(whole))))
