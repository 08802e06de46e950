"""The intra codec in its published size, in ordinary floating point: for GPUs and comparisons.

    x 192@1/8 --- Analysis 368@1/8 --- y 256@1/16 --- q_enc --- four steps --- q_dec --- y_hat
    y --- h_a --- z 128@1/64 --- h_s --- fusion --- q_enc, q_dec, mean, scale of the first step
    y_hat --- Synthesis 368@1/8 --- x_hat 192@1/8

Source: the intra codec of DCVC-RT (arXiv 2502.20762) and its public code. Not exact: a stream
decodes on the machine and in the software that wrote it, which the picture hash watches over.
Deviations: symbols are Laplacian, z's too; the prior gives logarithms of scales; see
docs/papers/intra.md.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinema.models.frames import CodedFrame
from kinema.nn.blocks import WsiluBlock, wsilu_blocks
from kinema.parts.channels import Channel, Distribution
from kinema.parts.paper_hyper import NUM_QUALITIES, PaperHyper, SubpixelUp
from kinema.parts.quadtree import ORDER, cut, inside, put
from kinema.parts.quality import QualityTable

PICTURE_CHANNELS = 192  # 8x8 samples of three planes
NUM_REFINED = 3  # steps after the first


@dataclass(frozen=True, kw_only=True)
class IntraPaperConfig:
    """Everything that decides the shape of the networks; published values."""

    feature_channels: int = 368  # at 1/8
    latent_channels: int = 256  # at 1/16, a multiple of 4
    hyper_channels: int = 128  # at 1/64
    analysis_blocks: int = 6
    synthesis_blocks: int = 12
    prior_blocks: int = 3
    has_scales: bool = True  # of channels by quality; systems without have other ways to it


class PaperAnalysis(nn.Module):
    """g_a. Shape: (B, 192, H/8, W/8), samples 0 to 1 -> (B, M, H/16, W/16)."""

    def __init__(self, config: IntraPaperConfig) -> None:
        super().__init__()
        width = config.feature_channels
        self.enter = WsiluBlock(PICTURE_CHANNELS, width)
        self.quality = _scales(width) if config.has_scales else None
        self.blocks = wsilu_blocks(*[width] * (config.analysis_blocks + 1))
        self.down = nn.Conv2d(width, config.latent_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, crf: Tensor) -> Tensor:
        """Transform `x` for the qualities `crf` (B,)."""
        f = _scaled(self.enter(x), self.quality, crf)
        return self.down(self.blocks(f))


class PaperSynthesis(nn.Module):
    """g_s. Shape: (B, M, H/16, W/16) -> (B, 192, H/8, W/8), samples 0 to 1."""

    def __init__(self, config: IntraPaperConfig) -> None:
        super().__init__()
        width = config.feature_channels
        self.up = SubpixelUp(config.latent_channels, width)
        self.blocks = wsilu_blocks(*[width] * (config.synthesis_blocks + 1))
        self.quality = _scales(width) if config.has_scales else None
        self.leave = WsiluBlock(width, PICTURE_CHANNELS)

    def forward(self, y_hat: Tensor, crf: Tensor) -> Tensor:
        """Reconstruct from `y_hat` at the qualities `crf` (B,)."""
        f = _scaled(self.blocks(self.up(y_hat)), self.quality, crf)
        return self.leave(f)


def _scales(width: int) -> QualityTable:
    """A factor per channel and quality, 1 at first."""
    return QualityTable(torch.ones(NUM_QUALITIES, width))


def _scaled(f: Tensor, scales: QualityTable | None, crf: Tensor) -> Tensor:
    """Features times the factors of their quality, where there are any."""
    return f if scales is None else f * scales(crf)[:, :, None, None]


class PaperPrior(nn.Module):
    """Mean and scale of the latent in four steps, and its quantiser steps at every place."""

    def __init__(self, config: IntraPaperConfig) -> None:
        super().__init__()
        latent, wide, count = (
            config.latent_channels,
            config.latent_channels * 2,
            config.prior_blocks,
        )
        self.fusion = wsilu_blocks(latent, *[wide] * count)
        self.leave = nn.Conv2d(wide, wide + 2, 1)
        self.reduce = nn.Conv2d(wide + 2, latent, 1)
        self.adapt = nn.ModuleList(
            [WsiluBlock(wide, wide, force_adaptor=True) for _ in range(NUM_REFINED)]
        )
        self.refined = wsilu_blocks(*[wide] * (count + 1)).append(nn.Conv2d(wide, wide, 1))

    def fuse(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """From h_s features (B, M, h, w): spatial steps (B, 2, h, w), and what follows.

        Returns:
            steps of encoder and decoder, 0.5 to 2.0; parameters (B, 2 M + 2, h, w), whose last
            2 M channels are log-scale and mean of the first step.
        """
        parameters = self.leave(self.fusion(features))
        return torch.sigmoid(parameters[:, :2]) * 1.5 + 0.5, parameters

    def refine(self, index: int, known: Tensor, reduced: Tensor) -> Tensor:
        """Log-scale and mean (B, 2 M, h, w) of step `index`, 1 to 3, given earlier steps."""
        return self.refined(self.adapt[index - 1](torch.cat([known, reduced], 1)))


class IntraPaperCodec(nn.Module):
    """Intra frames at any quality from one network, as published.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    encoder_only: tuple[str, ...] = ("analysis.", "hyper.down.")

    def __init__(self, config: IntraPaperConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = PaperAnalysis(config)
        self.hyper = PaperHyper(config.latent_channels, config.hyper_channels)
        self.prior = PaperPrior(config)
        self.synthesis = PaperSynthesis(config)

    def code_frame(
        self, x: Tensor | None, crf: Tensor, size: tuple[int, int], channel: Channel
    ) -> CodedFrame:
        """Carry a batch of pictures through `channel`.

        Args:
            x: (B, 192, H/8, W/8): three planes, samples 0 to 1, by pixel-unshuffle; None when
                decoding.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.

        Returns:
            the pictures as the decoder knows them; `x_hat` in the form of `x`.
        """
        y = None if x is None else self.analysis(x, crf)
        z = None if y is None else self.hyper.analysis(y)
        z_size = tuple(-(-n // 4) for n in size)
        z_hat = channel.carry(z, self.hyper.distribution(crf, z_size))
        features = self.hyper.synthesis(z_hat)[:, :, : size[0], : size[1]]
        y_hat = self._code_latent(y, features, size, channel)
        return CodedFrame(self.synthesis(y_hat, crf), y_hat)

    def _code_latent(
        self, y: Tensor | None, features: Tensor, size: tuple[int, int], channel: Channel
    ) -> Tensor:
        """Quadtree prior: each step sees the latent of those before; symbols are off its mean."""
        steps, parameters = self.prior.fuse(features)
        scaled = None if y is None else y * steps[:, :1]
        reduced, parameters = self.prior.reduce(parameters), parameters[:, 2:]
        known = torch.zeros_like(reduced)
        for index in range(len(ORDER)):
            if index:
                parameters = self.prior.refine(index, known, reduced)
            log_scale, mean = (cut(p, index) for p in parameters.chunk(2, 1))
            s = None if scaled is None else cut(scaled, index) - mean
            places = inside(self.config.latent_channels, size, index, features.device)
            distribution = Distribution(torch.zeros_like(mean), log_scale, places)
            symbols = channel.carry(s, distribution)
            known = known + put(symbols.to(mean.dtype) + mean, index, size)
        return known * steps[:, 1:]


def build_paper() -> IntraPaperCodec:
    """Build the published configuration: 45.6 million parameters."""
    return IntraPaperCodec(IntraPaperConfig())
