"""Distributions and the channel that estimates."""

import pytest
import torch

from kinema.parts.channels import Distribution, Estimate, choose_symbols
from kinema.parts.laplace import laplace_bits

SHAPE = (2, 3, 4, 5)


def half():
    """Positions of the even columns, by rows, columns, channels."""
    mask = torch.zeros(4, 5, 3, dtype=torch.bool)
    mask[:, ::2] = True
    return mask.flatten().nonzero().squeeze(1)


def columns():
    """The same as a mask of the latent."""
    return (torch.arange(5) % 2 == 0).expand(SHAPE)


def random_distribution(inside=None, seed=0, weight=None):
    chance = torch.Generator().manual_seed(seed)
    mean = torch.randn(SHAPE, generator=chance) * 2
    return Distribution(mean, torch.randn(SHAPE, generator=chance) * 0.5, inside, weight)


def random_latent(seed=9):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) * 3


def test_gathering_and_scattering_are_inverse():
    for inside, mask in ((half(), columns()), (None, torch.ones(SHAPE))):
        distribution = random_distribution(inside)
        coded = distribution.gather(distribution.mean)
        assert coded.shape == (2, 60 if inside is None else 4 * 3 * 3)
        assert torch.equal(distribution.scatter(coded), distribution.mean * mask)


def test_elements_are_ordered_by_rows_columns_channels():
    distribution = random_distribution()
    assert torch.equal(distribution.gather(distribution.mean)[:, :3], distribution.mean[..., 0, 0])


def test_symbols_are_rounded_and_bits_are_theirs():
    channel, s = Estimate(noise=False), random_latent()
    distribution = random_distribution()
    symbols = channel.carry(s, distribution)
    assert torch.equal(symbols, s.round())
    expected = laplace_bits(symbols, distribution.mean, distribution.log_scale)
    assert torch.allclose(channel.bits(), expected.sum((1, 2, 3)))


@pytest.mark.parametrize("noise", [False, True])
def test_latents_are_counted_one_by_one(noise):
    channel, apart = Estimate(noise=noise), []
    torch.manual_seed(0)
    for seed in (1, 2):
        channel.carry(random_latent(seed), random_distribution(None, seed))
    total = channel.bits()
    torch.manual_seed(0)
    for seed in (1, 2):
        single = Estimate(noise=noise)
        single.carry(random_latent(seed), random_distribution(None, seed))
        apart.append(single.bits())
    assert torch.allclose(total, sum(apart))


@pytest.mark.parametrize("noise", [False, True])
def test_elements_that_do_not_exist_cost_nothing(noise):
    channel, s = Estimate(noise=noise), random_latent()
    distribution = random_distribution(half())
    symbols = channel.carry(s, distribution)
    assert (symbols[~columns()] == 0).all()
    assert symbols.any()
    far = distribution.mean + 100 * ~columns()
    other = Estimate(noise=noise)
    other.carry(s, Distribution(far, distribution.log_scale, distribution.inside))
    torch.manual_seed(0)
    expected = channel.bits()
    torch.manual_seed(0)
    assert torch.allclose(other.bits(), expected)


def test_noise_makes_rates_differentiable_and_leaves_symbols_whole():
    channel, s = Estimate(noise=True), random_latent().requires_grad_()
    mean, log_scale = (torch.zeros(SHAPE, requires_grad=True) for _ in range(2))
    symbols = channel.carry(s, Distribution(mean, log_scale))
    assert torch.equal(symbols, s.detach().round())
    channel.bits().sum().backward()
    assert all(t.grad.abs().sum() > 0 for t in (s, mean, log_scale))


def test_noisy_rates_are_near_those_of_symbols_on_average():
    torch.manual_seed(0)
    shape = (4, 8, 40, 40)
    s = torch.randn(shape) * 3
    distribution = Distribution(torch.zeros(shape), torch.full(shape, 1.1))
    rates = []
    for noise in (False, True):
        channel = Estimate(noise=noise)
        channel.carry(s, distribution)
        rates.append(float(channel.bits().sum()))
    assert rates[1] == pytest.approx(rates[0], rel=0.01)


@pytest.mark.parametrize("noise", [False, True])
def test_deciding_symbols_saves_bits_and_keeps_gradients(noise):
    weight = torch.full(SHAPE, 0.3)
    s = (random_latent() * 0.4).requires_grad_()
    distribution = random_distribution(weight=weight)
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
        return laplace_bits(k, mean, log_scale) + cost * (s - k).square()

    chosen, nearest = choose_symbols(s, mean, log_scale, cost), torch.round(s)
    assert (total(chosen) <= total(nearest) + 1e-4).all()
    assert ((chosen - nearest).abs() <= 1).all()
    assert torch.equal(choose_symbols(s, mean, log_scale, cost * 0 + 1e6), nearest)
    moved = chosen != nearest
    assert ((chosen - mean).abs() <= (nearest - mean).abs() + 0.5)[moved].all()


def test_a_rehearsal_chooses_alike_and_costs_nothing():
    channel = Estimate(noise=True, decide=1.0)
    distribution = random_distribution(weight=torch.full(SHAPE, 0.3))
    s = random_latent()
    assert torch.equal(
        channel.rehearsal().carry(s, distribution).round(), channel.carry(s, distribution).round()
    )
    alone = Estimate(noise=True, decide=1.0)
    alone.rehearsal().carry(s, distribution)
    assert alone.bits() == 0


def test_estimate_needs_a_latent_and_starts_at_nothing():
    with pytest.raises(TypeError):
        Estimate(noise=True).carry(None, random_distribution())
    assert Estimate(noise=True).bits() == 0
