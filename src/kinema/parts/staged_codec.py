"""One traversal of a latent as LSTVC codes it: hyper-latent first, then nine steps.

    y --- h_a --- z        z_hat --- h_s --- fusion --- multistage context --- y_hat
                           what earlier frames tell ---'

Source: LSTVC (arXiv 2208.03754), equations 2 to 5: g_ef merges what the hyper-prior and the prior
encoders tell. Unstated, ours: widths and layers; symbols count from the mean; z has a Gaussian per
channel, so that one family of tables serves all symbols. In ordinary floating point.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinema.nn.residual import Leaky, conv, leaky, silent
from kinema.parts.channels import Channel, Distribution
from kinema.parts.multistage import MultistageContext
from kinema.parts.quality import MAX_CRF, QualityTable, rd_lambda

KNOTS = 8  # qualities at which gains have parameters
MIDDLE_CRF = 40.0  # gains begin at 1 times their start here


@dataclass(frozen=True, kw_only=True)
class StagedConfig:
    """Widths of a latent and its entropy model."""

    latent_channels: int
    hyper_channels: int = 64
    hidden_channels: int = 32  # of the multistage context model
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
        self.enter = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.from_guide = silent(nn.Conv2d(2 * latent, 2 * latent, 1)) if has_guide else None
        self.leave = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.steps = MultistageContext(latent, 2 * latent, config.hidden_channels)
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
        told = self.enter(self.hyper_synthesis(z_hat.float()))
        if self.from_guide is not None:
            told = told + self.from_guide(guide)
        y_hat = self.steps.code(scaled, self.leave(leaky(told)), channel)
        return y_hat if gain is None else y_hat / gain


def double(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Make a transposed convolution to twice the size."""
    return nn.ConvTranspose2d(in_channels, out_channels, 3, 2, 1, 1)


def _gains(channels: int, start: float) -> QualityTable:
    """Steps in proportion to 1 / sqrt(lambda)."""
    crf = torch.linspace(0, MAX_CRF, KNOTS)
    better = 0.5 * torch.log(rd_lambda(crf) / rd_lambda(torch.tensor(MIDDLE_CRF)))
    first = (better + math.log(start))[:, None].expand(-1, channels)
    return QualityTable(first.clone(), log=True)
