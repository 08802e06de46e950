"""The four-step order: everything is coded once, and comes back where it was."""

import pytest
import torch

from kinema.parts.quadtree import (
    ORDER,
    by_quarter,
    coded_before,
    cut,
    cut_all_channels,
    inside,
    put,
)

CPU = torch.device("cpu")
SIZES = [(1, 1), (2, 2), (5, 7), (8, 4), (1, 6)]


def numbered(channels, size):
    count = channels * size[0] * size[1]
    return torch.arange(1.0, count + 1).view(1, channels, *size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [4, 12])
def test_four_steps_code_everything_once(channels, size):
    y = numbered(channels, size)
    parts = [cut(y, index) for index in range(4)]
    assert all(p.shape == (1, channels, -(-size[0] // 2), -(-size[1] // 2)) for p in parts)
    assert torch.equal(sum(put(p, i, size) for i, p in enumerate(parts)), y)
    values = torch.cat([p[p > 0] for p in parts])
    assert torch.equal(values.sort().values, y.flatten())


def test_every_place_of_a_cell_and_every_channel_is_coded_in_every_step():
    for index in range(4):
        mask = put(torch.ones(1, 8, 1, 1), index, (2, 2))[0]
        assert (mask.sum(0) == 2).all()
        assert (mask.sum((1, 2)) == 1).all()


@pytest.mark.parametrize("size", SIZES)
def test_positions_inside_are_those_that_exist(size):
    y = numbered(8, size)
    for index in range(4):
        part = cut(y, index).permute(0, 2, 3, 1).flatten()
        places = inside(8, size, index, CPU)
        if places is None:
            assert (part > 0).all()
        else:
            assert torch.equal(places, part.nonzero().squeeze(1))


@pytest.mark.parametrize("size", SIZES)
def test_what_was_coded_before_is_marked(size):
    y = numbered(8, size)
    for index in (1, 2, 3):
        known = sum(put(cut(y, before), before, size) for before in range(index))
        assert torch.equal(coded_before(8, size, index, CPU), (known > 0).float())


def test_values_per_channel_follow_the_quarters():
    size, values = (4, 6), torch.arange(12.0)[None]
    y = values[:, :, None, None].expand(1, 12, *size)
    for index in range(4):
        part = cut(y, index)
        assert torch.equal(part, by_quarter(values)[:, :, None, None].expand_as(part))


def test_features_are_taken_where_the_quarter_is_coded():
    f = numbered(3, (4, 6))
    for index in range(4):
        parts = cut_all_channels(f, index).chunk(4, 1)
        for (row, column), part in zip(ORDER[index], parts, strict=True):
            assert torch.equal(part, f[:, :, row::2, column::2])


def test_positions_made_while_decoding_serve_training():
    inside.cache_clear()
    with torch.inference_mode():
        places = [inside(4, (3, 5), index, CPU) for index in range(4)]
    x = torch.ones(1, 24, requires_grad=True)
    for chosen in places:
        x.index_select(1, chosen).sum().backward()
    assert x.grad.any()
