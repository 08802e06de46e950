"""Linear attention with signs apart: exact powers, means, and what it begins as."""

import pytest
import torch

from kinema.errors import ConfigError
from kinema.nn.exact import HIGH, LOW, Arithmetic, set_arithmetic
from kinema.parts.polarity import ONE, POWER_BITS, POWER_PARTS, PolarityAttention, exact_powers

SIZE = (5, 6)


def whole(*shape, seed=0, reach=400):
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(-reach, reach, shape, generator=chance).float()


@pytest.fixture
def attention():
    torch.manual_seed(0)
    layer = PolarityAttention(10, 12, heads=2)
    with torch.no_grad():
        layer.powers.normal_()
    return layer


def test_powers_from_tables_are_near_the_real_ones():
    parts = torch.arange(2049).float()[None]
    for sixteenths in (16, 23, 48):
        found = exact_powers(parts, torch.tensor([[sixteenths]])) * 2.0**-POWER_BITS
        real = ((parts / ONE) ** (sixteenths / POWER_PARTS)).double().clamp(max=256)
        assert found[0, 0] == 0
        assert ((found - real).abs() <= 0.06 * real + 2.0**-POWER_BITS).all()
        assert torch.equal(found[0, 1:].sort().values, found[0, 1:])


def test_frozen_attention_is_near_the_trained_one_and_exact(attention, freeze):
    stream, reference = whole(2, 10, *SIZE), whole(2, 12, *SIZE, seed=1)
    exact = freeze(attention)
    with torch.no_grad():
        free, found = attention(stream, reference), exact(stream, reference)
    assert torch.equal(found, found.round())
    assert found.min() >= LOW
    assert found.max() <= HIGH
    assert (found - free).abs().mean() < 0.1 * free.abs().mean() + 1
    assert torch.equal(exact(stream.double(), reference.double()).float(), found)


def test_order_of_cells_changes_nothing_but_positions(attention, freeze):
    """Sums over cells are exact in any order."""
    exact = freeze(attention)
    exact.place.weight.zero_()
    exact.place.bias.zero_()
    stream, reference = whole(1, 10, *SIZE), whole(1, 12, *SIZE, seed=1)
    shuffled = reference.flatten(2)[..., torch.randperm(30)].view_as(reference)
    assert torch.equal(exact(stream, reference), exact(stream, shuffled))


def test_the_largest_values_stay_exact(attention, freeze):
    exact = freeze(attention)
    stream, reference = torch.full((1, 10, 9, 11), 2047.0), torch.full((1, 12, 9, 11), -2048.0)
    found = exact(stream, reference)
    assert found.isfinite().all()
    assert torch.equal(found, found.round())


def test_silence_is_answered_by_silence(attention, freeze):
    exact = freeze(attention)
    for layer in (exact.ask, exact.offer):
        layer.bias.zero_()
    assert not exact(torch.zeros(1, 10, *SIZE), torch.zeros(1, 12, *SIZE)).any()


@pytest.mark.parametrize("arithmetic", [Arithmetic.FLOAT, Arithmetic.FAKE])
def test_gradients_reach_everything(arithmetic, attention):
    set_arithmetic(attention, arithmetic)
    stream, reference = whole(1, 10, *SIZE).requires_grad_(), whole(1, 12, *SIZE).requires_grad_()
    attention(stream, reference).square().mean().backward()
    for tensor in (stream, reference, *attention.parameters()):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()


def test_foreign_powers_are_refused(attention):
    tensors = attention.grid_tensors()
    with pytest.raises(ConfigError, match="powers: found 16 to 90"):
        attention.load_grid_tensors(
            {"powers": torch.full_like(tensors["powers"], 16).index_fill_(0, torch.tensor([3]), 90)}
        )
    with pytest.raises(ConfigError, match="powers: found nothing"):
        attention.load_grid_tensors({})
    with pytest.raises(ConfigError, match="0 heads"):
        PolarityAttention(10, 12, heads=0)


def test_powers_come_back_for_training(attention, freeze):
    before = 1 + 2 * torch.sigmoid(attention.powers.detach())
    with torch.no_grad():
        attention.powers.copy_(attention.thaw(attention.grid_tensors())["powers"])
    after = 1 + 2 * torch.sigmoid(attention.powers.detach())
    assert (after - before).abs().max() <= 0.5 / POWER_PARTS + 0.01
