"""CAMA's alignment: it begins as warping, stays on the grid, and each stage has its bound."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.parts.feature_alignment import (
    ONE,
    FeatureConfig,
    FeatureContexts,
    Kernel,
    OffsetHead,
    TwoStageWarp,
)
from kinema.parts.motion_field import sample_cells
from kinema.parts.sampling import to_rows

TINY = FeatureConfig(widths=(8, 8, 4), groups=(2, 2, 1), hidden_channels=4)


def whole(*shape, reach=400, seed=0):
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(-reach, reach, shape, generator=chance).float()


def shaken(layer, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return layer


def test_before_training_both_stages_are_plain_warping(freeze):
    scale = freeze(TwoStageWarp(1, TINY))
    scale.from_coarser, scale.block = None, torch.nn.Identity()
    f, field = whole(2, 8, 5, 7), whole(2, 2, 5, 7, reach=150, seed=1)
    with torch.no_grad():
        moved = scale(f, field, whole(2, 8, 5, 7, seed=2))
    assert torch.equal(moved, sample_cells(f, field).round())


def test_a_kernel_gathers_each_group_from_its_own_place():
    kernel = Kernel(4, 2)
    f, offsets = whole(1, 4, 6, 6), torch.zeros(1, 36, 2, 2, 9)
    offsets[:, :, 0, 0], offsets[:, :, 1, 1] = 64, -128  # right by one cell; up by two
    weights = torch.full((1, 36, 2, 9), float(ONE))
    weights[:, :, 1] = ONE // 2
    with torch.no_grad():
        found = kernel(to_rows(f), offsets, weights, (6, 6))
    assert torch.equal(found[:, :2, :, :5], f[:, :2, :, 1:])
    assert torch.allclose(found[:, 2:, 2:], f[:, 2:, :4] / 2)


def test_offsets_and_weights_keep_their_bounds():
    head = OffsetHead(6, 4, 2, limit=16)
    with torch.no_grad():
        head.leave.bias.fill_(100.0)
        offsets, weights = head([whole(1, 6, 3, 3)])
        assert (offsets.max(), weights.max()) == (16, 2 * ONE - 1)
        head.leave.bias.fill_(-100.0)
        offsets, weights = head([whole(1, 6, 3, 3)])
        assert (offsets.min(), weights.min()) == (-16, 0)


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 7)])
def test_contexts_come_at_three_scales_on_the_grid(size, freeze):
    network = freeze(shaken(FeatureContexts(TINY, source=12)))
    height, width = size
    picture, field = whole(1, 96, 2 * height, 2 * width), whole(1, 2, height, width, seed=1)
    with torch.no_grad():
        first = network(None, picture, field)
        kept = network.keep(whole(1, 12, 2 * height, 2 * width, seed=2))
        later = network(kept, picture, field)
    shapes = [(-(-height // 2), -(-width // 2)), size, (2 * height, 2 * width)]
    for channels, shape, a, b in zip(TINY.widths, shapes, first, later, strict=True):
        assert a.shape == b.shape == (1, channels, *shape)
        assert torch.equal(a, a.round())
        assert a.abs().max() <= 2048
    assert not torch.equal(first[-1], later[-1])


def test_features_move_with_the_field_at_every_scale(freeze):
    """A shift by 32 samples is one cell at 1/32, two at 1/16, four at 1/8."""
    network = freeze(FeatureContexts(TINY, source=12))
    for scale in network.scales:
        scale.from_coarser, scale.block = None, torch.nn.Identity()
    picture, field = whole(1, 96, 16, 16), torch.zeros(1, 2, 8, 8)
    field[:, 0] = 4 * 32
    with torch.no_grad():
        plain = network(None, picture, torch.zeros_like(field))
        moved = network(None, picture, field)
    for cells, a, b in zip((1, 2, 4), plain, moved, strict=True):
        assert torch.equal(b[..., :-cells], a[..., cells:])


def test_a_coarse_context_changes_finer_ones(freeze):
    network = shaken(FeatureContexts(TINY, source=12))
    inputs = (None, whole(1, 96, 8, 8), whole(1, 2, 4, 4, reach=100, seed=1))
    with torch.no_grad():
        before = network(*inputs)
        network.scales[0].block.narrow.bias += 2.0
        after = network(*inputs)
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_every_parameter_learns():
    network = shaken(FeatureContexts(TINY, source=12))
    picture, field = whole(1, 96, 10, 10), whole(1, 2, 5, 5, reach=100, seed=1)
    kept = network.keep(whole(1, 12, 10, 10, seed=2))
    total = sum(c.square().mean() for c in network(None, picture, field))
    total = total + sum(c.square().mean() for c in network(kept, picture, field))
    total.backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_groups_must_divide_channels():
    with pytest.raises(ConfigError, match="6 channels in 4 groups"):
        FeatureConfig(widths=(8, 6, 4), groups=(4, 4, 4))
