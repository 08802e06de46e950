"""PGMC: motion compensation in three scales, flow guides kernels, coarse results guide fine ones.

    F @1/4 --- deform along flow + residual --- C @1/4 --.--- offsets, reconstruction
    F @1/2 --- deform along flow + residual --- C @1/2 <-'--.
    F @1/1 --- deform along flow + residual --- C @1/1 <----'     context

Source: LSTVC (arXiv 2208.03754), III-C, and for the kernels DCNv2 (arXiv 1811.11168), flow-guided
as in BasicVSR++ (arXiv 2104.13371), of first order. Unstated, ours: widths, groups, the bound of
the residuals, the layers of the heads. A scale can also just warp, or be absent (the paper's Tables
IV and V). Built from `grid_sample`, in ordinary floating point.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.residual import Leaky, ResidualBlock, conv, leaky, silent
from kinema.parts.optical_flow import places, rescale, warp

Kind = Literal["guided", "warped", "absent"]
SCALES = (4, 2, 1)  # coarse to fine
TAPS = tuple((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
POINTS = len(TAPS)


@dataclass(frozen=True, kw_only=True)
class CompensationConfig:
    """Widths, and what each scale does; coarse to fine."""

    kinds: tuple[Kind, Kind, Kind] = ("guided", "guided", "guided")
    widths: tuple[int, int, int] = (80, 64, 32)
    head_channels: int = 64
    groups: int = 8  # each with its own offsets
    limit: float = 10.0  # samples of a scale: offsets leave the flow by no more


class Compensated(NamedTuple):
    """What happened at one scale.

    Attributes:
        warped: features along flow and offsets, (B, C, h, w).
        residual: offsets less the flow, mean of all groups and taps, (B, 2, h, w); samples.
        result: after reconstruction with the coarser result, (B, C, h, w).
    """

    warped: Tensor
    residual: Tensor
    result: Tensor


class Pyramid(nn.Module):
    """Features of a picture at three scales, coarse to fine."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        coarse, middle, fine = widths
        self.fine = nn.Sequential(conv(3, fine), ResidualBlock(fine))
        self.middle = nn.Sequential(conv(fine, middle, stride=2), ResidualBlock(middle))
        self.coarse = nn.Sequential(conv(middle, coarse, stride=2), ResidualBlock(coarse))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look at (B, 3, H, W) samples 0 to 1."""
        fine = self.fine(picture - 0.5)
        middle = self.middle(fine)
        return self.coarse(middle), middle, fine


class DeformableKernel(nn.Module):
    """DCNv2 along a flow; before training it is plain warping."""

    def __init__(self, channels: int, coarser: int, config: CompensationConfig) -> None:
        super().__init__()
        hidden, self.groups, self.limit = config.head_channels, config.groups, config.limit
        self.head = nn.Sequential(
            conv(2 * channels + 2 + coarser, hidden), Leaky(), conv(hidden, hidden), Leaky(),
            conv(hidden, hidden), Leaky(), silent(conv(hidden, 3 * POINTS * self.groups)),
        )  # fmt: skip
        self.mix = tap_mixer(channels)

    def forward(self, f: Tensor, flow: Tensor, coarser: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compensate at one scale.

        Args:
            f: features of the frame before, (B, C, h, w).
            flow: (B, 2, h, w).
            coarser: the coarser result at this size, or None.

        Returns:
            compensated features; mean residual of the offsets, (B, 2, h, w).
        """
        told = [warp(f, flow), f, flow] + ([] if coarser is None else [coarser])
        residual, mask = cut_head(self.head(torch.cat(told, 1)), self.groups, self.limit)
        return deform(f, flow, residual, mask, self.mix), residual.mean((1, 2))


