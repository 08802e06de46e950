"""Distortion in the units that it claims."""

import pytest
import torch

from kinema.parts.planes import pack_planes
from kinema.parts.quality import rd_lambda
from kinema.train.losses import MIDDLE_LAMBDA, balance, plane_mse, psnr


def test_errors_are_means_over_samples_in_8_bit_steps():
    planes = [torch.full((2, 1, size, size), 100.0) for size in (16, 8, 8)]
    moved = [plane + step for plane, step in zip(planes, (1.0, 2.0, -3.0), strict=True)]
    moved[0][1] += 4.0
    mse_y, mse_u, mse_v = plane_mse(pack_planes(*planes), pack_planes(*moved))
    assert mse_y.tolist() == [1.0, 25.0]
    assert mse_u.tolist() == [4.0, 4.0]
    assert mse_v.tolist() == [9.0, 9.0]


def test_balance_is_one_in_the_middle_and_falls_with_lambda():
    crf = torch.tensor([0.0, 31.5, 63.0])
    weight = balance(crf)
    assert weight[1].item() == pytest.approx(1.0, rel=0.01)
    assert weight.diff().min() > 0
    assert rd_lambda(crf)[1].item() == pytest.approx(MIDDLE_LAMBDA, rel=0.01)


def test_psnr_of_known_errors():
    assert psnr(torch.tensor([1.0, 65.025])).tolist() == pytest.approx([48.1308, 30.0], abs=1e-3)
    assert psnr(torch.tensor(0.0)).isfinite()
