"""A fixed block transform: the lowest cosines of 16x16 blocks, where short training begins.

A conditional codec that begins with random transforms codes nothing useful for thousands of steps;
beside these cosines of what the preview leaves, its nets learn what is missing.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 16
SCALE = 2.0  # with the first gains, steps are near the high-rate optimum
LUMA_SHARE = 2 / 3  # of the latent's channels


class BlockCosines(nn.Module):
    """The best known linear start of a latent, (B, M, H/16, W/16). It has no parameters."""

    basis: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        luma = round(latent * LUMA_SHARE)
        blue = (latent - luma) // 2
        counts = (luma, blue, latent - luma - blue)
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


def _cosines(count: int) -> Tensor:
    """The orthonormal products of cosines with the lowest frequencies, (count, 16, 16)."""
    angle = torch.arange(SIDE)[:, None] * (torch.arange(SIDE) + 0.5) * (math.pi / SIDE)
    line = torch.cos(angle) * math.sqrt(2 / SIDE)
    line[0] *= math.sqrt(0.5)
    places = [(row, column) for row in range(SIDE) for column in range(SIDE)]
    places.sort(key=lambda place: place[0] ** 2 + place[1] ** 2)
    return torch.stack([torch.outer(line[row], line[column]) for row, column in places[:count]])
