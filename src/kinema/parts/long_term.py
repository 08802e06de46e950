"""The temporal prior of LSTVC as published: a state from intra frame to intra frame.

    I frame --- Init --- T       T, x_hat before --- Ext, Supp --- T       T, m_hat --- Align --- T

Source: LSTVC (arXiv 2208.03754), III-B. Published: 64 x H/4 x W/4, three convolutions in Init, the
order of updates. Unstated, ours: everything else inside. In ordinary floating point.
"""

import torch
from torch import Tensor, nn

from kinema.nn.residual import Leaky, ResidualBlock, conv, silent
from kinema.parts.optical_flow import rescale, warp


class LongTermState(nn.Module):
    """Begins, supplements and aligns the state T, (B, C, H/4, W/4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.begin = _look(channels)
        self.extract = _look(channels)
        self.supplement = nn.Sequential(
            conv(2 * channels, channels),
            ResidualBlock(channels),
            ResidualBlock(channels),
            silent(conv(channels, channels)),
        )
        self.refine = nn.Sequential(
            conv(channels, channels), ResidualBlock(channels), silent(conv(channels, channels))
        )

    def before_motion(self, state: Tensor | None, picture: Tensor) -> Tensor:
        """Begin from an I frame, or add what the frame before has shown.

        Args:
            state: T as the frame before left it; None behind an I frame.
            picture: the decoded frame before, (B, 3, H, W), samples 0 to 1.
        """
        if state is None:
            return self.begin(picture - 0.5)
        seen = torch.cat([state, self.extract(picture - 0.5)], 1)
        return state + self.supplement(seen)

    def after_motion(self, state: Tensor, flow: Tensor) -> Tensor:
        """Align the state with the decoded flow, (B, 2, H, W)."""
        moved = warp(state, rescale(flow, 0.25))
        return moved + self.refine(moved)


def _look(channels: int) -> nn.Sequential:
    """Three convolutions from a picture to a quarter of its size."""
    return nn.Sequential(
        conv(3, channels, stride=2), Leaky(), conv(channels, channels, stride=2), Leaky(),
        conv(channels, channels),
    )  # fmt: skip
