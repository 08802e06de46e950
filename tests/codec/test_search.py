"""Few measurements find the crf, and whatever they say the search ends."""

import math
import random

import pytest

from kinema.codec.search import search_crf


@pytest.mark.parametrize("slope", [0.4, 0.8, 1.0, 1.5])
@pytest.mark.parametrize("zero", [0.5, 13.0, 40.0, 62.7])
def test_a_falling_quantity_is_found(slope, zero):
    def measure(crf):
        return slope * (zero - crf) * (1 + 0.005 * crf)

    tried = search_crf(measure, 31.5, 0.05, 8)
    assert abs(tried[-1].excess) <= 0.05
    assert len(tried) <= 6


@pytest.mark.parametrize(("excess", "end"), [(5.0, 63.0), (-5.0, 0.0)])
def test_it_ends_at_the_end_of_the_range(excess, end):
    tried = search_crf(lambda _: excess, 30.0, 0.1, 50)
    assert tried[-1].crf == end
    assert len({point.crf for point in tried}) == len(tried)


def test_any_answers_lead_to_an_end_within_the_range():
    for seed in range(200):
        rng = random.Random(seed)
        tried = search_crf(lambda _, rng=rng: rng.uniform(-60, 60), rng.uniform(0, 63), 0.01, 7)
        assert 1 <= len(tried) <= 7
        assert all(0 <= point.crf <= 63 for point in tried)
        assert all(math.isclose(p.crf * 256 % 1, 0) for p in tried[1:])
