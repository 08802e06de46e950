"""A simulated encoder is steered: rates are met, the bucket holds, and crf moves slowly."""

import itertools
import math
import random
from dataclasses import dataclass

import pytest

from kinema.bitstream.headers import FrameType
from kinema.codec.bit_model import BitModel
from kinema.codec.leaky_bucket import LeakyBucket
from kinema.codec.sights import Sight
from kinema.codec.steering import PERIODS_AHEAD, SLEW, Outlook, Spent, Steering

I, P = FrameType.I, FrameType.P  # noqa: E741  # the field's own name
RATE, FPS, SAMPLES = 400e3, 25, 416 * 240
SCENES = ((60, 9, 8), (70, 8, 4), (90, 3, 2), (30, 6.5, 4), (50, 12, 3))  # frames, detail, change


@dataclass
class Simulated:
    """Frames that take bits as real ones do, but not as the model expects."""

    sights: list
    starts: list  # of scenes
    kinds: list
    factors: list  # how much more than usual

    def spent(self, index, crf):
        kind, sight = self.kinds[index], self.sights[index]
        bits = 0.2 * SAMPLES * sight.detail * self.factors[index] * math.exp(-crf / 14)
        payload = int(bits if kind == I else 0.6 * bits + 2500)
        time_s = index / FPS
        return Spent(
            time_s=time_s, kind=kind, sight=sight, crf=crf, payload_bits=payload, bits=payload + 150
        )


def simulate(scenes=SCENES, period=32, seed=1):
    chance = random.Random(seed)
    video = Simulated([], [], [], [])
    for length, detail, change in scenes:
        factor = math.exp(chance.gauss(0, 0.3))
        video.starts.append(len(video.sights))
        for place in range(length):
            video.sights.append(Sight(detail, change if place else None, place == 0))
            video.kinds.append(I if place == 0 or (period > 0 and place % period == 0) else P)
            video.factors.append(factor * math.exp(chance.gauss(0, 0.05)))
    return video


def steer(video, rate=RATE, buffer_s=1.0, look_ahead=8):
    """Code everything; give the bucket, and what was spent."""
    bucket, spent = LeakyBucket(rate, buffer_s), []
    steering = Steering(bucket, SAMPLES, 1 / FPS)
    endless = video.kinds + [P] * PERIODS_AHEAD
    for index in range(len(video.sights)):
        if index in video.starts:
            steering.begin_scene()
        outlook = Outlook(
            time_s=index / FPS,
            kinds=endless[index : index + PERIODS_AHEAD],
            sights=video.sights[index : index + 1 + look_ahead],
        )
        tried = video.spent(index, steering.choose(outlook))
        if index in video.starts:
            tried = video.spent(index, steering.reconsider(outlook, [tried]))
        steering.accept(tried)
        spent.append(tried)
    return bucket, spent


def error(spent, rate=RATE):
    return sum(each.bits for each in spent) / (rate * len(spent) / FPS) - 1


@pytest.mark.parametrize("period", [1, 32, -1])
@pytest.mark.parametrize("look_ahead", [0, 8])
def test_rates_are_met_and_the_bucket_holds(period, look_ahead):
    errors = []
    for seed, rate in itertools.product(range(3), (250e3, 600e3)):
        bucket, spent = steer(simulate(period=period, seed=seed), rate, look_ahead=look_ahead)
        errors.append(abs(error(spent, rate)))
        assert bucket.peak <= bucket.size
    assert sum(errors) / len(errors) < 0.015
    assert max(errors) < 0.03


@pytest.mark.parametrize("buffer_s", [0.3, 3.0])
def test_small_and_large_buffers_hold(buffer_s):
    bucket, spent = steer(simulate(), buffer_s=buffer_s)
    assert bucket.peak <= bucket.size
    assert abs(error(spent)) < 0.02


def test_crf_is_steady_within_a_scene():
    video = simulate()
    _, spent = steer(video)
    for begin, end in itertools.pairwise([*video.starts, len(spent)]):
        crfs = [each.crf for each in spent[begin + 6 : end]]
        steps = [abs(b - a) for a, b in itertools.pairwise(crfs)]
        assert max(steps) < 2 * SLEW / FPS
        assert max(crfs) - min(crfs) < 4


def test_intra_frames_do_not_make_the_quality_pulse():
    _, spent = steer(simulate(((300, 8, 4),)))
    crfs = [each.crf for each in spent[100:]]
    assert max(crfs) - min(crfs) < 1.5


def test_a_frame_alone_is_not_meant_to_fill_the_bucket():
    """Much more detail at once, which nobody announced: crf leaps rather than to overflow."""
    video = simulate(((50, 2, 1), (50, 60, 30)))
    video.starts = [0]
    video.sights[50:] = [Sight(60, 30)] * 50
    bucket, spent = steer(video, buffer_s=0.3, look_ahead=0)
    assert spent[50].crf > spent[49].crf + 5
    assert bucket.peak <= bucket.size


def test_what_is_saved_is_not_hoarded():
    """A picture without content takes next to nothing, for however long; then all is as usual."""
    video = simulate(((200, 0.0, 0.0), (100, 8, 4)))
    bucket, spent = steer(video)
    assert spent[199].crf == 0
    assert bucket.peak <= bucket.size
    assert sum(each.bits for each in spent[200:]) < RATE * (100 / FPS + 1)


def test_the_model_learns_what_frames_take():
    model, sight = BitModel(SAMPLES), Sight(8.0, 4.0)
    before = model.bits(P, sight, 30.0)
    model.learn(P, sight, 20.0, 30_000, 0.04)
    assert model.bits(P, sight, 20.0) == pytest.approx(30_000)
    assert model.bits(P, sight, 30.0) < 30_000 != before
    assert model.bits(P, Sight(16.0, 8.0), 20.0) == pytest.approx(60_000, rel=0.05)
    model.learn(P, sight, 20.0, 60_000, 0.04)
    assert 30_000 < model.bits(P, sight, 20.0) < 60_000