def tap_mixer(channels: int) -> nn.Conv2d:
    """Make the convolution that mixes taps; it begins as the middle tap alone."""
    mix = silent(nn.Conv2d(channels * POINTS, channels, 1))
    with torch.no_grad():
        mix.weight.view(channels, channels, POINTS)[:, :, POINTS // 2] = torch.eye(channels)
    return mix


def cut_head(found: Tensor, groups: int, limit: float) -> tuple[Tensor, Tensor]:
    """Offsets and masks of a head's result, (B, 3 POINTS groups, h, w).

    Returns:
        offsets up to the limit, (B, groups, POINTS, 2, h, w); masks 0 to 2, 1 where the head says
        nothing, (B, groups, 1, POINTS, h, w).
    """
    count, _, height, width = found.shape
    offsets, mask = found.float().tensor_split((2 * POINTS * groups,), 1)
    offsets = limit * torch.tanh(offsets.view(count, groups, POINTS, 2, height, width))
    return offsets, 2 * torch.sigmoid(mask.view(count, groups, 1, POINTS, height, width))


def deform(f: Tensor, flow: Tensor, residual: Tensor, mask: Tensor, mix: nn.Conv2d) -> Tensor:
    """Deform features (B, C, h, w) along a flow and what leaves it; the rest as `cut_head`."""
    taps = residual.new_tensor(TAPS).view(1, 1, POINTS, 2, 1, 1)
    samples = sample_groups(f.float(), flow[:, None, None].float() + residual + taps)
    mixed: Tensor = mix((samples * mask).flatten(1, 3))
    return mixed


def sample_groups(f: Tensor, offsets: Tensor) -> Tensor:
    """Fetch each group of channels from its own places.

    Args:
        f: (B, C, h, w).
        offsets: (B, G, P, 2, h, w), samples, right and down.

    Returns:
        (B, G, C/G, P, h, w).
    """
    count, groups, points, _, height, width = offsets.shape
    grid = places(offsets.flatten(0, 2)).view(count * groups, points * height, width, 2)
    parts = f.reshape(count * groups, -1, height, width)
    samples = F.grid_sample(parts, grid, padding_mode="border", align_corners=True)
    return samples.view(count, groups, -1, points, height, width)


class Scale(nn.Module):
    """One scale: compensation of one kind, reconstruction with the coarser result."""

    def __init__(self, channels: int, coarser: int, kind: Kind, config: CompensationConfig) -> None:
        super().__init__()
        self.kernel = DeformableKernel(channels, coarser, config) if kind == "guided" else None
        self.enter = conv(channels, channels)
        self.from_coarser = silent(conv(coarser, channels)) if coarser else None
        self.leave = silent(conv(channels, channels))
        self.block = ResidualBlock(channels)

    def forward(self, f: Tensor, flow: Tensor, coarser: Tensor | None) -> Compensated:
        """Compensate features (B, C, h, w) along a flow of their size."""
        if coarser is not None:
            coarser = F.interpolate(coarser, f.shape[-2:], mode="bilinear", align_corners=False)
        if self.kernel is None:
            moved, residual = warp(f, flow), torch.zeros_like(flow)
        else:
            moved, residual = self.kernel(f, flow, coarser)
        mixed = self.enter(moved)
        if self.from_coarser is not None:
            mixed = mixed + self.from_coarser(coarser)
        return Compensated(moved, residual, self.block(moved + self.leave(leaky(mixed))))


class GuidedCompensation(nn.Module):
    """Context of a frame from the frame before it and the decoded flow."""

    def __init__(self, config: CompensationConfig) -> None:
        super().__init__()
        self.pyramid = Pyramid(config.widths)
        self.scales = nn.ModuleDict()
        coarser = 0
        for scale, width, kind in zip(SCALES, config.widths, config.kinds, strict=True):
            if kind != "absent":
                self.scales[str(scale)] = Scale(width, coarser, kind, config)
                coarser = width

    def forward(self, picture: Tensor, flow: Tensor) -> dict[int, Compensated]:
        """Compensate.

        Args:
            picture: the decoded frame before, (B, 3, H, W), samples 0 to 1.
            flow: decoded, (B, 2, H, W).

        Returns:
            what happened, by scale, coarse to fine; the context is the result of scale 1.
        """
        done: dict[int, Compensated] = {}
        coarser = None
        for scale, features in zip(SCALES, self.pyramid(picture), strict=True):
            if str(scale) in self.scales:
                done[scale] = self.scales[str(scale)](features, rescale(flow, 1 / scale), coarser)
                coarser = done[scale].result
        return done
