"""Levels of references: high for what resembles, none for what does not."""

import torch

from kinema.parts.block_cosines import CosineTransform
from kinema.parts.planes import whole_picture
from kinema.parts.reliability import rate

CRF = torch.tensor([30.0])


def rated(x, *others):
    transform = CosineTransform(384)
    with torch.no_grad():
        transform.gain.fill_(8.0)
        return rate(x, others, CRF, transform.free, torch.full((1, 384), 20.0))


def noisy(x, deviation):
    chance = torch.Generator().manual_seed(1)
    return whole_picture(x + deviation * torch.randn(x.shape, generator=chance))


def test_the_same_picture_is_relied_upon_wherever_it_moved(pictures):
    x = whole_picture(pictures(1, 80, 112))
    assert rated(x, x, x.roll(2, 3)) == [15, rated(x, x, x.roll(2, 3))[1]]
    assert rated(x, x) == [15]


def test_another_picture_is_not(pictures):
    x, other = (whole_picture(pictures(1, 80, 112, seed=s)) for s in (0, 7))
    assert rated(x, other.flip(2)) == [0]
    assert rated(x, x, other.flip(2)) == [15, 0]


def test_of_two_the_noisier_one_counts_less(pictures):
    x = whole_picture(pictures(1, 80, 112))
    fine, rough = rated(x, noisy(x, 4.0), noisy(x, 8.0))
    assert fine == 15
    assert 1 <= rough < 8
