"""Selections, distributions and the channel that estimates."""

import pytest
import torch

from kinema.parts.channels import Distribution, Estimate, Selection, choose_symbols
from kinema.parts.gaussian import gaussian_bits

SHAPE = (2, 3, 4, 5)


def full(shape=SHAPE):
    return Selection.of(torch.ones(shape[1:], dtype=torch.bool))


def halves(shape=SHAPE):
    mask = torch.zeros(shape[1:], dtype=torch.bool)
    mask[..., ::2] = True
    return Selection.of(mask), Selection.of(~mask)


def random_distribution(select, seed=0, weight=None):
    chance = torch.Generator().manual_seed(seed)
    mean = torch.randn(SHAPE, generator=chance) * 2
    return Distribution(mean, torch.randn(SHAPE, generator=chance) * 0.5, select, weight)


def random_latent(seed=9):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) * 3


def test_selection_knows_where_its_elements_are():
    first, second = halves()
    everything = torch.cat([first.positions, second.positions]).sort().values
    assert everything.tolist() == list(range(3 * 4 * 5))
    assert first.mask.flatten()[first.positions].all()


def test_gathering_and_scattering_are_inverse():
    distribution = random_distribution(halves()[0])
    (selected,) = distribution.gather(distribution.mean)
    assert selected.shape == (2, 3 * 4 * 3)
    back = distribution.scatter(selected)
    assert torch.equal(back, distribution.mean * distribution.select.mask)


def test_costs_follow_the_channel():
    weight = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    distribution = random_distribution(halves()[1], weight=weight)
    expected = weight[:, :, None, None].expand(SHAPE)
    assert torch.equal(distribution.costs(), distribution.gather(expected)[0])
    with pytest.raises(TypeError):
        random_distribution(full()).costs()


def test_symbols_are_rounded_and_bits_are_theirs():
    channel, s = Estimate(noise=False), random_latent()
    distribution = random_distribution(full())
    symbols = channel.carry(s, distribution)
    assert torch.equal(symbols, s.round())
    expected = gaussian_bits(symbols, distribution.mean, distribution.log_scale)
    assert torch.allclose(channel.bits(), expected.sum((1, 2, 3)))


def test_steps_of_one_latent_add_up():
    s, (first, second) = random_latent(), halves()
    whole, parts = Estimate(noise=False), Estimate(noise=False)
    expected = whole.carry(s, random_distribution(full()))
    found = sum(parts.carry(s, random_distribution(select)) for select in (first, second))
    assert torch.equal(found, expected)
    assert torch.allclose(parts.bits(), whole.bits())


@pytest.mark.parametrize("noise", [False, True])
def test_two_latents_of_one_shape_are_counted_apart(noise):
    channel, apart = Estimate(noise=noise), []
    torch.manual_seed(0)
    for seed in (1, 2):
        channel.carry(random_latent(seed), random_distribution(full(), seed))
    total = channel.bits()
    torch.manual_seed(0)
    for seed in (1, 2):
        single = Estimate(noise=noise)
        single.carry(random_latent(seed), random_distribution(full(), seed))
        apart.append(single.bits())
    assert torch.allclose(total, sum(apart))


@pytest.mark.parametrize("noise", [False, True])
def test_elements_that_were_not_selected_cost_nothing(noise):
    select = halves()[0]
    channel, s = Estimate(noise=noise), random_latent()
    distribution = random_distribution(select)
    symbols = channel.carry(s, distribution)
    assert (symbols[:, ~select.mask] == 0).all()
    costly = Distribution(distribution.mean + 100 * ~select.mask, distribution.log_scale, select)
    other = Estimate(noise=noise)
    other.carry(s, costly)
    if noise:
        torch.manual_seed(0)
    expected = channel.bits()
    if noise:
        torch.manual_seed(0)
    assert torch.allclose(other.bits(), expected)


def test_noise_makes_rates_differentiable_and_leaves_symbols_whole():
    channel, s = Estimate(noise=True), random_latent().requires_grad_()
    mean, log_scale = (torch.zeros(SHAPE, requires_grad=True) for _ in range(2))
    symbols = channel.carry(s, Distribution(mean, log_scale, full()))
    assert torch.equal(symbols, s.detach().round())
    channel.bits().sum().backward()
    assert all(t.grad.abs().sum() > 0 for t in (s, mean, log_scale))


def test_noisy_rates_are_near_those_of_symbols_on_average():
    torch.manual_seed(0)
    shape = (4, 8, 40, 40)
    s = torch.randn(shape) * 3
    distribution = Distribution(torch.zeros(shape), torch.full(shape, 1.1), full(shape))
    rates = []
    for noise in (False, True):
        channel = Estimate(noise=noise)
        channel.carry(s, distribution)
        rates.append(float(channel.bits().sum()))
    assert rates[1] == pytest.approx(rates[0], rel=0.01)


@pytest.mark.parametrize("noise", [False, True])
def test_deciding_symbols_saves_bits_and_keeps_gradients(noise):
    weight = torch.full((2, 3), 0.3)
    s = (random_latent() * 0.4).requires_grad_()
    distribution = random_distribution(full(), weight=weight)
    plain, deciding = Estimate(noise=False), Estimate(noise=noise, decide=1.0)
    rounded, chosen = (channel.carry(s, distribution) for channel in (plain, deciding))
    changed = chosen.detach().round() != rounded.detach()
    assert 0 < changed.float().mean() < 0.8
    assert torch.allclose(chosen, chosen.round(), atol=1e-5)
    assert (deciding.bits() < plain.bits()).all()
    (deciding.bits().sum() + chosen.sum()).backward()
    assert s.grad.abs().min() > 0 or not noise


def test_choices_minimise_rate_and_distortion_among_neighbours():
    chance = torch.Generator().manual_seed(3)
    s, mean, log_scale = (torch.randn(500, generator=chance) * k for k in (3, 2, 0.5))
    cost = torch.rand(500, generator=chance)

    def total(k):
        return gaussian_bits(k, mean, log_scale) + cost * (s - k).square()

    chosen, nearest = choose_symbols(s, mean, log_scale, cost), torch.round(s)
    assert (total(chosen) <= total(nearest) + 1e-4).all()
    assert ((chosen - nearest).abs() <= 1).all()
    assert torch.equal(choose_symbols(s, mean, log_scale, cost * 0 + 1e6), nearest)
    moved = chosen != nearest
    assert ((chosen - mean).abs() <= (nearest - mean).abs() + 0.5)[moved].all()


def test_estimate_needs_a_latent_and_starts_at_nothing():
    with pytest.raises(TypeError):
        Estimate(noise=True).carry(None, random_distribution(full()))
    assert Estimate(noise=True).bits() == 0
