"""Bilinear sampling: whole-number weights, borders, gradients that reach positions."""

import pytest
import torch

from kinema.nn.exact import HIGH, LOW
from kinema.parts.sampling import CELL, corners, sample

NOTHING = torch.zeros((), dtype=torch.int32)


def at(*pairs, dtype=torch.float32):
    """Positions (1, L, 2) in 1/CELL of a cell."""
    return torch.tensor(pairs, dtype=dtype).view(1, -1, 2)


def random_table(size, channels=5, seed=0):
    chance = torch.Generator().manual_seed(seed)
    shape = (size[0] * size[1], channels)
    return torch.randint(LOW, HIGH + 1, shape, generator=chance).float()


def by_integers(table, size, x, y):
    """Sum of four rows times whole weights, in 1/CELL**2, with Python's integers."""
    (height, width), rows = size, table.long().tolist()
    x, y = min(max(x, 0), CELL * (width - 1)), min(max(y, 0), CELL * (height - 1))
    (column, right), (line, below) = divmod(x, CELL), divmod(y, CELL)
    total = [0] * len(rows[0])
    for dy, down in ((0, CELL - below), (1, below)):
        for dx, across in ((0, CELL - right), (1, right)):
            if down * across:
                row = rows[(line + dy) * width + column + dx]
                total = [t + down * across * value for t, value in zip(total, row, strict=True)]
    return total


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (3, 7)])
def test_samples_equal_integer_arithmetic(size):
    table = random_table(size)
    chance = torch.Generator().manual_seed(1)
    position = torch.randint(-2 * CELL, 9 * CELL, (1, 60, 2), generator=chance)
    found = sample(table, corners(position.float(), size, NOTHING)) * CELL**2
    expected = [by_integers(table, size, x, y) for x, y in position[0].tolist()]
    assert found[0].tolist() == expected


def test_positions_on_cells_and_beyond_the_border_give_their_rows():
    table, size = random_table((3, 4)), (3, 4)
    pairs = ((CELL, 2 * CELL), (3 * CELL, 0), (-500, CELL), (10**4, 10**4), (0, -1))
    found = sample(table, corners(at(*pairs), size, NOTHING))
    assert torch.equal(found[0], table[[9, 3, 4, 11, 0]])


def test_weights_are_whole_numbers_and_make_one():
    chance = torch.Generator().manual_seed(2)
    position = torch.randint(-CELL, 9 * CELL, (1, 500, 2), generator=chance).float()
    weight = corners(position, (6, 8), NOTHING).weight * CELL**2
    assert torch.equal(weight, weight.round())
    assert weight.min() >= 0
    assert (weight.sum(-1) == CELL**2).all()


def test_extreme_rows_are_sampled_exactly_in_fp32():
    size = (6, 8)
    chance = torch.Generator().manual_seed(3)
    position = torch.randint(0, 7 * CELL, (2, 400, 2), generator=chance).float()
    place = corners(position, size, NOTHING)
    for value in (float(LOW), float(HIGH), HIGH - 1.0):
        table = torch.full((48, 16), value)
        table[::2] = HIGH
        assert torch.equal(sample(table, place).double(), sample(table.double(), place))


def test_start_and_stride_choose_among_rows():
    size, heads = (2, 3), 4
    table = random_table(size, channels=1)
    many = torch.cat([table * 0, table.repeat_interleave(heads, 0)])  # row = cell * heads + head
    start = len(table) + torch.arange(heads, dtype=torch.int32)
    position = at((70, 20), (5, 64))[..., None].expand(-1, -1, -1, heads)
    found = sample(many, corners(position, size, start, heads))
    expected = sample(table, corners(at((70, 20), (5, 64)), size, NOTHING))
    assert torch.equal(found, expected[:, :, None].expand(-1, -1, heads, -1))


def test_gradients_reach_positions_and_rows():
    table, size = random_table((3, 4)).double().requires_grad_(), (3, 4)
    position = at((70.5, 20), (30, 100), (-9, 20), dtype=torch.float64).requires_grad_()

    def total(position, table):
        found = sample(table, corners(position, size, NOTHING))
        return (found * torch.arange(1.0, 6.0)).sum()

    assert torch.autograd.gradcheck(total, (position, table))
    total(position, table).backward()
    assert position.grad[0, 2, 0] == 0, "beyond the border nothing changes"
    assert (position.grad[0, :2] != 0).all()
