"""One traversal of a latent as published codecs have it: hyper-latent first, then the latent.

    y --- h_a --- z        z_hat --- h_s --- fusion --- nine steps, four, or one --- y_hat
                           what earlier frames tell ---'

Source: LSTVC (arXiv 2208.03754), equations 2 to 5: g_ef merges what the hyper-prior and the prior
encoders tell; DCVC-TCM (arXiv 2111.13850) for the other fusion. Unstated in LSTVC, ours: widths
and layers; symbols count from the mean; z has a Laplacian per channel, so that one family of tables
serves all symbols. In ordinary floating point.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinema.nn.residual import Leaky, conv, leaky, silent
from kinema.parts.channels import Channel, Distribution
from kinema.parts.latent_orders import Fusion, Order, order_of, wide_fusion
from kinema.parts.quality import MAX_CRF, QualityTable, rd_lambda

KNOTS = 8  # qualities at which gains have parameters
MIDDLE_CRF = 40.0  # gains begin at 1 times their start here


@dataclass(frozen=True, kw_only=True)
class StagedConfig:
    """Widths of a latent and its entropy model."""

    latent_channels: int
    hyper_channels: int = 64
    hidden_channels: int = 32  # of the context model
    order: Order = "multistage"  # in which the latent is coded
    fusion: Fusion = "places"  # how priors are merged: place by place, or as in DCVC-TCM
    gain: float | None = None  # gain vectors for variable rate start here; None: one rate


class StagedCodec(nn.Module):
    """Carries a latent (B, M, h, w) whose sides are multiples of 4."""

    def __init__(self, config: StagedConfig, *, has_guide: bool) -> None:
        """Create the nets.

        Args:
            config: widths.
            has_guide: whether earlier frames tell something beside the hyper-latent.
        """
        super().__init__()
        latent, hyper = config.latent_channels, config.hyper_channels
        self.hyper_analysis = nn.Sequential(
            conv(latent, hyper), Leaky(), conv(hyper, hyper, stride=2), Leaky(),
            conv(hyper, hyper, stride=2),
        )  # fmt: skip
        self.hyper_synthesis = nn.Sequential(
            double(hyper, hyper), Leaky(), double(hyper, latent), Leaky(),
            conv(latent, 2 * latent),
        )  # fmt: skip
        self.mean = nn.Parameter(torch.zeros(hyper))
        self.log_scale = nn.Parameter(torch.zeros(hyper))
        self.fusion = config.fusion
        if config.fusion == "places":
            self.enter = nn.Conv2d(2 * latent, 2 * latent, 1)
            self.from_guide = silent(nn.Conv2d(2 * latent, 2 * latent, 1)) if has_guide else None
            self.leave = nn.Conv2d(2 * latent, 2 * latent, 1)
        elif has_guide:
            self.merge_nets = wide_fusion(config.fusion, latent)
        self.steps = order_of(config.order, latent, config.hidden_channels)
        self.gains = None if config.gain is None else _gains(latent, config.gain)

    def code(
        self,
        y: Tensor | None,
        guide: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
    ) -> Tensor:
        """Carry the latent through `channel`.

        Args:
            y: (B, M, h, w), or None when decoding.
            guide: what earlier frames tell, (B, 2 M, h, w); None where there is no such thing.
            crf: (B,) qualities; they matter to gains only.
            size: (h, w).
            channel: where the symbols go to, or come from.

        Returns:
            the latent as the decoder knows it.
        """
        gain = None if self.gains is None else self.gains(crf)[:, :, None, None]
        scaled = y if y is None or gain is None else y.float() * gain
        z = None if scaled is None else self.hyper_analysis(scaled).float()
        shape = (len(crf), len(self.mean), size[0] // 4, size[1] // 4)
        mean, log_scale = (
            p.float()[None, :, None, None].expand(shape) for p in (self.mean, self.log_scale)
        )
        z_hat = channel.carry(z, Distribution(mean, log_scale))
        told = self._merge(self.hyper_synthesis(z_hat.float()), guide)
        y_hat: Tensor = self.steps.code(scaled, told, channel)
        return y_hat if gain is None else y_hat / gain

    def _merge(self, hyper: Tensor, guide: Tensor | None) -> Tensor:
        """What hyper-prior and earlier frames tell together, (B, 2 M, h, w)."""
        if self.fusion == "places":
            told = self.enter(hyper)
            if self.from_guide is not None:
                told = told + self.from_guide(guide)
            merged: Tensor = self.leave(leaky(told))
            return merged
        return hyper if guide is None else self.merge_nets(torch.cat([guide, hyper], 1))


def double(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Make a transposed convolution to twice the size."""
    return nn.ConvTranspose2d(in_channels, out_channels, 3, 2, 1, 1)


def _gains(channels: int, start: float) -> QualityTable:
    """Steps in proportion to 1 / sqrt(lambda)."""
    crf = torch.linspace(0, MAX_CRF, KNOTS)
    better = 0.5 * torch.log(rd_lambda(crf) / rd_lambda(torch.tensor(MIDDLE_CRF)))
    first = (better + math.log(start))[:, None].expand(-1, channels)
    return QualityTable(first.clone(), log=True)
