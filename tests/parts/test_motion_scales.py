"""Resolution of motion search: the rule, the trial, and flows that keep their meaning."""

import pytest
import torch
import torch.nn.functional as F

from kinema.parts.motion_scales import (
    MotionScales,
    by_places,
    cheapest,
    find_flow,
    flows_at,
)


def constant(length, side=8):
    flow = torch.zeros(1, 2, side, side)
    flow[:, 1] = length
    return flow


@pytest.mark.parametrize(
    ("size", "length", "place"),
    [
        ((240, 416), 7.9, 0), ((240, 416), 8.0, 1), ((480, 832), 90.0, 1),
        ((720, 1280), 3.9, 0), ((720, 1280), 4.0, 1), ((1080, 1920), 16.0, 2),
    ],
)  # fmt: skip
def test_the_rule_follows_motion_and_resolution(size, length, place):
    assert MotionScales().choose(constant(length), size).tolist() == [place]


def test_each_picture_has_its_own_factor():
    flow = torch.cat([constant(1), constant(5), constant(20)])
    assert MotionScales().choose(flow, (1080, 1920)).tolist() == [0, 1, 2]


def test_there_is_no_place_beyond_the_factors():
    assert MotionScales(factors=(1, 2)).choose(constant(99), (1080, 1920)).tolist() == [1]


def shift_finder(x, reference):
    """The whole horizontal shift that fits best, up to 3 samples, everywhere."""
    errors = [(reference.roll(-s, 3) - x).square().mean((1, 2, 3)) for s in range(4)]
    best = torch.stack(errors).argmin(0).float()
    flow = torch.zeros(len(x), 2, *x.shape[2:])
    flow[:, 0] = best[:, None, None]
    return flow


def pictures():
    chance = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 8, generator=chance)
    before = F.interpolate(coarse, (32, 32), mode="bicubic")
    return before.roll(-4, 3), before


def test_vectors_are_in_samples_of_the_full_resolution():
    """A shift of 4 is beyond a reach of 3, but not at half the size."""
    x, before = pictures()
    full, half, quarter = flows_at(shift_finder, x, before, (1, 2, 4))
    assert full.shape == half.shape == quarter.shape == (1, 2, 32, 32)
    assert (full[:, 0] <= 3).all()
    assert (half[:, 0] == 4).all()
    assert (quarter[:, 0] == 4).all()


def test_only_the_rule_looks_again():
    x, before = pictures()
    limits = {"small_limits": (2.0,)}
    assert torch.equal(
        find_flow(shift_finder, x, before, MotionScales(**limits)), shift_finder(x, before)
    )
    found = find_flow(shift_finder, x, before, MotionScales(way="rule", **limits))
    assert (found[:, 0] == 4).all()


def test_the_cheapest_option_wins_for_each_picture():
    options = [torch.tensor([[1.0], [5.0]]), torch.tensor([[2.0], [3.0]])]
    assert cheapest(options, lambda option: option[:, 0]).tolist() == [[1.0], [3.0]]
    assert by_places(options, torch.tensor([1, 0])).tolist() == [[2.0], [5.0]]
