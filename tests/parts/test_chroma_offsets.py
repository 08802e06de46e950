"""Chroma offsets: what the picture asks for, what travels, what it changes."""

import pytest
import torch

from kinema.entropy.symbols import SymbolReader, SymbolWriter
from kinema.parts.block_cosines import plane_counts
from kinema.parts.channels import Estimate
from kinema.parts.chroma_offsets import (
    HIGHEST,
    LOWEST,
    carry_offsets,
    choose_offsets,
    plane_shares,
    scale_shifts,
    share_weight,
    step_factors,
)
from kinema.parts.coding import Read, Write

CHANNELS = 48  # 32 of luma, 8 of each chroma plane
EVERY = torch.tensor(
    [[b, r] for b in range(LOWEST, HIGHEST + 1) for r in range(LOWEST, HIGHEST + 1)]
)
EVERY = EVERY.float()
STEPS, WEIGHT = torch.full((1, CHANNELS), 8.0), torch.full((1, CHANNELS), 0.5)


def choose(luma, blue, red):
    """Offsets of a latent whose planes have these amplitudes everywhere."""
    counts = torch.tensor(plane_counts(CHANNELS))
    rows = torch.tensor([luma, blue, red]).repeat_interleave(counts)
    y = rows[None, :, None, None].expand(-1, -1, 4, 6)
    return choose_offsets(y, STEPS, WEIGHT)[0].tolist()


def test_planes_that_err_in_proportion_have_no_offsets():
    # 32 channels of luma against 8: 4 times the error, where the score asks for 6 times.
    amplitude = 4.0 * (4 / 6) ** 0.5
    assert choose(4.0, amplitude, amplitude) == [0, 0]


@pytest.mark.parametrize(
    ("octaves", "expected"), [(-1, -3), (-2 / 3, -2), (1 / 3, 1), (-4, LOWEST)]
)
def test_offsets_follow_errors(octaves, expected):
    amplitude = 2.0 * (4 / 6) ** 0.5
    assert choose(2.0, amplitude * 2**octaves, amplitude) == [expected, 0]


def test_coarsest_and_finest():
    assert choose(1e-2, 1e3, 1e3) == [HIGHEST, HIGHEST]
    assert choose(1e3, 1e-2, 1e-2) == [LOWEST, LOWEST]


def test_black_pictures_and_latents_without_worth_have_none():
    y = torch.zeros(2, CHANNELS, 3, 3)
    assert not choose_offsets(y, STEPS.expand(2, -1), None).any()
    assert not choose_offsets(y, STEPS.expand(2, -1), WEIGHT.expand(2, -1)).any()


def test_what_is_written_is_read(tables):
    writers = [SymbolWriter() for _ in EVERY]
    written = carry_offsets(EVERY, len(EVERY), Write(writers, tables))
    readers = [SymbolReader(writer.finish()) for writer in writers]
    assert torch.equal(written, EVERY)
    assert torch.equal(carry_offsets(None, len(EVERY), Read(readers, tables)), EVERY)


def test_what_a_hostile_stream_has_beyond_is_clamped():
    class Hostile:
        def carry(self, s, distribution):
            return torch.full_like(distribution.mean, 1000.0)

    assert carry_offsets(None, 1, Hostile()).tolist() == [[HIGHEST, HIGHEST]]


def test_usual_offsets_cost_a_few_bits():
    channel = Estimate(noise=False)
    carry_offsets(torch.tensor([[-1.0, -1.0], [0.0, 1.0]]), 2, channel)
    assert (channel.bits() < 6).all()


def test_factors_and_shifts_are_what_offsets_say_in_multiples_of_a_64th():
    factors, shifts = step_factors(EVERY, CHANNELS), scale_shifts(EVERY, CHANNELS)
    for values in (factors, shifts):
        assert torch.equal(values * 64, (values * 64).round())
    luma, blue, red = torch.split(factors, list(plane_counts(CHANNELS)), 1)
    assert (luma == 1).all()
    for plane, offsets in ((blue, EVERY[:, :1]), (red, EVERY[:, 1:])):
        assert torch.allclose(plane, torch.exp2(offsets / 3).expand_as(plane), atol=1 / 128)
    assert torch.allclose(shifts, factors.log(), atol=0.02)


def test_a_step_of_any_size_is_worth_the_same():
    weight = share_weight(WEIGHT.expand(len(EVERY), -1), EVERY)
    assert torch.allclose(weight * step_factors(EVERY, CHANNELS).square(), WEIGHT, rtol=0.05)
    assert torch.allclose(weight[:, [-1]] / 0.5, plane_shares(EVERY[:, 1:]))
