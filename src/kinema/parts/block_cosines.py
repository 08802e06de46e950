"""Cosines of 16x16 blocks, where training begins: no learned linear transform is as sparse.

A codec that begins with random transforms codes nothing useful for thousands of steps; beside these
cosines, its nets learn what is missing. The Karhunen-Loeve transform of training patches packs as
much energy into few components, but it mixes what lies across and along edges (docs/LOG.md).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.exact import HIGH, LOW, Arithmetic, GridLayer, whole_tensor
from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT, STEPS_PER_LEVEL

SIDE = 16
SCALE = 2.0  # with the first gains, steps are near the high-rate optimum
LUMA_SHARE = 2 / 3  # of the latent's channels
LINE_BITS = 14  # after the point of a cosine; those of blocks, which are products, have twice that
GAIN_BITS = 12  # after the point of a frozen gain
MIN_GAIN = 2.0**-6
COMPONENT_BITS = 6  # after the point of a component, in levels, before blocks are put together
MAX_COMPONENT = 2.0**12  # levels; no block of 8-bit samples has more


class BlockCosines(nn.Module):
    """The best known linear start of a latent, (B, M, H/16, W/16). It has no parameters."""

    basis: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        counts = _counts(latent)
        basis = torch.zeros(latent, len(counts), SIDE, SIDE)
        first = 0
        for plane, count in enumerate(counts):
            basis[first : first + count, plane] = _cosines(count)
            first += count
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, planes: Tensor) -> Tensor:
        """Transform (B, 3, H, W)."""
        return F.conv2d(planes.float(), self.basis * SCALE, stride=SIDE)

    def inverse(self, y_hat: Tensor) -> Tensor:
        """Give back (B, 3, H, W), as far as the cosines reach."""
        return F.conv_transpose2d(y_hat.float(), self.basis / SCALE, stride=SIDE)


class CosineTransform(GridLayer):
    """Blocks of a picture to latent amplitudes and back, in exact arithmetic.

    Each channel is a cosine, low frequencies first, luma before both chroma planes; `gain` says how
    many amplitudes a level of it is. Sums are those of whole numbers in fp64, below 2**53.

    Shape: (B, 96, 2h, 2w) picture units of whole samples -> (B, M, h, w) on the grid.
    """

    tensor_names = ("gain",)
    rows: Tensor

    def __init__(self, latent_channels: int) -> None:
        """Create the layer.

        Args:
            latent_channels: M, 384 for all; fewer keep the lowest frequencies.
        """
        super().__init__()
        every = torch.split(folded_cosines(), [SIDE**2, SIDE**2 // 4, SIDE**2 // 4])
        counts = _counts(latent_channels)
        rows = torch.cat([rows[:count] for rows, count in zip(every, counts, strict=True)])
        self.num_luma = counts[0]
        self.gain = nn.Parameter(torch.ones(len(rows)))
        self.register_buffer("rows", rows, persistent=False)

    @torch.no_grad()
    def start_from(self, linear: Tensor) -> None:
        """Make amplitudes as large as those of a block transform, (M, 384)."""
        gain = (linear.double() @ self.rows.T).norm(dim=0) * STEPS_PER_LEVEL
        self.gain.copy_(gain.clamp(min=MIN_GAIN))

    def forward(self, x: Tensor) -> Tensor:
        """Transform whole samples, (B, 96, 2h, 2w)."""
        return self.on_grid(self.free(x)).float().clamp(LOW, HIGH)

    def free(self, x: Tensor) -> Tensor:
        """Transform what need not be exact: as `forward`, not rounded."""
        with torch.autocast(x.device.type, enabled=False):
            patches = F.pixel_unshuffle(x, 2).to(self._type)
            levels = torch.matmul(self.rows.to(self._type), patches.flatten(2))
            y = levels * (self.gain.to(self._type) / STEPS_PER_LEVEL)[:, None]
        return y.view(*y.shape[:2], *patches.shape[2:])

    def inverse(self, y_hat: Tensor) -> Tensor:
        """Put blocks together: amplitudes (B, M, h, w) -> (B, 96, 2h, 2w), on the grid."""
        with torch.autocast(y_hat.device.type, enabled=False):
            levels = y_hat.to(self._type).flatten(2) / self.gain.to(self._type)[:, None]
            levels = levels.clamp(-MAX_COMPONENT, MAX_COMPONENT)
            levels = self.on_grid(levels * 2.0**COMPONENT_BITS) * 2.0**-COMPONENT_BITS
            patches = torch.matmul(self.rows.T.to(self._type), levels) * STEPS_PER_LEVEL
        x = F.pixel_shuffle(patches.view(*patches.shape[:2], *y_hat.shape[2:]), 2)
        return self.on_grid(x).float().clamp(LOW, HIGH)

    def latent_weight(self) -> Tensor:
        """Weighted squared error of the planes, per squared error of an amplitude: (M,)."""
        weight = torch.full((len(self.rows),), 4 * CHROMA_WEIGHT, device=self.gain.device)
        weight[: self.num_luma] = LUMA_WEIGHT
        return weight / self.gain.detach().square()

    def grid_tensors(self) -> dict[str, Tensor]:
        """Gains in steps of 2**-GAIN_BITS: `gain` (M,) int32."""
        return {"gain": torch.round(self.gain.detach().double() * 2.0**GAIN_BITS).to(torch.int32)}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number gains and run frozen from now on.

        Raises:
            ConfigError: another type or shape, or a gain that is not above 0.
        """
        gain = whole_tensor(tensors, "gain", torch.int32, self.gain.shape)
        if int(gain.min()) <= 0:
            raise ConfigError(f"gain: found {int(gain.min())}, expected whole numbers above 0")
        self.gain = nn.Parameter(gain.double() * 2.0**-GAIN_BITS, requires_grad=False)
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gains as training has them."""
        return {"gain": tensors["gain"] * 2.0**-GAIN_BITS}

    @property
    def _type(self) -> torch.dtype:
        return torch.float64 if self.arithmetic is Arithmetic.FROZEN else torch.float32


def folded_cosines() -> Tensor:
    """Every cosine of a 16x16 block of luma and of the 8x8 blocks of both chroma planes.

    Returns:
        (384, 384) fp64, orthonormal rows; columns as `pack_planes` and folding 2x2 have them.
    """
    luma, chroma = SIDE**2, SIDE**2 // 4
    planes = torch.zeros(luma + 2 * chroma, SIDE, SIDE, dtype=torch.float64)
    planes[:luma] = _cosines(luma)
    small = torch.zeros(len(planes), 2, SIDE // 2, SIDE // 2, dtype=torch.float64)
    for index, first in enumerate((luma, luma + chroma)):
        small[first : first + chroma, index] = _cosines(chroma, SIDE // 2)
    x = torch.cat([F.pixel_unshuffle(planes[:, None], 8), F.pixel_unshuffle(small, 4)], 1)
    return F.pixel_unshuffle(x, 2).flatten(1)


def _counts(latent_channels: int) -> tuple[int, int, int]:
    """Channels of each plane."""
    luma = round(latent_channels * LUMA_SHARE)
    blue = (latent_channels - luma) // 2
    return luma, blue, latent_channels - luma - blue


def _cosines(count: int, side: int = SIDE) -> Tensor:
    """The orthonormal products of cosines with the lowest frequencies, (count, side, side) fp64.

    Cosines are multiples of 2**-LINE_BITS, far from where rounding could differ between machines.
    """
    span = torch.arange(side, dtype=torch.float64)
    line = torch.cos(span[:, None] * (span + 0.5) * (math.pi / side)) * math.sqrt(2 / side)
    line[0] *= math.sqrt(0.5)
    line = torch.round(line * 2.0**LINE_BITS) * 2.0**-LINE_BITS
    places = [(row, column) for row in range(side) for column in range(side)]
    places.sort(key=lambda place: place[0] ** 2 + place[1] ** 2)
    return torch.stack([torch.outer(line[row], line[column]) for row, column in places[:count]])
