"""Choices among fields: groups of blocks, and what vectors cost beside each other."""

import torch

from kinema.parts.motion_choice import Scale, calm, choose

WATER = torch.full((1, 1, 1), 4.0)


def scale_of(difference):
    """Pictures that differ by `difference` (H, W) where nothing moves; all else is flat."""
    flat = torch.full((1, 1, *difference.shape), 100.0)
    return Scale(flat + difference, flat, WATER, 0)


def test_a_group_leaves_together_what_none_could_leave_alone():
    """In a flat picture every vector is as good as none; all have the same wrong one."""
    scale, wrong = scale_of(torch.zeros(128, 128)), torch.zeros(1, 2, 8, 8)
    wrong[:, :, 2:6, 2:6] = 3.0
    zero = torch.zeros_like(wrong)
    alone = choose(scale, wrong, lambda field: torch.zeros_like(field)[None])
    assert alone[:, :, 3:5, 3:5].any()
    together = calm(scale, wrong, torch.stack([zero, zero + 1.0]))
    assert not together.any()


def test_what_is_worth_its_bits_is_kept():
    picture = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0)) * 200
    scale = Scale(picture.roll(4, 3), picture, WATER, 0)
    found = torch.zeros(1, 2, 8, 8)
    found[:, 0] = -4.0
    kept = calm(scale, found, torch.zeros(1, 1, 2, 8, 8))
    assert torch.equal(kept, found)


def test_pictures_of_a_batch_choose_alone():
    chance = torch.Generator().manual_seed(0)
    picture = torch.rand(2, 1, 64, 64, generator=chance) * 200
    moved = torch.stack([picture[0].roll(4, 2), picture[1]])
    found = torch.full((2, 2, 4, 4), -4.0)
    found[:, 0] = 0
    water = WATER.expand(2, 1, 1)
    kept = calm(Scale(moved, picture, water, 0), found, torch.zeros(1, 2, 2, 4, 4))
    assert torch.equal(kept[0], found[0])
    assert not kept[1].any()
