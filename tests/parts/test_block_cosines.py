"""The fixed block transform: orthonormal but for its scale, exact for what is smooth."""

import torch

from kinema.parts.block_cosines import SCALE, BlockCosines


def test_cosines_are_orthonormal():
    basis = BlockCosines(48).basis.flatten(1)
    assert torch.allclose(basis @ basis.T, torch.eye(48), atol=1e-5)


def test_flat_blocks_come_back():
    cosines = BlockCosines(12)
    planes = torch.rand(2, 3, 2, 3).repeat_interleave(16, 2).repeat_interleave(16, 3)
    y = cosines(planes)
    assert y.shape == (2, 12, 2, 3)
    assert torch.allclose(y[:, 0], planes[:, 0, ::16, ::16] * 16 * SCALE, atol=1e-4)
    assert torch.allclose(cosines.inverse(y), planes, atol=1e-5)
