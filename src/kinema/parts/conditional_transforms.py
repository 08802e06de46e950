"""Transforms of LSTVC as published: of motion, of pictures given a context, and prior encoders.

    m --- MotionAnalysis --- y_m      y_m_hat --- MotionSynthesis --- m_hat
    x, context, T --- ContextualAnalysis --- y_c
    y_c_hat, context, T --- ContextualSynthesis --- x_hat

Source: LSTVC (arXiv 2208.03754) for what enters where; DCVC (arXiv 2109.15047) for the motion codec
with its refinement, DCVC-TCM (arXiv 2111.13850) for the layout of the contextual transforms.
Unstated, ours: widths; T enters at 1/4, through a convolution that begins as zero. In ordinary
floating point.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.residual import (
    BlockKind,
    Bottleneck,
    Gdn,
    Leaky,
    ResidualBlock,
    SubpixelStep,
    block,
    conv,
    silent,
)
from kinema.parts.staged_codec import double

STRIDE = 16  # of latents


@dataclass(frozen=True, kw_only=True)
class MotionTransformConfig:
    """Widths of the motion transforms."""

    width: int = 128
    refinement: int = 64  # 0: none, as in DCVC-TCM
    blocks: BlockKind | None = None  # behind each change of resolution, as in DCVC-TCM
    has_shortcut: bool = False  # ours: two latent channels begin as the mean flow of each block


@dataclass(frozen=True, kw_only=True)
class ContextualTransformConfig:
    """Widths of the contextual transforms."""

    width: int = 64
    head: int = 64  # at full resolution
    kernel: int = 5  # of the analysis
    extra_blocks: int = 0  # after each resolution below the full one, in both transforms
    has_shortcut: bool = False  # ours: nets add to the preview of the context and block cosines


class MotionAnalysis(nn.Module):
    """g_a of motion; encoder only. Shape: (B, 2, H, W) flow -> (B, M, H/16, W/16)."""

    def __init__(self, config: MotionTransformConfig, latent: int) -> None:
        super().__init__()
        width, self.has_shortcut = config.width, config.has_shortcut
        self.nets = nn.Sequential(
            conv(2, width, stride=2), Gdn(width), *_motion_block(config),
            conv(width, width, stride=2), Gdn(width), *_motion_block(config),
            conv(width, width, stride=2), Gdn(width), *_motion_block(config),
            conv(width, latent, stride=2),
        )  # fmt: skip

    def forward(self, flow: Tensor) -> Tensor:
        """Transform a flow."""
        y: Tensor = self.nets(flow)
        if not self.has_shortcut:
            return y
        return y + F.pad(F.avg_pool2d(flow, STRIDE), (0, 0, 0, 0, 0, y.shape[1] - 2))


class MotionSynthesis(nn.Module):
    """g_s of motion, refined with the picture before. Shape: (B, M, H/16, W/16) -> (B, 2, H, W)."""

    def __init__(self, config: MotionTransformConfig, latent: int) -> None:
        super().__init__()
        width, hidden, self.has_shortcut = config.width, config.refinement, config.has_shortcut
        self.nets = nn.Sequential(
            double(latent, width), Gdn(width, is_inverse=True), *_motion_block(config),
            double(width, width), Gdn(width, is_inverse=True), *_motion_block(config),
            double(width, width), Gdn(width, is_inverse=True), *_motion_block(config),
            double(width, 2),
        )  # fmt: skip
        self.refine = None
        if hidden:
            inner = [layer for _ in range(5) for layer in (conv(hidden, hidden), Leaky())]
            self.refine = nn.Sequential(
                conv(2 + 3, hidden), Leaky(), *inner, silent(conv(hidden, 2))
            )
        if config.has_shortcut:
            nn.init.zeros_(self.nets[-1].weight)  # type: ignore[arg-type]  # a convolution's
            nn.init.zeros_(self.nets[-1].bias)  # type: ignore[arg-type]  # as above

    def forward(self, y_hat: Tensor, picture: Tensor) -> Tensor:
        """Reconstruct a flow; `picture` is the decoded frame before."""
        flow = self.nets(y_hat).float()
        if self.has_shortcut:
            flow = flow + F.interpolate(
                y_hat[:, :2], scale_factor=float(STRIDE), mode="bilinear", align_corners=False
            )
        if self.refine is None:
            return flow
        return flow + self.refine(torch.cat([flow, picture - 0.5], 1))


class ContextualAnalysis(nn.Module):
    """g_a of a picture given its context; encoder only."""

    def __init__(
        self, config: ContextualTransformConfig, latent: int, context: int, state: int
    ) -> None:
        """Create the nets; `context` and `state` are channels, `state` 0 where T does not enter."""
        super().__init__()
        width, kernel = config.width, config.kernel
        self.to_half = nn.Sequential(
            conv(3 + context, width, kernel, 2), Gdn(width), *_extra(config)
        )
        self.to_quarter = nn.Sequential(conv(width, width, kernel, 2), Gdn(width))
        self.from_state = silent(conv(state, width)) if state else None
        last = conv(width, latent, kernel, 2)
        self.rest = nn.Sequential(
            ResidualBlock(width), *_extra(config), conv(width, width, kernel, 2), Gdn(width),
            ResidualBlock(width), *_extra(config), silent(last) if config.has_shortcut else last,
        )  # fmt: skip

    def forward(self, x: Tensor, context: Tensor, state: Tensor | None) -> Tensor:
        """Transform.

        Args:
            x: (B, 3, H, W), samples 0 to 1.
            context: (B, C, H, W).
            state: T, (B, S, H/4, W/4).

        Returns:
            (B, M, H/16, W/16).
        """
        f = self.to_quarter(self.to_half(torch.cat([x - 0.5, context], 1)))
        if self.from_state is not None:
            f = f + self.from_state(state)
        return self.rest(f)


class ContextualSynthesis(nn.Module):
    """g_s of a picture given its context."""

    def __init__(
        self, config: ContextualTransformConfig, latent: int, context: int, state: int
    ) -> None:
        """Create the nets; arguments as `ContextualAnalysis`."""
        super().__init__()
        width, head = config.width, config.head
        self.to_quarter = nn.Sequential(
            SubpixelStep(latent, width), Gdn(width, is_inverse=True), ResidualBlock(width),
            *_extra(config), SubpixelStep(width, width), Gdn(width, is_inverse=True),
        )  # fmt: skip
        self.from_state = silent(conv(state, width)) if state else None
        self.rest = nn.Sequential(
            ResidualBlock(width), *_extra(config), SubpixelStep(width, width),
            Gdn(width, is_inverse=True), *_extra(config), SubpixelStep(width, context),
        )  # fmt: skip
        last = conv(head, 3)
        self.head = nn.Sequential(
            conv(2 * context, head), ResidualBlock(head), ResidualBlock(head),
            silent(last) if config.has_shortcut else last,
        )  # fmt: skip

    def forward(self, y_hat: Tensor, context: Tensor, state: Tensor | None) -> Tensor:
        """Reconstruct (B, 3, H, W), samples less 0.5; arguments as `ContextualAnalysis`."""
        f = self.to_quarter(y_hat)
        if self.from_state is not None:
            f = f + self.from_state(state)
        return self.head(torch.cat([self.rest(f), context], 1)).float()


class HybridPriorEncoder(nn.Module):
    """g_hpe: what the context, and T where it enters, tell of the contextual latent."""

    def __init__(self, width: int, latent: int, context: int, state: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(
            conv(context, width, stride=2), Leaky(), conv(width, width, stride=2)
        )
        self.from_state = silent(conv(state, width)) if state else None
        self.leave = nn.Sequential(
            Leaky(), conv(width, width, stride=2), Leaky(), conv(width, 2 * latent, stride=2)
        )

    def forward(self, context: Tensor, state: Tensor | None) -> Tensor:
        """Encode (B, C, H, W) and (B, S, H/4, W/4) to (B, 2 M, H/16, W/16)."""
        f = self.enter(context)
        if self.from_state is not None:
            f = f + self.from_state(state)
        return self.leave(f)


class MotionPriorEncoder(nn.Sequential):
    """g_pe: what T tells of the motion latent. Shape: (B, S, H/4, W/4) -> (B, 2 M, H/16, W/16)."""

    def __init__(self, width: int, latent: int, state: int) -> None:
        super().__init__(
            conv(state, width, stride=2), Leaky(), conv(width, width, stride=2), Leaky(),
            conv(width, 2 * latent),
        )  # fmt: skip


def _motion_block(config: MotionTransformConfig) -> list[nn.Module]:
    return [] if config.blocks is None else [block(config.blocks, config.width)]


def _extra(config: ContextualTransformConfig) -> list[nn.Module]:
    return [Bottleneck(config.width) for _ in range(config.extra_blocks)]
