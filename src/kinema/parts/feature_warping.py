"""Temporal contexts of DCVC-TCM and CAMA: features of the frame before, aligned at three scales.

    F before --- adapt --- pyramid @1/4, 1/2, 1/1 --- warp, or FGDwarp --- fusion --- contexts

    FGDwarp:  F~ = warp(F, flow);  F~, F, coarser context --- head --- coarse offsets, mask
              F' = DCNv2(F, coarse, mask);  F', F~, coarser --- head --- fine offsets, mask
              DCNv2(F, coarse + fine, mask)

Source: DCVC-TCM (arXiv 2111.13850), feature propagation and fusion from coarse to fine; CAMA (arXiv
2512.12936), FGDwarp, known up to the coarse offsets. Unstated, ours: the fine stage, bounds,
groups; adaptors by the place of a frame as in DCVC-DC (arXiv 2302.14402). Before training each
kind of warp is plain warping. In ordinary floating point.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.residual import BlockKind, SubpixelStep, block, conv, silent
from kinema.parts.guided_compensation import POINTS, SCALES, cut_head, deform, tap_mixer
from kinema.parts.optical_flow import rescale, warp

WarpKind = Literal["warped", "coarse", "both"]
PLACES = (0, 1, 0, 2)  # which adaptor, by distance to the I frame modulo 4
FINE_SHARE = 0.25  # of the bound, for fine offsets


@dataclass(frozen=True, kw_only=True)
class FeatureWarpConfig:
    """Widths from coarse to fine, and the stages of the warp; as they stand, DCVC-TCM."""

    kind: WarpKind = "warped"
    widths: tuple[int, int, int] = (64, 64, 64)
    blocks: BlockKind = "residual"
    head_channels: int = 64
    groups: int = 8  # each with its own offsets
    limit: float = 10.0  # samples of a scale: coarse offsets leave the flow by no more
    adaptors: int = 1  # of propagated features; 3: by place
    has_shortcut: bool = False  # ours: three channels begin as the picture before

    def __post_init__(self) -> None:
        if self.adaptors not in (1, 1 + max(PLACES)):
            raise ConfigError(f"{self.adaptors} adaptors, expected 1 or {1 + max(PLACES)}")


class WarpStage(nn.Module):
    """A head for offsets and masks, and the kernel that follows them."""

    def __init__(self, seen: int, channels: int, config: FeatureWarpConfig, limit: float) -> None:
        """Create the nets; `seen` is channels of what the head looks at."""
        super().__init__()
        hidden, self.groups, self.limit = config.head_channels, config.groups, limit
        self.head = nn.Sequential(
            conv(seen, hidden), block(config.blocks, hidden),
            silent(conv(hidden, 3 * POINTS * self.groups)),
        )  # fmt: skip
        self.mix = tap_mixer(channels)

    def forward(
        self, seen: list[Tensor], f: Tensor, flow: Tensor, before: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """Warp `f` (B, C, h, w) along the flow and the offsets of this stage and that before.

        Returns:
            warped features; all offsets, (B, groups, POINTS, 2, h, w), samples.
        """
        offsets, mask = cut_head(self.head(torch.cat(seen, 1)), self.groups, self.limit)
        offsets = offsets + before
        return deform(f, flow, offsets, mask, self.mix), offsets


class FlowGuidedWarp(nn.Module):
    """One scale: none, one, or two stages of deformable warping."""

    def __init__(self, channels: int, coarser: int, config: FeatureWarpConfig) -> None:
        super().__init__()
        seen = 2 * channels + coarser
        limits = {"warped": (), "coarse": (1.0,), "both": (1.0, FINE_SHARE)}[config.kind]
        self.stages = nn.ModuleList(
            WarpStage(seen, channels, config, config.limit * share) for share in limits
        )

    def forward(self, f: Tensor, flow: Tensor, coarser: Tensor | None) -> Tensor:
        """Warp features (B, C, h, w) along a flow of their size, given a coarser context."""
        warped = moved = warp(f, flow)
        told = [] if coarser is None else [coarser]
        offsets: Tensor | float = 0.0
        for index, stage in enumerate(self.stages):
            seen = [moved, warped if index else f, *told]
            moved, offsets = stage(seen, f, flow, offsets)
        return moved


class ContextFusion(nn.Module):
    """One scale of the fusion: adds to warped features what they and the coarser context tell."""

    def __init__(self, channels: int, coarser: int, kind: BlockKind) -> None:
        super().__init__()
        self.up = nn.Sequential()
        if coarser:
            self.up = nn.Sequential(SubpixelStep(coarser, channels), block(kind, channels))
        seen = 2 * channels if coarser else channels
        self.leave = nn.Sequential(silent(conv(seen, channels)), block(kind, channels))

    def forward(self, moved: Tensor, told: Tensor | None) -> Tensor:
        """Fuse; `told` is the coarser context, brought up."""
        seen = moved if told is None else torch.cat([moved, told], 1)
        return moved + self.leave(seen)


class FeatureWarping(nn.Module):
    """Contexts of a frame from the features that the frame before has left."""

    def __init__(self, config: FeatureWarpConfig, carried: int) -> None:
        """Create the nets; `carried` is channels of what a frame leaves."""
        super().__init__()
        kind, (coarse, middle, fine) = config.blocks, config.widths
        self.has_shortcut, self.carried = config.has_shortcut, carried
        self.begin = conv(3, carried)
        self.adapt = nn.ModuleList(nn.Conv2d(carried, carried, 1) for _ in range(config.adaptors))
        self.fine = nn.Sequential(conv(carried, fine), block(kind, fine))
        self.middle = nn.Sequential(conv(fine, middle, stride=2), block(kind, middle))
        self.coarse = nn.Sequential(conv(middle, coarse, stride=2), block(kind, coarse))
        self.warps, self.fusions = nn.ModuleDict(), nn.ModuleDict()
        coarser = 0
        for scale, width in zip(SCALES, config.widths, strict=True):
            told = width if coarser else 0
            self.warps[str(scale)] = FlowGuidedWarp(width, told, config)
            self.fusions[str(scale)] = ContextFusion(width, coarser, kind)
            coarser = width

    def forward(
        self, features: Tensor | None, picture: Tensor, flow: Tensor, place: int
    ) -> list[Tensor]:
        """Align.

        Args:
            features: of the frame before, (B, carried, H, W); None behind an I frame.
            picture: the decoded frame before, (B, 3, H, W), samples 0 to 1.
            flow: decoded, (B, 2, H, W).
            place: distance to the I frame, 1 or more.

        Returns:
            contexts from coarse to fine, (B, width, H/scale, W/scale).
        """
        if features is None:
            f = self.begin(picture - 0.5)
        else:
            index = PLACES[place % len(PLACES)] if len(self.adapt) > 1 else 0
            f = self.adapt[index](features)
        if self.has_shortcut:
            f = f + F.pad(picture - 0.5, (0, 0, 0, 0, 0, self.carried - 3))
        fine = self.fine(f)
        middle = self.middle(fine)
        contexts: list[Tensor] = []
        for scale, f in zip(SCALES, (self.coarse(middle), middle, fine), strict=True):
            fusion = self.fusions[str(scale)]
            assert isinstance(fusion, ContextFusion)
            told = fusion.up(contexts[-1]) if contexts else None
            moved = self.warps[str(scale)](f, rescale(flow, 1 / scale), told)
            contexts.append(fusion(moved, told))
        return contexts

    @torch.no_grad()
    def begin_as_picture(self) -> None:
        """Let three channels of the finest context be the warped picture."""
        for layer in (self.begin, *self.adapt):
            assert isinstance(layer, nn.Conv2d)
            layer.weight[:3] = 0
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one
        enter = self.fine[0]
        assert isinstance(enter, nn.Conv2d)
        enter.weight[:3] = 0
        enter.weight[:3, :3, 1, 1] = torch.eye(3)
        nn.init.zeros_(enter.bias)  # type: ignore[arg-type]  # as above
