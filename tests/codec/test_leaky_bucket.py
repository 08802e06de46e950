"""The bucket leaks at the rate and bounds every stretch of frames."""

import random

import pytest

from kinema.codec.leaky_bucket import LeakyBucket
from kinema.errors import ConfigError


def test_a_bucket_fills_and_leaks():
    bucket = LeakyBucket(1000, 2)
    assert bucket.room(0.0) == bucket.size == 2000
    bucket.pour(0.0, 1500)
    assert bucket.fullness == 1500
    assert bucket.room(0.5) == 1000
    bucket.pour(0.5, 200)
    bucket.pour(10.0, 300)
    assert bucket.fullness == 300
    assert bucket.peak == 1500


def test_times_that_run_backwards_leak_nothing():
    bucket = LeakyBucket(1000, 2)
    bucket.pour(5.0, 400)
    bucket.pour(4.0, 400)
    assert bucket.fullness == 800
    assert bucket.level(5.1) == pytest.approx(700)


def test_no_stretch_has_more_than_rate_times_length_and_buffer():
    chance, bucket, poured = random.Random(1), LeakyBucket(1000, 0.5), []
    for index in range(200):
        time_s = 0.04 * index
        bits = min(chance.expovariate(1 / 60), bucket.room(time_s))
        bucket.pour(time_s, bits)
        poured.append((time_s, bits))
    assert bucket.peak > 400
    for first in range(0, 200, 7):
        total = 0.0
        for time_s, bits in poured[first:]:
            total += bits
            assert total <= 1000 * (time_s - poured[first][0] + 0.5) + 1e-6


def test_an_overflow_shows():
    bucket = LeakyBucket(1000, 1)
    bucket.pour(0.0, 1500)
    assert bucket.room(0.1) == pytest.approx(-400)
    assert bucket.peak == 1500


@pytest.mark.parametrize("settings", [(0, 1), (1000, 0), (-5, 1), (1000, float("nan"))])
def test_what_holds_nothing_is_refused(settings):
    with pytest.raises(ConfigError, match="above 0"):
        LeakyBucket(*settings)
