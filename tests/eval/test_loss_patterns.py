from itertools import pairwise

import pytest

from kinema.errors import ConfigError
from kinema.eval.loss_patterns import BURSTS, INDEPENDENT, KINDS, PERCENTS, draw_losses


def draw(kind, *, percents=PERCENTS, packets=48, journeys=20, seed=1):
    return draw_losses(kind, percents, packets, journeys, seed)


def runs(journeys):
    """Lengths of the stretches of packets lost one after the other."""
    lengths = []
    for lost in journeys:
        lengths += [1] * bool(lost)
        for before, after in pairwise(lost):
            if after == before + 1:
                lengths[-1] += 1
            else:
                lengths.append(1)
    return lengths


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_of_lost_packets_is_exact(kind):
    for losses in draw(kind):
        assert losses.num_lost == round(losses.percent / 100 * 47 * 20)
        assert len(losses.journeys) == 20


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_lost_at_a_rate_is_lost_at_every_higher_one(kind):
    for fewer, more in pairwise(draw(kind)):
        for few, many in zip(fewer.journeys, more.journeys, strict=True):
            assert set(few) <= set(many)
            assert list(many) == sorted(set(many))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_packet_arrives_and_any_other_may_be_lost(kind):
    (losses,) = draw(kind, percents=(99.9,), packets=6, journeys=3)
    assert losses.journeys[0] + losses.journeys[1] + losses.journeys[2] == 3 * (1, 2, 3, 4, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_loses_the_same_packets(kind):
    assert draw(kind) == draw(kind)
    assert draw(kind) != draw(kind, seed=2)


def test_bursts_are_longer_than_chance_makes_them():
    (alone,), (bursts,) = (draw(kind, percents=(5.0,), journeys=100) for kind in KINDS)
    lengths = [runs(losses.journeys) for losses in (alone, bursts)]
    means = [sum(found) / len(found) for found in lengths]
    assert means[0] < 1.2
    assert 3 < means[1] < 5


def test_known_losses_stay_the_same_on_every_machine():
    assert draw(INDEPENDENT, percents=(10.0,), packets=12, journeys=2)[0].journeys == SCATTERED
    assert draw(BURSTS, percents=(30.0,), packets=12, journeys=2)[0].journeys == IN_BURSTS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "gusts"}, "gusts"),
        ({"percents": (0.0,)}, "0 % of loss"),
        ({"percents": (100.0,)}, "100 % of loss"),
        ({"packets": 1}, "1 packets"),
        ({"journeys": 0}, "sent 0 times"),
        ({"percents": (1.0,), "packets": 20, "journeys": 2}, "no packet to lose: 1 % of 20"),
    ],
)
def test_losses_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        draw(**({"kind": INDEPENDENT} | settings))


SCATTERED = ((4,), (3,))
IN_BURSTS = ((1, 11), (5, 6, 7, 10, 11))
