import math

import numpy as np
import pytest

from kinema.errors import ShapeError
from kinema.video.frame import Frame
from kinema.video.quality import MAX_PSNR_DB, ms_ssim, psnr_planes


def noisy(plane, sigma, seed=1):
    noise = np.random.default_rng(seed).normal(0, sigma, plane.shape)
    return np.clip(plane + noise, 0, 255).astype(np.uint8)


def test_psnr_of_a_known_error(kit):
    a = kit.frame(0)
    b = Frame(a.y + np.uint8(2), a.u + np.uint8(1), a.v, pts=0)
    result = psnr_planes(a, b)
    assert result.y == pytest.approx(10 * math.log10(255**2 / 4))
    assert result.u == pytest.approx(10 * math.log10(255**2))
    assert result.v == MAX_PSNR_DB
    assert result.yuv_611 == pytest.approx((6 * result.y + result.u + result.v) / 8)


def test_psnr_of_black_and_white_is_zero():
    black = Frame(*[np.zeros((2, 2), np.uint8), *[np.zeros((1, 1), np.uint8)] * 2], pts=0)
    white = Frame(*[plane + np.uint8(255) for plane in black.planes], pts=0)
    assert psnr_planes(black, white).yuv_611 == 0


def test_different_sizes_are_refused(kit):
    with pytest.raises(ShapeError, match="same shape"):
        psnr_planes(kit.frame(0), kit.frame(0, 62, 48))


def test_ms_ssim_of_equal_planes_is_one_and_falls_with_noise(kit):
    y = kit.frame(0, 320, 240).y
    values = [ms_ssim(y, noisy(y, sigma)) for sigma in (0, 5, 20)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize("size", [(240, 176), (181, 163)])
def test_ms_ssim_agrees_with_the_reference_package(size):
    reference = pytest.importorskip("pytorch_msssim")
    torch = pytest.importorskip("torch")
    y = (np.random.default_rng(0).random(size) * 60 + np.arange(size[1])[None] % 128).astype(
        np.uint8
    )
    other = noisy(y, 9)
    x, z = (torch.from_numpy(plane[None, None].astype(np.float64)) for plane in (y, other))
    expected = float(reference.ms_ssim(x, z, data_range=255))
    assert ms_ssim(y, other) == pytest.approx(expected, abs=2e-5)


def test_small_planes_use_fewer_scales(kit):
    y = kit.frame(0, 32, 24).y
    assert 0 < ms_ssim(y, noisy(y, 10)) < 1
    with pytest.raises(ShapeError, match="at least 11"):
        ms_ssim(y[:10], y[:10])
