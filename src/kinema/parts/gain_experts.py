"""QCMoE with a gate on either side: experts scale a latent, and its symbols back.

    y, crf --- gate --- pi      s = y * sum_e pi_e exp(a_e + b_e ln lambda),   b_e >= 0
    k, crf --- gate --- pi'     y_hat = k * sum_e pi'_e exp(a'_e - b'_e ln lambda),   b'_e >= 0

Source: quality-conditioned mixture of experts of the dual-domain system (arXiv 2512.10450), whose
layout is unread: gains beside the transforms, that follow content and quality and nothing else, so
that neither symbols nor picture depend on what is known of other frames. What an encoder scales by
and what a decoder scales back by are learned apart. `parts/experts.py` is the exact one of `small`.
"""

import math

import torch
from torch import Tensor, nn

from kinema.nn.residual import leaky
from kinema.parts.quality import BEST_LAMBDA, MAX_CRF, WORST_LAMBDA, rd_lambda

MIDDLE = 0.5 * math.log(BEST_LAMBDA * WORST_LAMBDA)  # of ln lambda: gains are exp(a) there
START_SLOPE = 0.5  # steps in proportion to 1 / sqrt(lambda)
APART = 0.1  # by which the first and the last expert's logarithms begin apart, either way
MOST = 32.0  # gains lie between 1 / MOST and MOST, times their start


class GainExperts(nn.Module):
    """Gains of a latent at every position, from the latent and the quality."""

    def __init__(
        self, channels: int, num_experts: int, hidden: int, *, start: float, is_inverse: bool
    ) -> None:
        """Create the gate and the experts.

        Args:
            channels: C of the latent.
            num_experts: E, 1 or more.
            hidden: width of the gate.
            start: gain at the middle of qualities.
            is_inverse: whether gains fall where quality rises: the decoder's.
        """
        super().__init__()
        self.sign, self.start = (-1.0 if is_inverse else 1.0), math.log(start)
        self.enter = nn.Conv2d(channels + 1, hidden, 1)
        self.space = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.choose = nn.Conv2d(hidden, num_experts, 1)
        spread = torch.linspace(-APART, APART, num_experts) if num_experts > 1 else torch.zeros(1)
        self.offset = nn.Parameter(spread[:, None].expand(-1, channels).clone())
        self.slope = nn.Parameter(torch.full((num_experts, channels), START_SLOPE))

    def forward(self, f: Tensor, crf: Tensor) -> tuple[Tensor, Tensor]:
        """Scale `f` (B, C, h, w) for the qualities `crf` (B,).

        Returns:
            scaled, same shape; shares of the experts, (B, E, h, w).
        """
        quality = (1 - 2 * crf / MAX_CRF)[:, None, None, None].expand(-1, 1, *f.shape[2:])
        hidden = leaky(self.space(leaky(self.enter(torch.cat([torch.asinh(f), quality], 1)))))
        shares = self.choose(hidden).float().softmax(1)
        gains = torch.einsum("behw,bec->bchw", shares, self.gains(crf))
        return f.float() * gains, shares

    def gains(self, crf: Tensor) -> Tensor:
        """What each expert scales by, (B, E, C); from quality to quality it never turns back."""
        better = torch.log(rd_lambda(crf))[:, None, None] - MIDDLE
        logs = self.offset + self.sign * self.slope.clamp(min=0) * better
        return torch.exp(self.start + logs.clamp(-math.log(MOST), math.log(MOST)))


class GainPair(nn.Module):
    """Experts of both sides: the encoder's scale a latent, the decoder's its symbols."""

    def __init__(self, channels: int, num_experts: int, hidden: int, start: float) -> None:
        super().__init__()
        self.analysis = GainExperts(channels, num_experts, hidden, start=start, is_inverse=False)
        self.synthesis = GainExperts(
            channels, num_experts, hidden, start=1 / start, is_inverse=True
        )
