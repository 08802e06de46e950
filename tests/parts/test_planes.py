"""Planes to channels and back."""

import pytest
import torch

from kinema.errors import ShapeError
from kinema.parts.planes import (
    CHANNELS,
    full_planes,
    half_planes,
    pack_planes,
    pad_plane,
    to_samples,
    unpack_planes,
    whole_picture,
)


def random_planes(height=32, width=48):
    torch.manual_seed(0)
    sizes = [(height, width)] + [(height // 2, width // 2)] * 2
    return [torch.randint(0, 256, (2, 1, *size), dtype=torch.uint8) for size in sizes]


def test_every_sample_comes_back():
    planes = random_planes()
    x = pack_planes(*planes)
    assert x.shape == (2, CHANNELS, 4, 6)
    for before, after in zip(planes, unpack_planes(x), strict=True):
        assert torch.equal(to_samples(after), before)


def test_units_are_quarters_of_a_level_around_the_middle():
    y, u, v = (
        torch.full((1, 1, size, size), value) for size, value in ((8, 128), (4, 0), (4, 255))
    )
    x = pack_planes(y, u, v).flatten()
    assert x[:64].tolist() == [0] * 64
    assert x[64:80].tolist() == [-512] * 16
    assert x[80:].tolist() == [508] * 16


def test_samples_are_rounded_to_even_and_clamped():
    assert to_samples(torch.tensor([-3.0, 0.5, 1.5, 254.6, 300])).tolist() == [0, 0, 2, 255, 255]


@pytest.mark.parametrize(("height", "width"), [(12, 16), (16, 12)])
def test_luma_that_does_not_fold_is_refused(height, width):
    with pytest.raises(ShapeError, match=f"luma is {width}x{height}"):
        pack_planes(*random_planes(height, width))


def test_chroma_of_another_size_is_refused():
    y, u, v = random_planes()
    with pytest.raises(ShapeError, match="chroma"):
        pack_planes(y, u[..., :-1], v[..., :-1])
    with pytest.raises(ShapeError, match="chroma"):
        pack_planes(y, u, v[..., :-1])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 17), (16, 32)])
def test_padding_repeats_the_border(height, width):
    plane = torch.rand(1, 1, height, width)
    padded = pad_plane(plane, 16)
    assert padded.shape[-2] % 16 == padded.shape[-1] % 16 == 0
    assert padded.shape[-2] - height < 16
    assert torch.equal(padded[..., :height, :width], plane)
    assert torch.equal(
        padded[..., height:, :width], plane[..., -1:, :].expand_as(padded[..., height:, :width])
    )
    assert (padded[..., width:] == padded[..., width - 1 : width]).all()


def test_whole_picture_rounds_and_clamps():
    planes = [plane.float() + 0.3 for plane in random_planes()]
    planes[0][0, 0, 0, :3] = torch.tensor([-9.0, 300.0, 2.5])
    found = unpack_planes(whole_picture(pack_planes(*planes)))
    for plane, result in zip(planes, found, strict=True):
        assert torch.equal(result, plane.round().clamp(0, 255))


def test_full_planes_and_back():
    x = torch.randn(2, 96, 3, 4) * 100
    planes = full_planes(x)
    assert planes.shape == (2, 3, 24, 32)
    assert torch.equal(planes[:, 1, ::2, ::2], planes[:, 1, 1::2, 1::2])
    assert torch.allclose(half_planes(planes), x, atol=1e-3)
