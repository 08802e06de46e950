"""The multistage context model: nine steps, each blind to what comes after it."""

import pytest
import torch

from kinema.parts.channels import Estimate
from kinema.parts.multistage import STEPS, MultistageContext, group_sizes, positions


class Spy:
    """Carries rounded symbols, changes one of them in one step, keeps the distributions."""

    def __init__(self, changed_step=None):
        self.changed_step, self.seen = changed_step, []

    def carry(self, s, distribution):
        symbols = distribution.scatter(distribution.gather(s.round()))
        if len(self.seen) == self.changed_step:
            coded = distribution.gather(symbols)
            coded[0, 0] += 4
            symbols = distribution.scatter(coded)
        self.seen.append(distribution.gather(distribution.log_scale))
        return symbols


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = MultistageContext(24, 6, 8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize(
    ("channels", "sizes"),
    [(64, [5, 13, 21, 25]), (96, [7, 21, 31, 37]), (128, [9, 28, 42, 49]), (192, [14, 42, 62, 74])],
)
def test_groups_grow_by_the_cosine_rule(channels, sizes):
    assert sum(group_sizes(channels)) == channels
    assert group_sizes(channels)[1:] == pytest.approx(sizes[1:], abs=1)


def test_there_are_nine_steps_and_each_group_is_coded_once():
    assert sum(map(len, STEPS)) == 9
    for steps in STEPS:
        places = [place for step in steps for place in step]
        assert sorted(places) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_positions_are_in_order_of_rows_columns_channels():
    found = positions(2, (2, 4), ((1, 0),), torch.device("cpu"))
    assert found.tolist() == [8, 9, 12, 13]
    assert positions(2, (2, 4), STEPS[3][0], torch.device("cpu")) is None


def test_all_elements_are_carried_once(network):
    y, features = torch.randn(2, 24, 4, 8) * 3, torch.randn(2, 6, 4, 8)
    spy = Spy()
    y_hat = network.code(y, features, spy)
    assert sum(seen.shape[1] for seen in spy.seen) == 24 * 4 * 8
    assert (y - y_hat).abs().max() <= 0.5 + 1e-5


@pytest.mark.parametrize("changed", range(9))
@torch.no_grad()
def test_a_symbol_changes_only_what_comes_after_it(network, changed):
    y, features = torch.randn(1, 24, 4, 4) * 3, torch.randn(1, 6, 4, 4)
    spies = Spy(), Spy(changed)
    for spy in spies:
        network.code(y, features, spy)
    same = [torch.equal(a, b) for a, b in zip(spies[0].seen, spies[1].seen, strict=True)]
    assert all(same[: changed + 1])
    assert changed == 8 or not same[changed + 1]


def test_rates_teach_all_nets(network):
    channel = Estimate(noise=True)
    network.code(torch.randn(1, 24, 4, 4), torch.randn(1, 6, 4, 4), channel)
    channel.bits().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
