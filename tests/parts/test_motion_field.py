"""Fields made dense, pictures and fields moved: against plain references, and exact."""

import pytest
import torch
import torch.nn.functional as F

from kinema.errors import ShapeError
from kinema.parts.motion_field import (
    FIELD_LIMIT,
    compose_fields,
    sample_cells,
    upsample_field,
    warp_picture,
    warp_planes,
    whole_picture,
)
from kinema.parts.planes import pack_planes, unpack_planes

SIZE = (64, 96)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def noise_planes(batch=1, size=SIZE, seed=0):
    height, width = size
    sizes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    g = chance(seed)
    return [torch.randint(0, 256, (batch, 1, *s), generator=g).float() for s in sizes]


def noise_field(batch=1, size=SIZE, spread=60.0, seed=1):
    field = torch.randn(batch, 2, size[0] // 16, size[1] // 16, generator=chance(seed)) * spread
    return field.round().clamp(-FIELD_LIMIT, FIELD_LIMIT)


def grid_sampled(plane, flow, unit):
    """What torch makes of a flow in 1/unit sample: bilinear, border repeated."""
    height, width = plane.shape[-2:]
    x = torch.arange(width) + flow[:, 0] / unit
    y = torch.arange(height)[:, None] + flow[:, 1] / unit
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)
    return F.grid_sample(plane.double(), grid.double(), padding_mode="border", align_corners=True)


@pytest.mark.parametrize("size", [(16, 16), (16, 48), (64, 96)])
def test_flow_is_bilinear_between_block_centres(size):
    field = noise_field(2, size)
    expected = F.interpolate(field.double() * 4, size, mode="bilinear", align_corners=False)
    assert (upsample_field(field, exact=False) - expected).abs().max() < 1e-3
    assert torch.equal(upsample_field(field), expected.round().float())


def test_flow_is_rounded_half_to_even():
    field = torch.zeros(1, 2, 1, 2)
    field[0, 0, 0, 1] = 4  # rises by 16 sixteenths over 16 samples, odd halves between
    flow = upsample_field(field)[0, 0, 8]
    assert flow[7:12].tolist() == [0, 0, 2, 2, 4]


def test_a_whole_motion_shifts_planes_by_whole_samples():
    planes = noise_planes()
    field = torch.zeros(1, 2, 4, 6)
    field[:, 0], field[:, 1] = 4 * 6, 4 * -4  # 6 luma samples right, 4 up
    found = warp_planes(*planes, upsample_field(field))
    for plane, result, shrink in zip(planes, found, (1, 2, 2), strict=True):
        right, up = 6 // shrink, 4 // shrink
        assert torch.equal(result[:, :, up:, :-right], plane[:, :, :-up, right:])
        assert torch.equal(result[:, :, up:, -1], plane[:, :, :-up, -1])
        assert torch.equal(result[:, :, 0, :-right], plane[:, :, 0, right:])


