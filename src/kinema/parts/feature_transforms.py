"""Contextual transforms of DCVC-TCM and CAMA, given contexts at three scales.

    x, context @1/1 --- @1/2 --- context @1/2 --- @1/4 --- context @1/4 --- @1/8 --- y @1/16
    y_hat --- @1/8 --- @1/4 --- context @1/4 --- @1/2 --- context @1/2 --- @1/1
    that, context @1/1 --- features F, left for the next frame --- x_hat

Source: DCVC-TCM (arXiv 2111.13850) and its public code, for the layout; CAMA (arXiv 2512.12936) has
depthwise blocks of DCVC-DC in it. In ordinary floating point.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinema.nn.residual import BlockKind, Gdn, SubpixelStep, block, conv, silent


@dataclass(frozen=True, kw_only=True)
class FeatureTransformConfig:
    """Widths of the contextual transforms; as they stand, DCVC-TCM."""

    widths: tuple[int, int, int] = (64, 64, 64)  # at 1/2, 1/4 and 1/8
    inner: int = 32  # at full resolution, before the context comes in
    head: int = 64  # of the features that are left for the next frame
    blocks: BlockKind = "residual"
    has_shortcut: bool = False  # ours: nets add to the preview of the context and block cosines


class FeatureAnalysis(nn.Module):
    """g_a of a picture given its contexts; encoder only."""

    def __init__(
        self, config: FeatureTransformConfig, latent: int, contexts: tuple[int, int, int]
    ) -> None:
        """Create the nets; `contexts` are channels from coarse to fine."""
        super().__init__()
        (half, quarter, eighth), (coarse, middle, fine) = config.widths, contexts
        self.to_half = nn.Sequential(conv(3 + fine, half, stride=2), Gdn(half))
        self.at_half = _bottleneck(config, half + middle)
        self.to_quarter = nn.Sequential(conv(half + middle, quarter, stride=2), Gdn(quarter))
        self.at_quarter = _bottleneck(config, quarter + coarse)
        last = conv(eighth, latent, stride=2)
        self.rest = nn.Sequential(
            conv(quarter + coarse, eighth, stride=2), Gdn(eighth),
            silent(last) if config.has_shortcut else last,
        )  # fmt: skip

    def forward(self, x: Tensor, contexts: list[Tensor]) -> Tensor:
        """Transform (B, 3, H, W), samples 0 to 1, to (B, M, H/16, W/16)."""
        coarse, middle, fine = contexts
        f = self.to_half(torch.cat([x - 0.5, fine], 1))
        f = self.to_quarter(self.at_half(torch.cat([f, middle], 1)))
        return self.rest(self.at_quarter(torch.cat([f, coarse], 1)))


class FeatureSynthesis(nn.Module):
    """g_s of a picture given its contexts."""

    def __init__(
        self, config: FeatureTransformConfig, latent: int, contexts: tuple[int, int, int]
    ) -> None:
        """Create the nets; `contexts` are channels from coarse to fine."""
        super().__init__()
        (half, quarter, eighth), (coarse, middle, fine) = config.widths, contexts
        self.to_quarter = nn.Sequential(
            SubpixelStep(latent, eighth), Gdn(eighth, is_inverse=True),
            SubpixelStep(eighth, quarter), Gdn(quarter, is_inverse=True),
        )  # fmt: skip
        self.to_half = nn.Sequential(
            _bottleneck(config, quarter + coarse),
            SubpixelStep(quarter + coarse, half), Gdn(half, is_inverse=True),
        )  # fmt: skip
        self.to_full = nn.Sequential(
            _bottleneck(config, half + middle), SubpixelStep(half + middle, config.inner)
        )
        head = config.head
        self.features = nn.Sequential(
            conv(config.inner + fine, head), block(config.blocks, head), block(config.blocks, head)
        )
        last = conv(head, 3)
        self.leave = silent(last) if config.has_shortcut else last

    def forward(self, y_hat: Tensor, contexts: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Reconstruct.

        Returns:
            pictures (B, 3, H, W), samples less 0.5; features F, (B, head, H, W).
        """
        coarse, middle, fine = contexts
        f = self.to_half(torch.cat([self.to_quarter(y_hat), coarse], 1))
        f = self.to_full(torch.cat([f, middle], 1))
        features = self.features(torch.cat([f, fine], 1))
        return self.leave(features).float(), features.float()


class TemporalPriorEncoder(nn.Module):
    """What contexts tell of the latent: (B, 2 M, H/16, W/16)."""

    def __init__(self, width: int, latent: int, contexts: tuple[int, int, int]) -> None:
        super().__init__()
        coarse, middle, fine = contexts
        between = latent * 3 // 2
        self.to_half = nn.Sequential(conv(fine, width, stride=2), Gdn(width))
        self.to_quarter = nn.Sequential(conv(width + middle, latent, stride=2), Gdn(latent))
        self.rest = nn.Sequential(
            conv(latent + coarse, between, stride=2), Gdn(between),
            conv(between, 2 * latent, stride=2),
        )  # fmt: skip

    def forward(self, contexts: list[Tensor]) -> Tensor:
        """Encode contexts, coarse to fine."""
        coarse, middle, fine = contexts
        f = self.to_quarter(torch.cat([self.to_half(fine), middle], 1))
        return self.rest(torch.cat([f, coarse], 1))


def _bottleneck(config: FeatureTransformConfig, channels: int) -> nn.Module:
    return block(config.blocks, channels, channels // 2)
