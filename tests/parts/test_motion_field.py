"""Fields composed and cells of features moved: against plain references, and exact."""

import pytest
import torch
import torch.nn.functional as F

from kinema.errors import ShapeError
from kinema.parts.motion_field import FIELD_LIMIT, compose_fields, sample_cells


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def noise_field(batch=1, spread=60.0, seed=1):
    field = torch.randn(batch, 2, 4, 6, generator=chance(seed)) * spread
    return field.round().clamp(-FIELD_LIMIT, FIELD_LIMIT)


def grid_sampled(plane, flow, unit):
    """What torch makes of a flow in 1/unit sample: bilinear, border repeated."""
    height, width = plane.shape[-2:]
    x = torch.arange(width) + flow[:, 0] / unit
    y = torch.arange(height)[:, None] + flow[:, 1] / unit
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)
    return F.grid_sample(plane.double(), grid.double(), padding_mode="border", align_corners=True)


def test_cells_agree_with_grid_sample():
    cells = torch.randn(2, 5, 4, 6, generator=chance())
    offsets = noise_field(2)
    expected = grid_sampled(cells, offsets, 64)
    assert (sample_cells(cells, offsets) - expected).abs().max() < 1e-4


def test_composed_fields_lead_two_pictures_back():
    first, second = torch.zeros(1, 2, 4, 6), torch.zeros(1, 2, 4, 6)
    first[:, 0] = 64  # one cell to the right
    second[0, 1] = 10 * torch.arange(6)
    found = compose_fields(first, second)
    assert (found[0, 0] == 64).all()
    assert found[0, 1, 0].tolist() == [10, 20, 30, 40, 50, 50]
    first[:, 0] = 3  # 3/64 of a cell: the second grows by 30/64, rounded
    assert compose_fields(first, second)[0, 1, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert compose_fields(first * 300, first * 300).max() == FIELD_LIMIT


def test_gradients_reach_fields_and_cells():
    cells = torch.randn(1, 5, 4, 6, generator=chance()).requires_grad_()
    offsets = (noise_field(spread=5.0) + 0.3).requires_grad_()
    sample_cells(cells, offsets).square().sum().backward()
    assert (cells.grad != 0).float().mean() > 0.5
    assert (offsets.grad != 0).float().mean() > 0.5


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [1, 2])
def test_results_are_the_same_bits_however_computed(layout, dtype, threads):
    first, second = noise_field(2, seed=1), noise_field(2, seed=2)
    cells = torch.randint(-2048, 2048, (2, 5, 4, 6), generator=chance(3)).float()
    expected = (compose_fields(first, second), sample_cells(cells, first))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first, second, cells = (
            t.to(dtype).contiguous(memory_format=layout) for t in (first, second, cells)
        )
        found = (compose_fields(first, second), sample_cells(cells, first))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a.double(), b.double()) for a, b in zip(found, expected, strict=True))


def test_extreme_offsets_are_exact_in_fp32():
    signs = torch.randint(0, 2, (1, 2, 5, 7), generator=chance()).float() * 2 - 1
    cells = torch.where(signs > 0, 2047.0, -2048.0)
    field = signs * FIELD_LIMIT - 1
    found = sample_cells(cells, field)
    assert torch.equal(found.double(), sample_cells(cells.double(), field.double()))


def test_sizes_must_fit():
    with pytest.raises(ShapeError, match="offsets"):
        sample_cells(torch.zeros(1, 3, 4, 6), torch.zeros(1, 2, 4, 5))
