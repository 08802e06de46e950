"""Expected fields: along straight lines through time, from the field that tells most."""

import torch

from kinema.parts.expectation import Motion, expect_field, scale_field
from kinema.parts.motion_field import FIELD_LIMIT

SIZE = (4, 5)


def steady(right, down=0):
    """A field that is the same everywhere."""
    return torch.tensor([right, down]).float().view(1, 2, 1, 1).expand(1, 2, *SIZE).contiguous()


def test_vectors_are_scaled_and_rounded_half_to_even():
    assert torch.equal(scale_field(steady(10, -6), 1, 2), steady(5, -3))
    assert torch.equal(scale_field(steady(5, 7), 1, 2), steady(2, 4))
    assert torch.equal(scale_field(steady(9, 3), -1, 3), steady(-3, -1))
    assert torch.equal(scale_field(steady(800, -800), 2, 1), steady(FIELD_LIMIT, -FIELD_LIMIT))
    assert torch.equal(scale_field(steady(7, 1), -4, -4), steady(7, 1))


def test_nothing_is_expected_of_nothing():
    assert expect_field([], -1) is None


def test_what_moves_steadily_is_expected_to_go_on():
    before = Motion(-1, -1, steady(8, -4))
    assert torch.equal(expect_field([before], -1), steady(8, -4))
    assert torch.equal(expect_field([before], -3), steady(24, -12))
    assert torch.equal(expect_field([before], 2), steady(-16, 8))


def test_a_field_that_passes_by_comes_first_then_the_shortest():
    passing, short, shortest = (
        Motion(2, -8, steady(80)),
        Motion(-2, -2, steady(2)),
        Motion(2, -4, steady(44)),
    )
    assert torch.equal(expect_field([short, passing], -2), steady(20))
    assert torch.equal(expect_field([short, passing, shortest], -2), steady(22))


def test_a_field_of_the_frame_itself_comes_between_those_and_all_others():
    passing, own, before = (
        Motion(2, -4, steady(8)),
        Motion(0, -2, steady(40)),
        Motion(-2, -1, steady(3)),
    )
    assert torch.equal(expect_field([passing, own, before], 2), steady(-4))
    assert torch.equal(expect_field([own, before], 2), steady(-40))


def test_a_passing_field_is_read_where_its_line_meets_its_picture():
    """A vector of one block a frame: what it belongs to lies one block further there."""
    field = torch.zeros(1, 2, *SIZE)
    field[:, 0, :, 3], field[:, 0, :, 4] = -128, -96  # in the picture after the frame
    found = expect_field([Motion(1, -2, field)], -1)
    assert found[0, 0, 0].tolist() == [0, 0, 0, -48, -48]
    assert not found[:, 1].any()


def test_results_are_whole_and_the_same_in_fp64():
    chance = torch.Generator().manual_seed(0)
    field = torch.randint(-1023, 1024, (1, 2, *SIZE), generator=chance).float()
    found = expect_field([Motion(3, -5, field)], -2)
    assert torch.equal(found, found.round())
    assert torch.equal(found, expect_field([Motion(3, -5, field.double())], -2).float())
