"""Rate and distortion of coded pictures."""

import torch
from torch import Tensor

from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT, STEPS_PER_LEVEL
from kinema.parts.quality import rd_lambda

BALANCE = 0.5  # the loss at a quality is divided by lambda**BALANCE, so that all qualities count
MIDDLE_LAMBDA = 0.0245  # geometric middle of the range


def plane_mse(x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean squared errors of Y, U and V per picture.

    Args:
        x: (B, 96, h, w), picture units.
        x_hat: likewise.

    Returns:
        three (B,) tensors, in squared 8-bit steps.
    """
    error = ((x.float() - x_hat.float()) * (1 / STEPS_PER_LEVEL)).square().mean((2, 3))
    return error[:, :64].mean(1), error[:, 64:80].mean(1), error[:, 80:].mean(1)


def plane_error(y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Distortion of pictures from that of their planes, as everything is judged by."""
    return LUMA_WEIGHT * y + CHROMA_WEIGHT * (u + v)


def balance(crf: Tensor) -> Tensor:
    """Weight of a quality in the loss: what is saved counts relative to what is spent; (B,)."""
    return (rd_lambda(crf) / MIDDLE_LAMBDA) ** -BALANCE


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for 8-bit samples."""
    return 10 * torch.log10(255.0**2 / mse.clamp(min=1e-6))
