"""Sizes of transform blocks: the right one is chosen, told cheaply, and known to both sides."""

import torch

from kinema.parts.block_cosines import SIDES, CosineTransform, folded_cosines
from kinema.parts.block_sizes import BlockSizes, insist, pick, price
from kinema.parts.channels import Estimate

CRF = torch.tensor([30.0])


def prices(missed):
    cosines = CosineTransform(384)
    steps = torch.full((1, 384), 20.0)
    divided = cosines.divide(cosines.free(missed))
    return price(divided, steps, 0.05 * cosines.latent_weight()[None])


def missing(column):
    """Pictures of one block each, of whole samples."""
    return torch.nn.functional.pixel_shuffle(column.float().view(1, 384, 1, 1) * 4, 2)


def test_what_is_one_cosine_of_a_size_is_cheapest_in_it():
    for index, side in enumerate(SIDES):
        costs = prices(missing(300 * folded_cosines(side)[150]))
        assert int(costs.argmin(1)) == index


def test_nothing_missed_costs_nothing():
    assert not prices(torch.zeros(1, 96, 4, 4)).any()


def test_sizes_that_gain_nothing_are_those_expected():
    sizes = BlockSizes(8)
    costs = torch.full((1, 3, 4, 4), 7.0)
    channel = Estimate(noise=False, decide=1.0)
    chosen, _ = sizes.code(costs, torch.zeros(1, 8, 4, 4), CRF, channel)
    assert not chosen.any()
    assert 0 < float(channel.bits().detach()) < 2 * 16


def test_sizes_that_gain_enough_are_told():
    costs = torch.full((1, 3, 4, 4), 50.0)
    costs[0, 2, 1, 3] = 0.0
    chosen, stream = BlockSizes(8).code(
        costs, torch.zeros(1, 8, 4, 4), CRF, Estimate(noise=False, decide=1.0)
    )
    assert chosen.sum() == 2
    assert chosen[0, 1, 3] == 2
    assert not stream.any()  # until it has learned what to make of them


def test_sizes_that_are_known_are_told_as_they_are():
    known = torch.randint(0, 3, (2, 4, 5))
    costs, stream, crf = insist(known), torch.zeros(2, 8, 4, 5), torch.tensor([3.0, 60.0])
    chosen, _ = BlockSizes(8).code(costs, stream, crf, Estimate(noise=False, decide=1.0))
    assert torch.equal(chosen, known)


def test_each_block_is_taken_in_its_size():
    divided, sizes = torch.randn(3, 2, 5, 3, 4), torch.randint(0, 3, (2, 3, 4))
    found = pick(divided, sizes)
    assert torch.equal(found[1, :, 2, 3], divided[sizes[1, 2, 3], 1, :, 2, 3])
    assert torch.equal(found[0, :, 1, 0], divided[sizes[0, 1, 0], 0, :, 1, 0])


def test_what_no_encoder_would_write_is_a_size_all_the_same():
    class Hostile:
        is_final, passes = True, 0

        def carry(self, s, distribution):
            del s
            return torch.full_like(distribution.mean, 9.0)

    chosen, _ = BlockSizes(8).code(None, torch.zeros(1, 8, 2, 2), CRF, Hostile())
    assert chosen.max() == len(SIDES) - 1


def test_expectations_learn_from_what_is_chosen():
    sizes = BlockSizes(8)
    costs = torch.full((1, 3, 4, 4), 50.0)
    costs[:, 2] = 0.0
    channel = Estimate(noise=True, decide=1.0)
    sizes.code(costs, torch.ones(1, 8, 4, 4), CRF, channel)
    channel.bits().sum().backward()
    assert sizes.usual.knots.grad[:, 0].sum() < 0  # the mean should rise
    assert sizes.expect.weight.grad.any()
