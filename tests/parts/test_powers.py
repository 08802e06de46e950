"""Powers of two from whole numbers, and the softmax made of them."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
import torch

from kinema.nn.exact import Arithmetic
from kinema.parts.powers import (
    LOGIT_UNITS,
    SHARE_BITS,
    WEIGHT_BITS,
    divide,
    power_table,
    replace_through,
    softmax_shares,
)

CPU = torch.device("cpu")


def logits(*shape, spread=200.0, seed=0):
    chance = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=chance) * spread).round()


@pytest.mark.parametrize(
    ("first", "last", "parts", "bits"), [(-1344, 0, 64, 20), (-900, 700, 128, 6), (5, 40, 1, 3)]
)
def test_table_holds_powers_rounded_to_nearest(first, last, parts, bits):
    table = power_table(first, last, parts, bits, CPU)
    assert len(table) == last - first + 1
    with localcontext() as context:
        context.prec = 60
        for exponent, entry in zip(range(first, last + 1), table.tolist(), strict=True):
            exact = Decimal(2) ** (Decimal(exponent) / parts + bits)
            assert abs(Decimal(entry) * 2**bits - exact) <= Decimal("0.5")


def test_whole_octaves_are_met_exactly():
    table = power_table(-2 * 4096, 15 * 4096, 4096, 6, CPU)
    assert table[::4096].tolist() == [2.0**k for k in range(-2, 16)]


def by_python(column):
    """Shares of whole-number logits, from exact fractions."""
    table = power_table(-(WEIGHT_BITS + 1) * LOGIT_UNITS, 0, LOGIT_UNITS, WEIGHT_BITS, CPU).tolist()
    steps = [int(max(column) - logit) for logit in column]
    weights = [Fraction(table[-1 - step]) if step < len(table) else Fraction(0) for step in steps]
    return [round(w * 2**SHARE_BITS / sum(weights)) / 2**SHARE_BITS for w in weights]


@pytest.mark.parametrize("spread", [0.0, 30.0, 900.0])
def test_frozen_softmax_equals_python_integers(spread):
    x = logits(20, 9, spread=spread)
    shares = softmax_shares(x, (1,), Arithmetic.FROZEN)
    assert shares.tolist() == [by_python(row) for row in x.tolist()]


def test_frozen_softmax_stays_near_the_real_one_and_sums_to_about_one():
    x = logits(3, 50, 9)
    shares = softmax_shares(x, (0, 2), Arithmetic.FROZEN)
    real = softmax_shares(x, (0, 2), Arithmetic.FLOAT)
    expected = torch.softmax((x * (0.6931472 / LOGIT_UNITS)).transpose(0, 1).flatten(1), 1)
    assert torch.allclose(real.transpose(0, 1).flatten(1), expected, atol=1e-6)
    assert (shares - real).abs().max() <= 2.0 ** -(SHARE_BITS + 1) + 1e-6
    assert (shares.sum((0, 2)) - 1).abs().max() <= 27 / 2 * 2.0**-SHARE_BITS


def test_frozen_softmax_depends_on_differences_only_and_keeps_the_type():
    x = logits(6, 9)
    shares = softmax_shares(x, (1,), Arithmetic.FROZEN)
    assert torch.equal(softmax_shares(x - 12345, (1,), Arithmetic.FROZEN), shares)
    double = softmax_shares(x.double(), (1,), Arithmetic.FROZEN)
    assert double.dtype is torch.float64
    assert torch.equal(double.float(), shares)


def test_fake_softmax_shows_frozen_shares_and_passes_real_gradients():
    values = logits(6, 9, seed=1)
    gradients = []
    for arithmetic in (Arithmetic.FLOAT, Arithmetic.FAKE):
        x = logits(6, 9).requires_grad_()
        shares = softmax_shares(x, (1,), arithmetic)
        (shares * values).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(shares.detach(), softmax_shares(x.detach(), (1,), Arithmetic.FROZEN))
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-4)
    assert gradients[0].abs().max() > 0.1


def test_replacement_is_seen_and_gradient_passes_by():
    value = torch.tensor([1e-7, 3.0]).requires_grad_()
    seen = replace_through(value, torch.tensor([7.0, 0.1]))
    (seen * torch.tensor([2.0, 5.0])).sum().backward()
    assert seen.tolist() == [7.0, pytest.approx(0.1, rel=1e-7)]
    assert value.grad.tolist() == [2.0, 5.0]


def test_quotients_are_rounded_to_even_and_keep_their_type():
    numerator = torch.tensor([1.0, 3.0, 5.0, -5.0, 7.0, -36.0])
    denominator = torch.tensor([2.0, 2.0, 2.0, 2.0, 3.0, 72.0])
    for arithmetic in (Arithmetic.FAKE, Arithmetic.FROZEN):
        found = divide(numerator, denominator, arithmetic)
        assert found.tolist() == [0, 2, 2, -2, 2, 0]
        assert found.dtype is torch.float32
    assert divide(numerator, denominator, Arithmetic.FLOAT)[4].item() == pytest.approx(7 / 3)


def test_quotients_near_a_half_are_told_from_it():
    numerator = torch.tensor([2.0**23 - 1]).double()
    assert divide(numerator, numerator.new_tensor(2**24), Arithmetic.FROZEN).item() == 0
    assert divide(numerator + 2, numerator.new_tensor(2**24), Arithmetic.FROZEN).item() == 1


def test_fake_quotients_pass_gradients():
    numerator = torch.tensor([3.0]).requires_grad_()
    divide(numerator, torch.tensor([2.0]), Arithmetic.FAKE).sum().backward()
    assert numerator.grad.item() == 0.5
