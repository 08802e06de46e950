"""Pictures moved by fields, in blocks that overlap: against whole-number arithmetic, and exact."""

import pytest
import torch

from kinema.errors import ShapeError
from kinema.parts.motion_field import FIELD_LIMIT
from kinema.parts.planes import pack_planes, unpack_planes
from kinema.parts.warping import warp_picture, warp_planes

SIZE = (64, 96)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def noise_planes(batch=1, seed=0):
    height, width = SIZE
    sizes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    g = chance(seed)
    return [torch.randint(0, 256, (batch, 1, *s), generator=g).float() for s in sizes]


def noise_field(batch=1, spread=60.0, seed=1):
    field = torch.randn(batch, 2, 4, 6, generator=chance(seed)) * spread
    return field.round().clamp(-FIELD_LIMIT, FIELD_LIMIT)


def fetched(samples, row, column, vector, unit):
    """A sample times unit**2, bilinearly, in whole numbers."""
    height, width = len(samples), len(samples[0])
    x = min(max(column * unit + int(vector[0]), 0), unit * (width - 1))
    y = min(max(row * unit + int(vector[1]), 0), unit * (height - 1))
    total = 0
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (y % unit if down else unit - y % unit) * (x % unit if right else unit - x % unit)
        here = samples[min(y // unit + down, height - 1)][min(x // unit + right, width - 1)]
        total += weight * here
    return total


def shares(place, block, count):
    """Whose vectors count along an axis, and by how many parts of `block`: own and that beyond."""
    own, within = place // block, place % block
    away = abs(2 * within - block + 1)
    mine = min(block, (3 * block - 2 * away) // 2)
    beyond = own + (1 if 2 * within >= block else -1)
    return (own, mine), (min(max(beyond, 0), count - 1), block - mine)


def in_integers(plane, field, block, unit):
    """A prediction in whole numbers from beginning to end, rounded half to even."""
    samples, vectors = plane[0, 0].int().tolist(), field[0].int()
    result = torch.zeros_like(plane)
    whole = unit**2 * block**2
    for row in range(len(samples)):
        for column in range(len(samples[0])):
            total = 0
            for v, down in shares(row, block, vectors.shape[1]):
                for h, across in shares(column, block, vectors.shape[2]):
                    found = fetched(samples, row, column, vectors[:, v, h], unit)
                    total += down * across * found
            quotient, rest = divmod(2 * total, 2 * whole)
            is_up = rest > whole or (rest == whole and quotient % 2 == 1)
            result[0, 0, row, column] = quotient + is_up
    return result


@pytest.mark.parametrize("spread", [3.0, 2000.0])
def test_warp_is_whole_number_arithmetic(spread):
    planes, field = noise_planes(), noise_field(spread=spread)
    ways = ((16, 4), (8, 8), (8, 8))
    for plane, result, way in zip(planes, warp_planes(*planes, field), ways, strict=True):
        assert torch.equal(result, in_integers(plane, field, *way))


def test_a_whole_motion_shifts_planes_by_whole_samples():
    planes = noise_planes()
    field = torch.zeros(1, 2, 4, 6)
    field[:, 0], field[:, 1] = 4 * 6, 4 * -4  # 6 luma samples right, 4 up
    found = warp_planes(*planes, field)
    for plane, result, shrink in zip(planes, found, (1, 2, 2), strict=True):
        right, up = 6 // shrink, 4 // shrink
        assert torch.equal(result[:, :, up:, :-right], plane[:, :, :-up, right:])
        assert torch.equal(result[:, :, up:, -1], plane[:, :, :-up, -1])
        assert torch.equal(result[:, :, 0, :-right], plane[:, :, 0, right:])


def test_no_motion_changes_nothing():
    x = pack_planes(*noise_planes())
    assert torch.equal(warp_picture(x, torch.zeros(1, 2, 4, 6)), x)


def test_the_middle_of_a_block_follows_its_own_vector_alone():
    y, u, v = noise_planes()
    field = noise_field()
    before, _, _ = warp_planes(y, u, v, field)
    field[0, :, 1, 2] += 40
    after, _, _ = warp_planes(y, u, v, field)
    changed = (before != after)[0, 0].nonzero()
    assert changed.min(0).values.tolist() >= [12, 28]
    assert (changed.max(0).values <= torch.tensor([35, 51])).all()  # 4 samples beyond the block
    assert (before != after)[0, 0, 20:28, 36:44].float().mean() > 0.9


def test_pictures_of_a_batch_do_not_meet():
    planes, field = noise_planes(2), noise_field(2)
    together = warp_planes(*planes, field)
    for i in range(2):
        alone = warp_planes(*(p[i : i + 1] for p in planes), field[i : i + 1])
        assert all(torch.equal(a[i : i + 1], b) for a, b in zip(together, alone, strict=True))


def test_packed_and_plain_warp_agree():
    planes, field = noise_planes(), noise_field()
    expected = pack_planes(*warp_planes(*planes, field))
    assert torch.equal(warp_picture(pack_planes(*planes), field), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [1, 2])
def test_results_are_the_same_bits_however_computed(layout, dtype, threads):
    x, field = pack_planes(*noise_planes(2)), noise_field(2, spread=2000.0)
    expected = warp_picture(x, field)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, field = (t.to(dtype).contiguous(memory_format=layout) for t in (x, field))
        found = warp_picture(x, field)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found.double(), expected.double())


def test_gradients_reach_pictures_through_the_rounding():
    x = pack_planes(*noise_planes()).requires_grad_()
    found = warp_picture(x, noise_field())
    levels = torch.cat([p.flatten() for p in unpack_planes(found)])
    assert torch.equal(levels, levels.round())
    found.square().mean().backward()
    assert (x.grad != 0).float().mean() > 0.5


def test_sizes_must_fit():
    y, u, v = noise_planes()
    with pytest.raises(ShapeError, match="planes are"):
        warp_planes(y, u, v, torch.zeros(1, 2, 2, 6))
    with pytest.raises(ShapeError, match="its field needs"):
        warp_picture(pack_planes(y, u, v), torch.zeros(1, 2, 4, 5))
