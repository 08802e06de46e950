"""Which packets are lost on the way: seeded, alike for all codecs, in exact shares."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from kinema.errors import ConfigError

INDEPENDENT, BURSTS = "independent", "bursts"
KINDS = (INDEPENDENT, BURSTS)
BURST_LENGTH = 4  # packets, on average: one more follows with probability 3/4
PERCENTS = (1.0, 2.0, 5.0, 10.0, 20.0)

Place = tuple[int, int]  # journey, packet


@dataclass(frozen=True, slots=True)
class Losses:
    """What is lost of a clip that is sent several times.

    Attributes:
        kind: of `KINDS`.
        percent: share of packets that are lost, all journeys together, the first packets of which
            nothing is ever lost left out.
        journeys: for each time that the clip is sent the packets that are lost, in order.
    """

    kind: str
    percent: float
    journeys: tuple[tuple[int, ...], ...]

    @property
    def num_lost(self) -> int:
        """Packets lost, all journeys together."""
        return sum(len(lost) for lost in self.journeys)


def draw_losses(
    kind: str, percents: tuple[float, ...], num_packets: int, num_journeys: int, seed: int
) -> tuple[Losses, ...]:
    """Choose lost packets, the same for the same arguments on every machine.

    A packet that is lost at one rate is lost at every higher one too, and the share of lost packets
    is exact but for rounding: differences between rates and codecs are theirs, not those of chance.
    The first packet always arrives: a receiver needs something to show.

    Args:
        kind: "independent", or "bursts" of `BURST_LENGTH` packets on average.
        percents: rates of loss, each above 0 and below 100.
        num_packets: of the clip, 2 or more.
        num_journeys: how often the clip is sent.
        seed: source of chance.

    Raises:
        ConfigError: arguments that cannot be.
    """
    if kind not in KINDS:
        raise ConfigError(f"found kind of loss {kind!r}, expected one of: {', '.join(KINDS)}")
    if num_packets < 2 or num_journeys < 1:
        raise ConfigError(
            f"found {num_packets} packets sent {num_journeys} times, expected 2 or more and 1"
        )
    for percent in percents:
        if not 0 < percent < 100:
            raise ConfigError(f"found {percent:g} % of loss, expected more than 0, less than 100")
        if round((num_packets - 1) * num_journeys * percent / 100) < 1:
            raise ConfigError(
                f"found no packet to lose: {percent:g} % of {num_packets} packets sent "
                f"{num_journeys} times; expected a longer clip, or to send it more often"
            )
    chance = random.Random(f"{seed} {kind} {num_packets} {num_journeys}")  # noqa: S311  # no secrets
    draw = _scattered if kind == INDEPENDENT else _in_bursts
    order = list(dict.fromkeys(draw(chance, num_packets, num_journeys)))
    return tuple(_first(order, kind, percent, num_journeys) for percent in percents)


def _first(order: list[Place], kind: str, percent: float, num_journeys: int) -> Losses:
    """Lose a share of places, in the order in which they are lost."""
    lost = order[: round(len(order) * percent / 100)]
    journeys = [sorted(packet for where, packet in lost if where == j) for j in range(num_journeys)]
    return Losses(kind, percent, tuple(tuple(packets) for packets in journeys))


def _scattered(chance: random.Random, num_packets: int, num_journeys: int) -> list[Place]:
    """Give all places in an order of chance."""
    places = [(j, k) for j in range(num_journeys) for k in range(1, num_packets)]
    return sorted(places, key=lambda _: chance.random())


def _in_bursts(chance: random.Random, num_packets: int, num_journeys: int) -> Iterator[Place]:
    """Give places burst by burst, some more than once, until each has had its turn."""
    left = {(j, k) for j in range(num_journeys) for k in range(1, num_packets)}
    while left:
        journey = int(chance.random() * num_journeys)
        packet = 1 + int(chance.random() * (num_packets - 1))
        while packet < num_packets:
            left.discard((journey, packet))
            yield journey, packet
            packet += 1
            if chance.random() * BURST_LENGTH < 1:
                break
