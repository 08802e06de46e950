"""Picture quality: PSNR of each plane, MS-SSIM of luma."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kinema.errors import ShapeError
from kinema.video.frame import Frame, Plane

MAX_PSNR_DB = 100.0  # reported for identical planes
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003
WINDOW_SIZE, WINDOW_SIGMA = 11, 1.5
K1, K2, PEAK = 0.01, 0.03, 255.0

Samples: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlanePsnr:
    """PSNR of each plane in dB, at most `MAX_PSNR_DB`."""

    y: float
    u: float
    v: float

    @property
    def yuv_611(self) -> float:
        """The average (6 Y + U + V) / 8 in dB."""
        return (6 * self.y + self.u + self.v) / 8


def psnr_planes(a: Frame, b: Frame) -> PlanePsnr:
    """Compare two pictures plane by plane.

    Raises:
        ShapeError: the pictures differ in size.
    """
    return PlanePsnr(*(psnr(p, q) for p, q in zip(a.planes, b.planes, strict=True)))


def psnr(a: Plane, b: Plane) -> float:
    """PSNR in dB of two planes of the same shape, at most `MAX_PSNR_DB`."""
    _check_same_shape(a, b)
    difference = a.astype(np.int32) - b
    squares = int(np.einsum("ij,ij->", difference, difference, dtype=np.int64))
    if squares == 0:
        return MAX_PSNR_DB
    return min(MAX_PSNR_DB, 10 * math.log10(PEAK**2 * a.size / squares))


def ms_ssim(a: Plane, b: Plane) -> float:
    """Multi-scale structural similarity of two luma planes, 0..1, in double precision.

    Five scales as published; where the smaller side has at most 160 samples, as many scales as the
    11x11 window allows, with their weights scaled to a sum of one.

    Raises:
        ShapeError: the shapes differ, or a side is shorter than the window.
    """
    _check_same_shape(a, b)
    if min(a.shape) < WINDOW_SIZE:
        raise ShapeError(f"planes of {a.shape}, expected at least {WINDOW_SIZE} samples a side")
    num_scales = 1
    while num_scales < 5 and min(a.shape) > (WINDOW_SIZE - 1) * 2**num_scales:
        num_scales += 1
    weights = np.array(MS_SSIM_WEIGHTS[:num_scales]) / sum(MS_SSIM_WEIGHTS[:num_scales])
    x, y = a.astype(np.float64), b.astype(np.float64)
    result = 1.0
    for scale, weight in enumerate(weights):
        ssim, contrast = _ssim(x, y)
        result *= max(0.0, ssim if scale == num_scales - 1 else contrast) ** float(weight)
        x, y = _halve(x), _halve(y)
    return result


def _ssim(x: Samples, y: Samples) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure term of two planes."""
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x**2
    variance_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def _blur(x: Samples) -> Samples:
    """Gaussian window, separable, only where it fits: (H, W) -> (H - 10, W - 10)."""
    distance = np.arange(WINDOW_SIZE) - WINDOW_SIZE // 2
    window = np.exp(-(distance**2) / (2 * WINDOW_SIGMA**2))
    window /= window.sum()
    for _ in range(2):
        length = len(x) - WINDOW_SIZE + 1
        x = sum(
            (weight * x[shift : shift + length] for shift, weight in enumerate(window)),
            start=np.zeros((length, x.shape[1])),
        ).T
    return x


def _halve(x: Samples) -> Samples:
    """Mean of 2x2 samples; an odd size is padded with a leading row or column of zeros."""
    x = np.pad(x, [(size % 2, 0) for size in x.shape])
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def _check_same_shape(a: Plane, b: Plane) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"planes of {a.shape} and {b.shape}, expected the same shape")
