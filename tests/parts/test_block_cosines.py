"""Block transforms: orthonormal in every size, blocks alone, exact once frozen."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.parts.block_cosines import SCALE, SIDES, BlockCosines, CosineTransform, folded_cosines


def test_cosines_are_orthonormal():
    basis = BlockCosines(48).basis.flatten(1)
    assert torch.allclose(basis @ basis.T, torch.eye(48), atol=1e-3)


def test_flat_blocks_come_back():
    cosines = BlockCosines(12)
    planes = torch.rand(2, 3, 2, 3).repeat_interleave(16, 2).repeat_interleave(16, 3)
    y = cosines(planes)
    assert y.shape == (2, 12, 2, 3)
    assert torch.allclose(y[:, 0], planes[:, 0, ::16, ::16] * 16 * SCALE, atol=1e-2)
    assert torch.allclose(cosines.inverse(y), planes, atol=1e-3)


@pytest.fixture
def transform():
    made = CosineTransform(384)
    torch.nn.init.uniform_(made.gain, 0.5, 4.0)
    return made


@pytest.mark.parametrize("side", SIDES)
def test_cosines_of_every_size_are_orthonormal(side):
    rows = folded_cosines(side)
    assert torch.allclose(rows @ rows.T, torch.eye(384, dtype=torch.float64), atol=1e-3)


def test_channels_of_all_sizes_are_of_like_frequency():
    """A smooth picture keeps its energy in the first channels, whatever the size of blocks."""
    line = torch.linspace(-1, 1, 16, dtype=torch.float64)
    ramp = torch.zeros(1, 96, 2, 2, dtype=torch.float64)
    picture = (line[:, None] + line).view(1, 1, 16, 16)
    ramp[:, :64] = torch.nn.functional.pixel_unshuffle(picture, 8)
    column = torch.nn.functional.pixel_unshuffle(ramp, 2).flatten()
    for side in SIDES:
        energy = (folded_cosines(side) @ column).square()
        assert energy[:24].sum() > 0.95 * energy.sum()


def test_mixed_sizes_come_back(transform):
    x, sizes = torch.randn(2, 96, 6, 8) * 50, torch.randint(0, 3, (2, 3, 4))
    assert torch.allclose(transform.inverse(transform.free(x, sizes), sizes), x, atol=0.1)


def test_amplitudes_of_whole_blocks_tell_those_of_every_size(transform):
    x = torch.randn(2, 96, 6, 8) * 50
    divided = transform.divide(transform.free(x))
    for index, found in enumerate(divided):
        expected = transform.free(x, torch.full((2, 3, 4), index))
        assert torch.allclose(found, expected, atol=0.1)


def test_a_block_depends_on_its_own_samples_and_size(transform):
    x, sizes = torch.randn(1, 96, 6, 8) * 50, torch.zeros(1, 3, 4, dtype=torch.long)
    sizes[0, 1, 2] = 2
    mixed, whole = transform(x, sizes), transform(x)
    differs = (mixed != whole).any(1)[0]
    assert differs[1, 2]
    assert differs.sum() == 1


def test_frozen_results_are_whole_and_the_same_in_any_order(transform):
    transform.load_grid_tensors(transform.grid_tensors())
    x = (torch.randn(1, 96, 6, 8) * 50).round()
    sizes = torch.randint(0, 3, (1, 3, 4))
    y = transform(x, sizes)
    back = transform.inverse(y.double(), sizes)
    assert torch.equal(y, y.round())
    assert torch.equal(back, back.round())
    turned = transform.inverse(y.double().flip(3), sizes.flip(2))
    blocks = torch.nn.functional.pixel_unshuffle(back, 2)
    assert torch.equal(torch.nn.functional.pixel_unshuffle(turned, 2), blocks.flip(3))


def test_gains_are_above_nothing(transform):
    broken = {"gain": torch.zeros(384, dtype=torch.int32)}
    with pytest.raises(ConfigError, match="found 0"):
        transform.load_grid_tensors(broken)