def in_integers(plane, flow, unit):
    """Bilinear samples in whole numbers from beginning to end, rounded half to even."""
    height, width = plane.shape[-2:]
    samples, flow = plane[:, 0].long(), flow.long()
    x = (torch.arange(width) * unit + flow[:, 0]).clamp(0, unit * (width - 1))
    y = (torch.arange(height)[:, None] * unit + flow[:, 1]).clamp(0, unit * (height - 1))
    picture = torch.arange(len(plane))[:, None, None]
    total = torch.zeros_like(x)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (y % unit if row else unit - y % unit) * (x % unit if column else unit - x % unit)
        rows, columns = (y // unit + row).clamp(max=height - 1), x // unit + column
        total += weight * samples[picture, rows, columns.clamp(max=width - 1)]
    whole, rest = total // unit**2, total % unit**2 * 2
    return (whole + ((rest > unit**2) | ((rest == unit**2) & (whole % 2 == 1))))[:, None].float()


@pytest.mark.parametrize("spread", [3.0, 60.0, 2000.0])
def test_warp_is_whole_number_arithmetic(spread):
    planes, flow = noise_planes(2), upsample_field(noise_field(2, spread=spread))
    chroma_flow = F.avg_pool2d(flow, 2).round()
    flows = ((flow, 16), (chroma_flow, 32), (chroma_flow, 32))
    for plane, result, place in zip(planes, warp_planes(*planes, flow), flows, strict=True):
        assert torch.equal(result, in_integers(plane, *place))


@pytest.mark.parametrize("spread", [3.0, 60.0, 2000.0])
def test_free_warp_agrees_with_grid_sample_and_with_the_exact_one(spread):
    planes, flow = noise_planes(2), upsample_field(noise_field(2, spread=spread))
    chroma_flow = F.avg_pool2d(flow, 2)
    free, exact = warp_planes(*planes, flow, exact=False), warp_planes(*planes, flow)
    for plane, result, place in zip(planes, free, (flow, chroma_flow, chroma_flow), strict=True):
        unit = 16 if plane.shape[-1] == SIZE[1] else 32
        assert (result - grid_sampled(plane, place, unit)).abs().max() < 1e-3
    assert (free[0] - exact[0]).abs().max() <= 0.5
    assert (free[1] - exact[1]).abs().max() <= 0.5 + 255 * 2 * 0.75 / 32  # positions differ too


def test_prediction_has_whole_samples_only_if_exact(pictures):
    x, field = whole_picture(pictures(2)), noise_field(2)
    levels = torch.cat([p.flatten() for p in unpack_planes(warp_picture(x, field))])
    assert torch.equal(levels, levels.round())
    assert levels.min() >= 0
    assert levels.max() <= 255
    free = warp_picture(x, field, exact=False)
    assert not torch.equal(free, free.round())


def test_packed_and_plain_warp_agree():
    planes, field = noise_planes(), noise_field()
    expected = pack_planes(*warp_planes(*planes, upsample_field(field)))
    assert torch.equal(warp_picture(pack_planes(*planes), field), expected)


def test_no_motion_changes_nothing():
    planes = noise_planes()
    x = pack_planes(*planes)
    assert torch.equal(warp_picture(x, torch.zeros(1, 2, 4, 6)), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [1, 2])
def test_results_are_the_same_bits_however_computed(layout, dtype, threads):
    planes, first, second = noise_planes(2), noise_field(2, seed=1), noise_field(2, seed=2)
    cells = torch.randint(-2048, 2048, (2, 5, 4, 6), generator=chance(3)).float()
    x = pack_planes(*planes)
    expected = (warp_picture(x, first), compose_fields(first, second), sample_cells(cells, first))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, first, second, cells = (
            t.to(dtype).contiguous(memory_format=layout) for t in (x, first, second, cells)
        )
        found = (
            warp_picture(x, first),
            compose_fields(first, second),
            sample_cells(cells, first),
        )
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a.double(), b.double()) for a, b in zip(found, expected, strict=True))


def test_extreme_fields_are_exact_in_fp32():
    signs = torch.randint(0, 2, (1, 2, 5, 7), generator=chance()).float() * 2 - 1
    field = signs * FIELD_LIMIT
    assert torch.equal(upsample_field(field).double(), upsample_field(field.double()))
    cells = torch.where(signs > 0, 2047.0, -2048.0)
    found = sample_cells(cells, field - 1)
    assert torch.equal(found.double(), sample_cells(cells.double(), field.double() - 1))


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


def test_gradients_reach_pictures_fields_and_cells():
    field = noise_field().requires_grad_()
    x = pack_planes(*noise_planes()).requires_grad_()
    warp_picture(x, field, exact=False).square().mean().backward()
    assert (field.grad != 0).all()
    assert (x.grad != 0).float().mean() > 0.5
    cells = torch.randn(1, 5, 4, 6, generator=chance()).requires_grad_()
    offsets = (noise_field(spread=5.0) + 0.3).requires_grad_()
    sample_cells(cells, offsets).square().sum().backward()
    assert (cells.grad != 0).float().mean() > 0.5
    assert (offsets.grad != 0).float().mean() > 0.5


def test_gradient_of_a_field_is_the_slope_of_the_error():
    planes = [F.avg_pool2d(p.double(), 9, 1, 4) for p in noise_planes()]

    def error(field):
        flow = upsample_field(field, exact=False)
        return warp_planes(*planes, flow, exact=False)[0].square().mean()

    field = (noise_field(spread=6.0).double() + 0.37).requires_grad_()
    error(field).backward()
    shift = torch.zeros_like(field.detach())
    shift[0, 0, 2, 3] = 1e-4
    slope = float(error(field.detach() + shift) - error(field.detach() - shift)) / 2e-4
    assert float(field.grad[0, 0, 2, 3]) == pytest.approx(slope, rel=0.02)


def test_whole_picture_rounds_and_clamps():
    planes = [p + 0.3 for p in noise_planes()]
    planes[0][0, 0, 0, :3] = torch.tensor([-9.0, 300.0, 2.5])
    found = unpack_planes(whole_picture(pack_planes(*planes)))
    for plane, result in zip(planes, found, strict=True):
        assert torch.equal(result, plane.round().clamp(0, 255))


def test_sizes_must_fit():
    y, u, v = noise_planes()
    with pytest.raises(ShapeError, match="planes and flow"):
        warp_planes(y, u, v, torch.zeros(1, 2, 32, 96))
    with pytest.raises(ShapeError, match="its field needs"):
        warp_picture(pack_planes(y, u, v), torch.zeros(1, 2, 4, 5))
    with pytest.raises(ShapeError, match="offsets"):
        sample_cells(torch.zeros(1, 3, 4, 6), torch.zeros(1, 2, 4, 5))
