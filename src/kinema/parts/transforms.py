"""Analysis g_a and synthesis g_s of a picture: a linear transform and what it misses.

The linear path is a block transform, 16x16 for luma and 8x8 for chroma, that starts as a cosine
transform; convolutional branches that start as nothing learn the rest: shape-adaptive bases in the
analysis, deblocking and texture in the synthesis.

    analysis   x 96@1/8 --- fold 2x2 --- linear ------------------- (+) --- y M@1/16
                   `------- blocks@1/8 --- down --- blocks@1/16 ----'
    synthesis  y --- linear --- unfold 2x2 --- x_linear 96@1/8 ------------- (+) --- x_hat 96@1/8
               `---- blocks@1/16 --- up ---(+)--- blocks@1/8 --- head -------'
                                 x_linear --'

Source: the two-resolution layout of DCVC-RT's intra codec (arXiv 2502.20762), 4:2:0 planes by
pixel-unshuffle and the linear path being ours.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.blocks import FreeBlock, GridBlock
from kinema.nn.exact import (
    HIGH,
    LOW,
    Activation,
    Arithmetic,
    GridConv,
    GridLayer,
    add_clipped,
    whole_tensor,
)
from kinema.parts.planes import CHANNELS, CHROMA_WEIGHT, LUMA_WEIGHT, STEPS_PER_LEVEL
from kinema.parts.quality import QualityTable

PATCH_CHANNELS = CHANNELS * 4
MATRIX_BITS = 16  # the frozen linear synthesis has this many bits after the point
AMPLITUDE_BITS = 6  # after the point of a decoded amplitude: those of a frozen quantiser step
FREE_BITS = 16  # after the point of the analysis's table: fine enough to be as good as free
BRANCH_GAIN = 256.0  # amplitude of a branch output of 1, near 0: the spread of a channel
BRANCH_REACH = 1024.0  # most that the branch adds: else it fills weak components with features
REACH = 2.0**15  # amplitudes beyond this come from hostile streams only
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
    """g_a: picture to latent; encoder only, ordinary floating point.

    Shape: (B, 96, H/8, W/8) picture units -> (B, M, H/16, W/16), spread about 256 per channel.
    """

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        fine, coarse = config.fine_channels, config.coarse_channels
        self.linear = nn.Parameter(torch.zeros(config.latent_channels, PATCH_CHANNELS))
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
        """Transform `x` (B, 96, H/8, W/8) for the qualities `crf` (B,), 0 to 63."""
        y = self.blocks(x)
        f = self.enter(x * (1 / 256)) + self.quality(crf)[:, :, None, None].to(x.dtype)
        f = self.coarse(self.down(self.fine(f)))
        return y + BRANCH_REACH * torch.tanh(self.leave(f).float() * (BRANCH_GAIN / BRANCH_REACH))

    def blocks(self, x: Tensor) -> Tensor:
        """Apply the block transform alone: (B, 96, H/8, W/8) -> (B, M, H/16, W/16)."""
        with torch.autocast(x.device.type, enabled=False):
            patches = F.pixel_unshuffle(x.float(), 2)
            return F.conv2d(patches, self.linear.float()[:, :, None, None])


class Synthesis(GridLayer):
    """g_s: latent to picture, in exact arithmetic.

    Shape: (B, M, H/16, W/16) latent amplitudes -> (B, 96, H/8, W/8), picture units.
    """

    tensor_names = ("linear",)

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        fine, coarse = config.fine_channels, config.coarse_channels
        self.linear = nn.Parameter(torch.zeros(PATCH_CHANNELS, config.latent_channels))
        self.enter = GridConv(config.latent_channels, coarse)
        self.coarse = nn.Sequential(
            *[GridBlock(coarse) for _ in range(config.synthesis_coarse_blocks)]
        )
        self.up = GridConv(coarse, fine * 4, Activation.LINEAR)
        self.look = GridConv(CHANNELS, fine, Activation.LINEAR)
        self.quality = QualityTable(torch.zeros(KNOTS, fine), unit=64.0)
        self.fine = nn.Sequential(*[GridBlock(fine) for _ in range(config.synthesis_fine_blocks)])
        self.head = GridConv(fine, CHANNELS, Activation.LINEAR, gain=0.0)

    def forward(self, y_hat: Tensor, crf: Tensor) -> Tensor:
        """Reconstruct from amplitudes `y_hat` (B, M, H/16, W/16) at the qualities `crf` (B,)."""
        x_linear = self.blocks(y_hat)
        f = self.enter(self.on_grid(y_hat).float().clamp(LOW, HIGH))
        f = F.pixel_shuffle(self.up(self.coarse(f)), 2)
        f = f + self.quality(crf)[:, :, None, None].to(f.dtype)
        f = self.fine(add_clipped(f, self.look(x_linear)))
        return x_linear + self.head(f)

    def blocks(self, y_hat: Tensor) -> Tensor:
        """Apply the block transform alone: (B, M, H/16, W/16) -> (B, 96, H/8, W/8), on the grid."""
        return self.on_grid(self._linear(y_hat)).float().clamp(LOW, HIGH)

    def grid_tensors(self) -> dict[str, Tensor]:
        """The block transform, in steps of 2**-MATRIX_BITS: `linear` (384, M) int32.

        Raises:
            ConfigError: its sums could leave the exact range of fp64.
        """
        return {"linear": whole_matrix(self.linear, REACH * 2.0**AMPLITUDE_BITS)}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take the whole-number block transform and run frozen from now on.

        Raises:
            ConfigError: another type or shape, or sums that could leave the exact range of fp64.
        """
        self.linear = load_matrix(tensors, self.linear.shape, REACH * 2.0**AMPLITUDE_BITS)
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The block transform as training has it."""
        return {"linear": tensors["linear"] * 2.0**-MATRIX_BITS}

    def latent_weight(self) -> Tensor:
        """Squared error of the planes, weighted as in training, per squared latent error: (M,).

        For the encoder's decisions only: nets are left out, the block transform says it all.
        """
        power = (self.linear.detach().double() / STEPS_PER_LEVEL).square()
        power = power.view(CHANNELS, 4, -1)
        luma, chroma = power[:64].sum((0, 1)), power[64:].sum((0, 1))
        return LUMA_WEIGHT * luma + 4 * CHROMA_WEIGHT * chroma

    def _linear(self, y_hat: Tensor) -> Tensor:
        """The block transform: fp64 once frozen, where its sums stay exact."""
        with torch.autocast(y_hat.device.type, enabled=False):
            exact = self.arithmetic is Arithmetic.FROZEN
            y_hat = (y_hat.double() if exact else y_hat.float()).clamp(-REACH, REACH)
            patches = torch.matmul(self.linear.to(y_hat.dtype), y_hat.flatten(2))
            return F.pixel_shuffle(patches.view(*patches.shape[:2], *y_hat.shape[2:]), 2)


def whole_matrix(linear: Tensor, reach: float) -> Tensor:
    """A block transform in steps of 2**-MATRIX_BITS, int32.

    Args:
        linear: (outputs, inputs).
        reach: largest input, either way, in the units in which inputs are whole numbers.

    Raises:
        ConfigError: its sums could leave the exact range of fp64.
    """
    matrix = torch.round(linear.detach().double() * 2.0**MATRIX_BITS)
    _check_matrix(matrix, reach)
    return matrix.to(torch.int32)


def load_matrix(tensors: dict[str, Tensor], shape: torch.Size, reach: float) -> nn.Parameter:
    """Invert `whole_matrix` for the tensor `linear` of a file of weights; fp64, frozen.

    Raises:
        ConfigError: another type or shape, or sums that could leave the exact range of fp64.
    """
    matrix = whole_tensor(tensors, "linear", torch.int32, shape).double()
    _check_matrix(matrix, reach)
    return nn.Parameter(matrix * 2.0**-MATRIX_BITS, requires_grad=False)


def _check_matrix(matrix: Tensor, reach: float) -> None:
    """Refuse a whole-number block transform whose sums could pass 2**53."""
    total = float(matrix.abs().sum(1).max()) * reach
    if not total < 2.0**53:
        raise ConfigError(f"linear: sums reach {total:.3g}, exact below {2.0**53:.3g}")
