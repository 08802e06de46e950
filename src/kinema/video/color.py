"""RGB and 4:2:0 YCbCr, one into the other, as ITU-T H.273 defines them; every value rounded once.

Only elementwise arithmetic is used, so a picture converts to the same bytes on every machine.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kinema.errors import VideoError
from kinema.video.frame import ColorDescription, Frame, Plane

# H.273 table 4, matrix code point: (K_R, K_B)
LUMA_COEFFICIENTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}
UNSPECIFIED = 2

# AVChromaLocation: where a chroma sample lies, in luma samples, (down, right) of its 2x2 block
SITING = {1: (0.5, 0.0), 2: (0.5, 0.5), 3: (0.0, 0.0), 4: (0.0, 0.5), 5: (1.0, 0.0), 6: (1.0, 0.5)}
DEFAULT_SITING = SITING[1]
TRIANGLE = ((-1, 0.25), (0, 0.5), (1, 0.25))

Samples = NDArray[np.float32]


def luma_coefficients(matrix: int, height: int) -> tuple[float, float]:
    """K_R and K_B of a matrix code point.

    Args:
        matrix: H.273 code point; for 2 (unspecified) players guess from the height, and so do we:
            BT.709 from 720 lines on, else BT.601.
        height: rows of the picture.

    Raises:
        VideoError: the code point needs more than two coefficients (YCgCo, ICtCp, ...).
    """
    if matrix == UNSPECIFIED:
        matrix = 1 if height >= 720 else 6
    if matrix not in LUMA_COEFFICIENTS:
        known = ", ".join(map(str, LUMA_COEFFICIENTS))
        raise VideoError(f"colour matrix {matrix} cannot be converted to RGB, expected {known}")
    return LUMA_COEFFICIENTS[matrix]


def frame_to_rgb(frame: Frame, color: ColorDescription) -> Plane:
    """Convert a picture to RGB.

    Args:
        frame: 4:2:0 planes.
        color: their matrix, range and chroma location; transfer and primaries stay as they are.

    Returns:
        (H, W, 3), full range 0..255.
    """
    height, width = frame.y.shape
    k_r, k_b = luma_coefficients(color.matrix, height)
    offset, y_span, c_span = _range(color)
    down, right = SITING.get(color.chroma_location, DEFAULT_SITING)
    y = (frame.y.astype(np.float32) - offset) * np.float32(255 / y_span)
    difference = []
    for plane in (frame.u, frame.v):
        chroma = (plane.astype(np.float32) - 128) * np.float32(255 / c_span)
        difference.append(_upsample(_upsample(chroma, height, down).T, width, right).T)
    cb, cr = difference
    red = y + np.float32(2 * (1 - k_r)) * cr
    blue = y + np.float32(2 * (1 - k_b)) * cb
    green = (y - np.float32(k_r) * red - np.float32(k_b) * blue) / np.float32(1 - k_r - k_b)
    return _round(np.stack((red, green, blue), axis=-1))


def rgb_to_frame(rgb: Plane, color: ColorDescription, pts: int = 0, duration: int = 0) -> Frame:
    """Convert an RGB picture to 4:2:0.

    Args:
        rgb: (H, W, 3), full range 0..255.
        color: matrix, range and chroma location that the result is to have.
        pts: presentation time of the result.
        duration: of the result, 0 where unknown.
    """
    k_r, k_b = luma_coefficients(color.matrix, rgb.shape[0])
    offset, y_span, c_span = _range(color)
    down, right = SITING.get(color.chroma_location, DEFAULT_SITING)
    red, green, blue = (rgb[..., channel].astype(np.float32) for channel in range(3))
    y = np.float32(k_r) * red + np.float32(1 - k_r - k_b) * green + np.float32(k_b) * blue
    differences = []
    for primary, k in ((blue, k_b), (red, k_r)):
        chroma = _downsample(_downsample(primary - y, down).T, right).T
        differences.append(_round(128 + chroma * np.float32(c_span / 255 / (2 * (1 - k)))))
    u, v = differences
    return Frame(_round(offset + y * np.float32(y_span / 255)), u, v, pts, duration)


def converted_from_rgb(color: ColorDescription) -> ColorDescription:
    """Describe the result of `rgb_to_frame` for a source with these primaries and transfer."""
    return replace(color, matrix=1, full_range=False, chroma_location=1)


def _range(color: ColorDescription) -> tuple[float, float, float]:
    """Black level of luma, then the spans of luma and chroma in 8 bits."""
    return (0.0, 255.0, 255.0) if color.full_range else (16.0, 219.0, 224.0)


def _round(samples: Samples) -> Plane:
    return np.clip(np.rint(samples), 0, 255).astype(np.uint8)


def _upsample(chroma: Samples, length: int, offset: float) -> Samples:
    """Interpolate linearly along the rows: (N, ...) -> (length, ...)."""
    position = np.clip((np.arange(length) - offset) / 2, 0, len(chroma) - 1)
    before = position.astype(np.intp)
    after = np.minimum(before + 1, len(chroma) - 1)
    weight = (position - before).astype(np.float32).reshape(-1, *[1] * (chroma.ndim - 1))
    return chroma[before] * (1 - weight) + chroma[after] * weight


def _downsample(samples: Samples, offset: float) -> Samples:
    """Halve the number of rows, rounding up: a triangle filter centred on the chroma site."""
    first = 2 * np.arange((len(samples) + 1) // 2)
    weighted = [(0, 0.5), (1, 0.5)]
    if offset != 0.5:
        weighted = [(int(offset) + shift, weight) for shift, weight in TRIANGLE]
    total = np.zeros((len(first), *samples.shape[1:]), np.float32)
    for shift, weight in weighted:
        total += samples[np.clip(first + shift, 0, len(samples) - 1)] * np.float32(weight)
    return total
