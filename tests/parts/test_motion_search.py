"""Motion search: known motion is found, and nothing moves where nothing does."""

import pytest
import torch
import torch.nn.functional as F

from kinema.errors import ShapeError
from kinema.parts.motion_field import FIELD_LIMIT
from kinema.parts.motion_search import Partner, estimate_field, estimate_fields, settle_field
from kinema.parts.warping import warp_planes

CRF = torch.tensor([20.0])
MARGIN = 160  # samples of texture around a picture


def texture(size, seed=0):
    """Smooth noise with detail at several scales, larger than `size` by the margin all around."""
    chance = torch.Generator().manual_seed(seed)
    height, width = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
    total = torch.zeros(1, 1, height, width)
    for cell, strength in ((64, 24.0), (16, 16.0), (6, 8.0)):
        noise = torch.randn(1, 1, height // cell + 2, width // cell + 2, generator=chance)
        total += strength * F.interpolate(noise, (height, width), mode="bicubic")
    return (total + 128).clamp(0, 255)


def pan(size, dx, dy, seed=0):
    """A picture and its reference, in which everything sits (dx, dy) farther right and down."""
    wide = texture(size, seed)

    def cut(x, y):
        return wide[:, :, MARGIN + y : MARGIN + y + size[0], MARGIN + x : MARGIN + x + size[1]]

    return cut(0, 0).round(), cut(-dx, -dy).round()


def inside(field, dx, dy):
    """Vectors of blocks that are found whole in the reference, with all their neighbours."""
    height, width = field.shape[2:]
    rows = 16 * torch.arange(height)[:, None] + dy
    columns = 16 * torch.arange(width) + dx
    rows = (rows >= 16) & (rows <= 16 * height - 32)
    return field[:, :, rows & (columns >= 16) & (columns <= 16 * width - 32)]


def luma_error(current, reference, field):
    chroma = torch.zeros(len(current), 1, current.shape[2] // 2, current.shape[3] // 2)
    found, _, _ = warp_planes(reference, chroma, chroma, field)
    return float((found - current).square().mean())


@pytest.mark.parametrize("distance", [1, 2, 3, 5, 8, 13, 21, 30, 34, 47, 55, 64])
@pytest.mark.parametrize("direction", [(1, 0), (0, -1), (-1, 1)])
def test_pans_are_found(distance, direction):
    dx, dy = (distance * d for d in direction)
    field = estimate_field(*pan((160, 224), dx, dy), None, CRF)
    error = (inside(field, dx, dy) - torch.tensor([4 * dx, 4 * dy])[None, :, None]).abs()
    assert error.shape[2] >= 15
    assert (error <= 1).float().mean() >= 0.96  # a quarter sample
    assert error.max() <= 6


@pytest.mark.parametrize("quarters", [(1, 0), (-2, 3), (5, -7)])
def test_fractions_of_a_sample_are_found(quarters):
    wide = F.interpolate(texture((16, 48), 3), scale_factor=4, mode="bicubic")
    dx, dy = quarters
    picture, reference = (
        wide[:, :, 200 - y : 712 - y : 4, 200 - x : 1096 - x : 4] for x, y in ((0, 0), (dx, dy))
    )
    field = estimate_field(picture, reference, None, CRF)
    assert (inside(field, 0, 0) - torch.tensor(quarters)[None, :, None]).abs().max() <= 1


def noisy(picture, seed):
    chance = torch.Generator().manual_seed(seed)
    return (picture + 6 * torch.randn(picture.shape, generator=chance)).clamp(0, 255)


def test_vectors_do_not_follow_noise():
    picture, _ = pan((128, 192), 0, 0)
    field = estimate_field(noisy(picture, 1), noisy(picture, 2), None, torch.tensor([48.0]))
    assert (field == field[..., :1, :1]).all()  # samples in between are less noisy, everywhere
    assert field.abs().max() <= 2


def test_what_moves_in_noise_is_found_and_nothing_else():
    picture, _ = pan((128, 192), 0, 0)
    reference = picture.clone()
    reference[..., 32:96, 64:128] = picture.roll(9, 3)[..., 32:96, 64:128]
    field = estimate_field(noisy(picture, 1), noisy(reference, 2), None, torch.tensor([40.0]))
    assert (field[0, :, 2:6, 4:7] - torch.tensor([36, 0])[:, None, None]).abs().max() <= 8
    still = torch.ones(8, 12, dtype=torch.bool)
    still[1:7, 3:9] = False
    assert field[0, :, still].abs().max() <= 2


@pytest.mark.parametrize("size", [(16, 16), (16, 48), (48, 16), (112, 80)])
@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_nothing_moves_in_a_still_picture(size, contrast):
    picture = (pan(size, 0, 0)[0] * contrast).expand(2, -1, -1, -1)
    previous = torch.full((2, 2, size[0] // 16, size[1] // 16), 9.0)
    for before in (None, previous):
        field = estimate_field(picture, picture, before, CRF.expand(2))
        assert field.shape == previous.shape
        assert not field.any()


def test_what_moves_apart_is_told_apart():
    current, reference = pan((128, 192), 0, 0)
    moved = pan((128, 192), 12, -4, seed=1)
    current, reference = current.clone(), reference.clone()
    current[..., 32:96, 64:128] = moved[0][..., 32:96, 64:128]
    reference[..., 32:96, 64:128] = moved[1][..., 32:96, 64:128]
    field = estimate_field(current, reference, None, CRF)
    assert (field[0, :, 3:5, 5:7] - torch.tensor([48, -16])[:, None, None]).abs().max() <= 8
    assert field[0, :, :1].abs().max() <= 2
    assert field[0, :, :, :3].abs().max() <= 2
    still = luma_error(current, reference, torch.zeros_like(field))
    assert luma_error(current, reference, field) < 0.4 * still


def test_previous_motion_leads_beyond_the_reach_of_the_search():
    dx = -130
    current, reference = pan((96, 320), dx, 0)
    previous = torch.zeros(1, 2, 6, 20)
    previous[:, 0] = 4 * dx + 6
    found = inside(estimate_field(current, reference, previous, CRF), dx, 0)
    assert (found[:, 0] - 4 * dx).abs().max() <= 1


def test_large_pictures_are_searched_farther():
    dx = 140
    found = inside(estimate_field(*pan((64, 656), dx, 0), None, CRF), dx, 0)
    assert (found[:, 0] - 4 * dx).abs().float().median() <= 1


def test_pictures_of_a_batch_do_not_meet():
    pairs = [pan((96, 112), 7, 2, seed=1), pan((96, 112), -20, 5, seed=2)]
    current, reference = (torch.cat(planes) for planes in zip(*pairs, strict=True))
    together = estimate_field(current, reference, None, torch.tensor([20.0, 45.0]))
    for i, (pair, crf) in enumerate(zip(pairs, (20.0, 45.0), strict=True)):
        alone = estimate_field(*pair, None, torch.tensor([crf]))
        assert (together[i] - alone[0]).abs().max() <= 1


def test_vectors_cost_more_than_noise_is_worth():
    current, _ = pan((128, 192), 0, 0)
    chance = torch.Generator().manual_seed(0)
    reference = current + 6 * torch.randn(current.shape, generator=chance)
    sizes = [
        float(estimate_field(current, reference, None, torch.tensor([crf])).abs().mean())
        for crf in (5.0, 55.0)
    ]
    assert sizes[1] < 0.6 * sizes[0]


def test_results_are_whole_numbers_up_to_the_limit():
    current, reference = pan((80, 96), 30, 30, seed=4)
    far = torch.full((1, 2, 5, 6), 4.0 * FIELD_LIMIT)
    field = estimate_field(current, reference, far, CRF)
    assert field.dtype is torch.float32
    assert torch.equal(field, field.round())
    assert field.abs().max() <= FIELD_LIMIT


def test_sizes_must_fit():
    picture = torch.zeros(1, 1, 32, 40)
    with pytest.raises(ShapeError, match="multiples of 16"):
        estimate_field(picture, picture, None, CRF)
    with pytest.raises(ShapeError, match="expected equal"):
        estimate_field(picture[..., :32], picture[..., :16], None, CRF)


@pytest.mark.parametrize("size", [(160, 224), (112, 80)])
def test_reduced_pictures_give_fields_of_the_full_size(size):
    current, reference = pan(size, 16, -8)
    usual = torch.zeros(1, 2, size[0] // 16, size[1] // 16)
    full, half, quarter = estimate_fields(current, reference, usual, CRF, (1, 2, 4))
    assert torch.equal(full, estimate_field(current, reference, usual, CRF))
    for factor, field in ((2, half), (4, quarter)):
        assert field.shape == full.shape
        assert torch.equal(field, field.round())
        assert (field % factor == 0).all()
        assert torch.equal(field[:, :, 0, 0], field[:, :, factor - 1, factor - 1])
        error = (field - torch.tensor([64, -32]).view(1, 2, 1, 1)).abs()
        assert error.flatten().median() <= 2 * factor


def test_motion_beyond_the_reach_is_found_in_reduced_pictures():
    current, reference = pan((128, 640), 120, 0)
    full, half = estimate_fields(current, reference, None, CRF, (1, 2))
    wanted = torch.tensor([480.0, 0.0]).view(1, 2, 1, 1)
    missed, found = ((inside(f, 120, 0) - wanted[..., 0]).abs().median() for f in (full, half))
    assert found <= 4
    assert found <= missed


def settle(current, reference, found, origin, *, weight=0.5, partner=None):
    other = Partner(current if partner is None else partner, torch.zeros_like(found), weight)
    return settle_field(current, reference, found, origin, other, CRF)


def test_what_is_expected_stays_where_it_serves():
    """Flat pictures: no vector is worth its bits, whatever was found by itself."""
    flat = torch.full((1, 1, 64, 96), 90.0)
    origin = torch.full((1, 2, 4, 6), 12.0)
    found = torch.randint(-40, 40, (1, 2, 4, 6), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(settle(flat, flat, found, origin), origin)


def test_what_was_found_is_taken_where_it_pays():
    current, reference = pan((96, 128), 7, -3)
    true = torch.tensor([28.0, -12.0]).view(1, 2, 1, 1).expand(1, 2, 6, 8)
    settled = settle(current, reference, true, torch.zeros(1, 2, 6, 8))
    assert (
        inside(settled, 7, -3) == torch.tensor([28.0, -12.0])[None, :, None]
    ).float().mean() > 0.9
    assert torch.equal(
        settle(current, reference, true, None), settle(current, reference, true, true)
    )


def test_a_partner_that_tells_everything_leaves_nothing_to_find():
    """With hardly any weight, a vector does not pay, however true it is."""
    current, reference = pan((96, 128), 7, -3)
    true = torch.tensor([28.0, -12.0]).view(1, 2, 1, 1).expand(1, 2, 6, 8)
    origin = torch.zeros(1, 2, 6, 8)
    heard, ignored = (settle(current, reference, true, origin, weight=w) for w in (0.9, 0.01))
    assert heard.abs().sum() > 0
    assert not ignored.any()
