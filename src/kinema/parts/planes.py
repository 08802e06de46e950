"""Pictures as tensors: 4:2:0 planes to 96 channels at 1/8 resolution, and back.

Values are in picture units: a quarter of an 8-bit step, 0 in the middle (sample 128), so that a
picture, -512 to 508, fits the activation grid with room for overshoot.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import ShapeError
from kinema.nn.exact import round_through

STEPS_PER_LEVEL = 4.0
MIDDLE = 128.0
PEAK = 255.0
LUMA_WEIGHT = 0.6  # of the luma plane's mean squared error in the distortion
CHROMA_WEIGHT = 0.3  # of each chroma plane's; more than its samples, for PSNR 6:1:1
FRACTION_BITS = 4  # of picture units as they are decoded: sums of whole ones would be too coarse
CHANNELS = 96  # 8x8 luma, 4x4 of each chroma plane


def pack_planes(y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Fold planes into channels.

    Args:
        y: luma, (B, 1, H, W), 8-bit values, H and W multiples of 8.
        u: first chroma plane, (B, 1, H/2, W/2).
        v: second chroma plane, likewise.

    Returns:
        (B, 96, H/8, W/8), picture units, fp32.

    Raises:
        ShapeError: sizes do not fit.
    """
    height, width = y.shape[-2:]
    if height % 8 or width % 8:
        raise ShapeError(f"luma is {width}x{height}; both must be multiples of 8")
    if u.shape[-2:] != (height // 2, width // 2) or v.shape != u.shape:
        raise ShapeError(f"chroma is {tuple(u.shape[-2:])} for luma {tuple(y.shape[-2:])}")
    luma = F.pixel_unshuffle(y.float(), 8)
    chroma = F.pixel_unshuffle(torch.cat([u, v], 1).float(), 4)
    return (torch.cat([luma, chroma], 1) - MIDDLE) * STEPS_PER_LEVEL


def unpack_planes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unfold channels into planes, neither rounded nor clamped.

    Args:
        x: (B, 96, H/8, W/8), picture units.

    Returns:
        y (B, 1, H, W), u and v (B, 1, H/2, W/2), in 8-bit steps.
    """
    levels = x * (1 / STEPS_PER_LEVEL) + MIDDLE
    luma = F.pixel_shuffle(levels[:, :64], 8)
    chroma = F.pixel_shuffle(levels[:, 64:], 4)
    return luma, chroma[:, :1], chroma[:, 1:]


def to_samples(plane: Tensor) -> Tensor:
    """Round once, half to even, and clamp to 8 bits: uint8 of the same shape."""
    return plane.round().clamp(0, 255).to(torch.uint8)


def whole_picture(x: Tensor) -> Tensor:
    """Round a packed picture (B, 96, H/8, W/8) to whole samples, as `to_samples` rounds planes.

    Gradients pass as if nothing were rounded.
    """
    levels = round_through(x * (1 / STEPS_PER_LEVEL)) + MIDDLE
    return (levels.clamp(0, 255) - MIDDLE) * STEPS_PER_LEVEL


def pad_plane(plane: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of a (B, C, H, W) plane until `multiple` divides H and W."""
    height, width = plane.shape[-2:]
    return F.pad(plane, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def full_planes(x: Tensor) -> Tensor:
    """Three planes of full size, each chroma sample four times: (B, 96, h, w) to (B, 3, 8h, 8w).

    Returns:
        samples 0 to 1.
    """
    y, u, v = unpack_planes(x)
    chroma = torch.cat([u, v], 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return torch.cat([y, chroma], 1) * (1 / PEAK)


def half_planes(planes: Tensor) -> Tensor:
    """Undo `full_planes`; chroma samples are means of four."""
    chroma = F.avg_pool2d(planes[:, 1:], 2)
    return pack_planes(*(PEAK * p for p in (planes[:, :1], chroma[:, :1], chroma[:, 1:])))
