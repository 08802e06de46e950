"""Attention over points: means of values, chosen by keys and positions."""

import copy

import pytest
import torch

from kinema.errors import ConfigError
from kinema.nn.exact import HIGH, LOW
from kinema.parts.attention import QUERY_LIMIT, PointAttention

REFERENCES, HEADS, POINTS, WIDTH = 3, 2, 9, 4
PLACES = 7


def make(spread=1.0, seed=0):
    torch.manual_seed(seed)
    return PointAttention(torch.randn(REFERENCES, HEADS, POINTS) * spread)


def whole(*shape, reach=300, seed=1):
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(-reach, reach + 1, shape, generator=chance).float()


def asked(batch=2):
    return whole(batch, PLACES, HEADS * WIDTH)


def sampled(references=2, batch=2, **options):
    return whole(references * batch, PLACES, HEADS, POINTS, 2 * WIDTH, **options)


def test_points_that_are_alike_give_the_mean_of_their_values(freeze):
    attention = make(spread=0)
    samples = sampled()
    samples[..., :WIDTH] = 5
    mean = samples.view(2, 2, *samples.shape[1:])[..., WIDTH:].mean((0, 4)).flatten(2)
    assert torch.allclose(attention(asked(), samples), mean, atol=1e-3)
    assert torch.equal(freeze(attention)(asked(), samples), mean.round())


def test_a_query_finds_the_point_whose_key_is_alike(freeze):
    attention, samples, queries = freeze(make()), sampled(), asked()
    samples[..., :WIDTH] = 0
    samples[1, :, 1, 4, :WIDTH] = 40 * queries.view(2, PLACES, HEADS, WIDTH)[1, :, 1]
    found = attention(queries, samples).view(2, PLACES, HEADS, WIDTH)
    assert torch.equal(found[1, :, 1], samples[1, :, 1, 4, WIDTH:])
    assert not torch.equal(found[0, :, 1], samples[0, :, 1, 4, WIDTH:])


def test_positions_choose_where_keys_do_not(freeze):
    attention, samples = make(spread=0), sampled()
    samples[..., :WIDTH] = 0
    with torch.no_grad():
        attention.position[1, :, 3] = 30.0  # octaves
    found = freeze(attention)(asked(), samples)
    assert torch.equal(found, samples[2:, :, :, 3, WIDTH:].flatten(2))


def test_missing_references_take_no_part(freeze):
    attention, samples = freeze(make()), sampled()
    alone = attention(asked(), samples[:2])
    ignored = samples.clone()
    ignored[2:, ..., :WIDTH] = 0
    with torch.no_grad():
        attention.position[1] = -40.0
    assert torch.equal(attention(asked(), ignored), alone)


def test_extreme_activations_are_answered_exactly(freeze):
    attention = freeze(make())
    samples, queries = sampled(3), asked()
    samples = torch.where(samples < 0, float(LOW), float(HIGH))
    queries = torch.where(queries < 0, float(LOW), float(HIGH))
    found = attention(queries, samples)
    assert torch.equal(found.double(), attention(queries.double(), samples.double()))
    clamped = queries.clamp(-QUERY_LIMIT, QUERY_LIMIT - 1)
    assert torch.equal(attention(clamped, samples), found)


def test_gradients_reach_queries_keys_values_and_positions():
    attention = make()
    samples, queries = sampled().requires_grad_(), asked().requires_grad_()
    attention(queries, samples).square().sum().backward()
    assert samples.grad[..., :WIDTH].any()
    assert samples.grad[..., WIDTH:].any()
    assert queries.grad.any()
    assert attention.position.grad[:2].any()
    assert not attention.position.grad[2].any()


def test_loading_refuses_position_biases_of_another_shape():
    attention = make()
    tensors = attention.grid_tensors()
    for position in (tensors["position"][:, :1], tensors["position"].float()):
        with pytest.raises(ConfigError, match="position: found"):
            copy.deepcopy(attention).load_grid_tensors({"position": position})
