"""Optical flow in ordinary floating point: a pyramid network, warping, changes of resolution.

A flow points back: warp(f, v)(p) = f(p + v(p)), in samples of its own resolution, right and down.

Source: SPyNet (Ranjan, Black, arXiv 1611.00850). Deviations: trained here from zero flow, by the
error of the warped picture first; luma and chroma planes instead of RGB.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.residual import conv, silent


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Shape of the network; published values."""

    channels: tuple[int, ...] = (32, 64, 32, 16)  # between the five convolutions of a level
    kernel: int = 7
    levels: int = 4


class FlowNet(nn.Module):
    """SPyNet: each level adds to the flow of the coarser one; encoder only."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level(config) for _ in range(config.levels))

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Find where the content of `x` lies in `reference`.

        Args:
            x: (B, 3, H, W), samples 0 to 1.
            reference: likewise.

        Returns:
            (B, 2, H, W) flow.
        """
        pyramid = [(x, reference)]
        for _ in range(len(self.levels) - 1):
            pyramid.append(tuple(F.avg_pool2d(p, 2) for p in pyramid[-1]))  # type: ignore[arg-type]  # two of them
        flow: Tensor | None = None
        for level, (now, before) in zip(self.levels, reversed(pyramid), strict=True):
            flow = now.new_zeros(len(x), 2, *now.shape[2:]) if flow is None else rescale(flow, 2)
            seen = torch.cat([now - 0.5, warp(before, flow) - 0.5, flow], 1)
            flow = flow + level(seen)
        assert flow is not None
        return flow


def warp(f: Tensor, flow: Tensor) -> Tensor:
    """Fetch features from where a flow points, bilinear; beyond the border counts as on it.

    Args:
        f: (B, C, h, w).
        flow: (B, 2, h, w).
    """
    return F.grid_sample(f.float(), places(flow.float()), padding_mode="border", align_corners=True)


def places(flow: Tensor) -> Tensor:
    """Where a flow points, as `grid_sample` counts: (B, h, w, 2), -1 to 1 inside."""
    height, width = flow.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    x = (flow[:, 0] + columns) * (2 / max(width - 1, 1)) - 1
    y = (flow[:, 1] + rows[:, None]) * (2 / max(height - 1, 1)) - 1
    return torch.stack([x, y], -1)


def rescale(flow: Tensor, factor: float) -> Tensor:
    """Bring a flow to `factor` times its size, vectors in samples of the new size; bilinear."""
    size = [round(n * factor) for n in flow.shape[-2:]]
    return F.interpolate(flow, size, mode="bilinear", align_corners=False) * factor


def _level(config: FlowConfig) -> nn.Sequential:
    widths = (3 + 3 + 2, *config.channels)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [conv(before, after, config.kernel), nn.ReLU()]
    return nn.Sequential(*layers, silent(conv(widths[-1], 2, config.kernel)))
