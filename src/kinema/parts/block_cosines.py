"""Cosines of blocks, whole or divided: no learned linear transform is as sparse.

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
SIDES = (16, 8, 4)  # into which blocks may be divided
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
        counts = plane_counts(latent)
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

    A block of 16x16 luma samples is transformed as a whole, or as blocks of 8x8 or 4x4: its *size*,
    an index of `SIDES`. Each channel is a cosine, low frequencies first, luma before both chroma
    planes; those of smaller blocks have the channels of like frequency. `gain` says how many
    amplitudes a level of it is. Sums are those of whole numbers in fp64, below 2**53.
    """

    tensor_names = ("gain",)
    rows: Tensor
    turns: Tensor

    def __init__(self, latent_channels: int) -> None:
        """Create the layer.

        Args:
            latent_channels: M, 384 for all; fewer keep the lowest frequencies.
        """
        super().__init__()
        counts = plane_counts(latent_channels)
        self.num_luma = counts[0]
        self.gain = nn.Parameter(torch.ones(latent_channels))
        planes = (SIDE**2, SIDE**2 // 4, SIDE**2 // 4)
        bases = []
        for side in SIDES:
            every = torch.split(folded_cosines(side), list(planes))
            bases.append(torch.cat([r[:n] for r, n in zip(every, counts, strict=True)]))
        rows = torch.stack(bases)
        luma = rows[:, : self.num_luma]
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("turns", (luma[1:] @ luma[0].T).float(), persistent=False)

    def forward(self, x: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Transform whole samples.

        Args:
            x: (B, 96, 2h, 2w) picture units.
            sizes: of blocks, (B, h, w); None: all 16x16.

        Returns:
            (B, M, h, w) on the grid.
        """
        return self.on_grid(self._amplitudes(x, sizes, self._type)).float().clamp(LOW, HIGH)

    def free(self, x: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Transform what need not be exact: as `forward`, not rounded, fp32."""
        return self._amplitudes(x, sizes, torch.float32)

    def divide(self, y: Tensor) -> Tensor:
        """Tell the amplitudes of whole blocks in every size; they need not be exact.

        Args:
            y: (B, M, h, w), blocks of 16x16.

        Returns:
            (S, B, M, h, w), in the order of `SIDES`.
        """
        with torch.autocast(y.device.type, enabled=False):
            gain = self.gain[: self.num_luma, None].float()
            luma, chroma = y[:, : self.num_luma].float(), y[:, self.num_luma :].float()
            turned = [(turn @ (luma.flatten(2) / gain)) * gain for turn in self.turns]
            parts = [torch.cat([part.view_as(luma), chroma], 1) for part in turned]
        return torch.stack([y.float(), *parts])

    def inverse(self, y_hat: Tensor, sizes: Tensor | None = None, fraction_bits: int = 0) -> Tensor:
        """Put blocks together.

        Args:
            y_hat: amplitudes, (B, M, h, w).
            sizes: of blocks, (B, h, w); None: all 16x16.
            fraction_bits: results are multiples of 2**-fraction_bits.

        Returns:
            (B, 96, 2h, 2w) picture units, on the grid, or between its points.
        """
        with torch.autocast(y_hat.device.type, enabled=False):
            levels = y_hat.to(self._type) / self.gain.to(self._type)[:, None, None]
            levels = levels.clamp(-MAX_COMPONENT, MAX_COMPONENT)
            components = self.on_grid(levels * 2.0**COMPONENT_BITS)
            patches = self._by_size(components, sizes, is_inverse=True)
        unit = STEPS_PER_LEVEL * 2.0 ** (fraction_bits - COMPONENT_BITS)
        fine = self.on_grid(F.pixel_shuffle(patches, 2) * unit)
        return (fine * 2.0**-fraction_bits).float().clamp(LOW, HIGH)

    def _amplitudes(self, x: Tensor, sizes: Tensor | None, kind: torch.dtype) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            patches = F.pixel_unshuffle(x, 2).to(kind)
            levels = self._by_size(patches, sizes, is_inverse=False)
            return levels * (self.gain.to(kind) / STEPS_PER_LEVEL)[:, None, None]

    def _by_size(self, values: Tensor, sizes: Tensor | None, *, is_inverse: bool) -> Tensor:
        """Multiply each block (of B, C, h, w) by the cosines of its size, or their transpose.

        Planes have nothing to do with each other, and only luma is divided.
        """
        counts = plane_counts(len(self.gain)), plane_counts(self.rows.shape[2])
        planes = torch.split(values, list(counts[0] if is_inverse else counts[1]), 1)
        products, row, column = [], 0, 0
        for plane, channels, samples in zip(planes, *counts, strict=True):
            matrices = self.rows[:, row : row + channels, column : column + samples]
            matrices = (matrices.mT if is_inverse else matrices).to(values.dtype)
            divided = sizes if row == 0 else None
            products.append(_multiply(matrices, plane, divided))
            row, column = row + channels, column + samples
        return torch.cat(products, 1)

    def latent_weight(self) -> Tensor:
        """Weighted squared error of the planes, per squared error of an amplitude: (M,)."""
        weight = torch.full((len(self.gain),), 4 * CHROMA_WEIGHT, device=self.gain.device)
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


def _multiply(matrices: Tensor, values: Tensor, sizes: Tensor | None) -> Tensor:
    """Multiply each block of one plane by the matrix of its size; all by the first if None."""
    count, _, height, width = values.shape
    if sizes is None:
        return torch.matmul(matrices[0], values.flatten(2)).view(count, -1, height, width)
    columns = values.permute(1, 0, 2, 3).flatten(1)
    product = values.new_zeros(matrices.shape[1], columns.shape[1])
    for index, matrix in enumerate(matrices):
        chosen = (sizes.flatten() == index).nonzero()[:, 0]
        product.index_copy_(1, chosen, matrix @ columns[:, chosen])
    return product.view(-1, count, height, width).transpose(0, 1)


def folded_cosines(side: int = SIDE) -> Tensor:
    """Every cosine of the blocks of 16x16 luma samples and of the 8x8 of both chroma planes.

    Args:
        side: of the blocks into which the luma samples are divided: 16, 8 or 4.

    Returns:
        (384, 384) fp64, orthonormal rows; columns as `pack_planes` and folding 2x2 have them.
    """
    luma, chroma = SIDE**2, SIDE**2 // 4
    planes = torch.zeros(luma + 2 * chroma, SIDE, SIDE, dtype=torch.float64)
    planes[:luma] = _cosines(luma) if side == SIDE else _divided_cosines(side)
    small = torch.zeros(len(planes), 2, SIDE // 2, SIDE // 2, dtype=torch.float64)
    for index, first in enumerate((luma, luma + chroma)):
        small[first : first + chroma, index] = _cosines(chroma, SIDE // 2)
    x = torch.cat([F.pixel_unshuffle(planes[:, None], 8), F.pixel_unshuffle(small, 4)], 1)
    return F.pixel_unshuffle(x, 2).flatten(1)


def plane_counts(latent_channels: int) -> tuple[int, int, int]:
    """Channels of each plane."""
    luma = round(latent_channels * LUMA_SHARE)
    blue = (latent_channels - luma) // 2
    return luma, blue, latent_channels - luma - blue


def _cosines(count: int, side: int = SIDE) -> Tensor:
    """The orthonormal products of cosines with the lowest frequencies, (count, side, side) fp64."""
    line = _line(side)
    return torch.stack([torch.outer(line[u], line[v]) for u, v in _places(side)[:count]])


def _divided_cosines(side: int) -> Tensor:
    """Cosines of the blocks within one of 16x16, each in the place of a like frequency.

    Frequency (u, v) of 16x16 gives way to (u // g, v // g) of the block in row u % g and column
    v % g, g blocks being in a row. Means of the blocks are transformed once more.
    """
    count = SIDE // side
    line, across = _line(side), _line(count)
    found = torch.zeros(SIDE**2, SIDE, SIDE, dtype=torch.float64)
    for target, (u, v) in zip(found, _places(SIDE), strict=True):
        row, column = u % count, v % count
        if u < count and v < count:
            means = torch.outer(across[row], across[column]) / side
            target.copy_(means.repeat_interleave(side, 0).repeat_interleave(side, 1))
        else:
            block = torch.outer(line[u // count], line[v // count])
            target[row * side :, column * side :][:side, :side] = block
    return found


def _line(side: int) -> Tensor:
    """Cosines in multiples of 2**-LINE_BITS, far from where rounding could differ by machine."""
    span = torch.arange(side, dtype=torch.float64)
    line = torch.cos(span[:, None] * (span + 0.5) * (math.pi / side)) * math.sqrt(2 / side)
    line[0] *= math.sqrt(0.5)
    return torch.round(line * 2.0**LINE_BITS) * 2.0**-LINE_BITS


def _places(side: int) -> list[tuple[int, int]]:
    """Frequencies, lowest first."""
    places = [(u, v) for u in range(side) for v in range(side)]
    return sorted(places, key=lambda place: place[0] ** 2 + place[1] ** 2)
