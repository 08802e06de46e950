"""Quality experts: one step at the start, monotone always, exact once frozen."""

import copy

import pytest
import torch

from kinema.errors import ConfigError
from kinema.nn.exact import Arithmetic, GridConv, set_arithmetic
from kinema.parts.experts import (
    AMPLITUDE_BITS,
    HIGHEST,
    LOWEST,
    OCTAVE_BITS,
    QualityExperts,
    RisingTable,
    balance_loss,
)
from kinema.parts.powers import power_table
from kinema.parts.quality import CRF_UNITS, QualityTable

FEATURES, CHANNELS = 6, 5
CRF = torch.tensor([0.0, 20.5, 63.0])
CPU = torch.device("cpu")


def log_steps(channels=CHANNELS):
    return torch.linspace(-1.0, 5.0, 8)[:, None] + torch.arange(channels) * 0.3


def make(num_experts, *, stir=0.0, seed=0):
    torch.manual_seed(seed)
    experts = QualityExperts(log_steps(), FEATURES, num_experts, gate_channels=8)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter += torch.randn_like(parameter) * stir
    return experts


def features(batch=3, size=(4, 5), seed=1):
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(-300, 301, (batch, FEATURES, *size), generator=chance).float()


def by_python(experts, shares, row):
    """Steps at the whole crf `row`, from the exported rows, with Python's numbers."""
    rows = experts.table.grid_tensors()["rows"][row].view(experts.num_experts, -1).tolist()
    parts = 1 << OCTAVE_BITS
    table = power_table(LOWEST * parts, HIGHEST * parts, parts, AMPLITUDE_BITS, CPU)
    steps = []
    for channel in range(CHANNELS):
        total = sum(share * logs[channel] for share, logs in zip(shares, rows, strict=True))
        steps.append(float(table[round(total / sum(shares)) - LOWEST * parts]))
    return steps


@pytest.mark.parametrize("num_experts", [2, 4, 8])
def test_it_starts_as_one_step_whatever_the_gate_says(num_experts, freeze):
    experts = make(num_experts)
    plain = QualityTable(log_steps(), log=True)(CRF)[:, :, None, None]
    steps, weights = experts(features(), CRF)
    assert weights.std((2, 3)).min() > 0.01
    assert torch.allclose(steps, plain.expand_as(steps), rtol=1e-5)
    exact = freeze(experts)
    steps = exact(features(), CRF).steps
    assert torch.equal(steps, exact.base(CRF)[:, :, None, None].expand_as(steps))
    assert ((steps - plain).abs() <= 2.0**-AMPLITUDE_BITS + 2e-4 * plain).all()


def test_a_single_expert_is_the_plain_table(freeze):
    experts = make(1)
    table = QualityTable(log_steps(), log=True, fraction_bits=AMPLITUDE_BITS, num_rows=64)
    for network, expected in ((experts, table), (freeze(experts), freeze(table))):
        steps, weights = network(features(), CRF)
        assert torch.equal(steps, expected(CRF)[:, :, None, None].expand(3, -1, 4, 5))
        assert torch.equal(network.base(CRF), expected(CRF))
        assert torch.equal(weights, torch.ones(3, 1, 4, 5))
    assert not any(isinstance(module, GridConv) for module in experts.modules())


def test_there_must_be_an_expert():
    with pytest.raises(ConfigError, match="experts: found 0"):
        make(0)


@pytest.mark.parametrize("num_experts", [2, 4])
def test_frozen_steps_equal_python_numbers(num_experts, freeze):
    exact = freeze(make(num_experts, stir=0.5))
    for row in (0, 17, 63):
        steps, weights = exact(features(1), torch.tensor([float(row)]))
        for line in range(4):
            expected = by_python(exact, weights[0, :, line, 2].tolist(), row)
            assert steps[0, :, line, 2].tolist() == expected


def test_no_step_falls_as_crf_rises_whatever_was_learned(freeze):
    exact = freeze(make(4, stir=1.5))
    crf = torch.arange(0, 63 * CRF_UNITS + 1, 7) / CRF_UNITS
    same = features(1, (2, 2)).expand(len(crf), -1, -1, -1)
    steps = exact(same, crf).steps
    assert (steps[1:] >= steps[:-1]).all()
    assert (steps[-1] > steps[0]).all()
    moved = exact(same[:40], 30 + torch.arange(40) / CRF_UNITS).steps
    assert (moved[1:] / moved[:-1]).max() < 1.02, "quality is continuous"


def test_frozen_steps_are_whole_multiples_and_never_zero(freeze):
    experts = make(3, stir=0.3)
    with torch.no_grad():
        experts.table.knots[:, :CHANNELS] -= 20
        experts.table.knots[:, CHANNELS] += 40
    steps = freeze(experts)(features(), CRF).steps
    whole = steps * 2**AMPLITUDE_BITS
    assert steps.dtype is torch.float64
    assert torch.equal(whole, whole.round())
    assert whole.min() >= 1
    assert steps.max() <= 2.0**HIGHEST


def test_every_step_lies_between_those_of_the_experts(freeze):
    exact = freeze(make(4, stir=0.5))
    logs = exact.table(CRF).view(3, 4, CHANNELS)
    steps = exact(features(), CRF).steps.flatten(2)
    unit = 2.0**-AMPLITUDE_BITS
    assert (steps >= torch.exp2(logs.amin(1))[..., None] * 0.9998 - unit).all()
    assert (steps <= torch.exp2(logs.amax(1))[..., None] * 1.0002 + unit).all()
    assert (steps.std(2) > 0).any(), "content chooses"


def test_nothing_about_the_computation_changes_the_steps(freeze):
    exact, x = freeze(make(4, stir=0.5)), features(3, (20, 18))
    expected = exact(x, CRF).steps
    assert torch.equal(exact(x.double(), CRF).steps, expected)
    assert torch.equal(exact(x.contiguous(memory_format=torch.channels_last), CRF).steps, expected)
    single = [exact(x[i : i + 1], CRF[i : i + 1]).steps for i in range(3)]
    assert torch.equal(torch.cat(single), expected)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert torch.equal(exact(x, CRF).steps, expected)
    finally:
        torch.set_num_threads(threads)


def test_fake_steps_equal_frozen_ones_where_tables_meet(freeze):
    experts, knots = make(4, stir=0.3), torch.tensor([0.0, 63.0])
    exact = freeze(experts)
    set_arithmetic(experts, Arithmetic.FAKE)
    found, expected = experts(features(2), knots), exact(features(2), knots)
    assert torch.equal(found.steps.double(), expected.steps)
    assert torch.equal(found.weights, expected.weights)


def test_freezing_changes_steps_by_little(freeze):
    experts = make(4, stir=0.1)
    found, expected = freeze(experts)(features(), CRF).steps, experts(features(), CRF).steps
    assert ((found / expected - 1).abs() < 0.02 + 2.0**-AMPLITUDE_BITS / expected).all()


def test_gradients_tell_equal_experts_apart():
    experts = make(3)
    experts(features(), CRF).steps.square().sum().backward()
    gradients = experts.table.knots.grad.view(8, 3, CHANNELS)
    assert (gradients.std(1) > 1e-3 * gradients.mean(1).abs()).any()
    assert gradients.abs().sum() > 0


@pytest.mark.parametrize("arithmetic", [Arithmetic.FLOAT, Arithmetic.FAKE])
def test_training_reaches_every_parameter_once_experts_differ(arithmetic):
    experts = make(3, stir=0.1)
    set_arithmetic(experts, arithmetic)
    experts(features(), CRF).steps.log().square().sum().backward()
    silent = [n for n, p in experts.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_falling_knots_count_as_the_highest_before_them():
    table = RisingTable(torch.tensor([[1.0], [3.0], [2.0], [4.0]]))
    assert table(torch.tensor([0.0, 21, 42, 63])).flatten().tolist() == [1, 3, 3, 4]
    assert table(torch.tensor([10.5])).item() == pytest.approx(2.0)


def test_balance_is_one_for_equal_use_and_the_number_of_experts_for_one():
    even = torch.full((2, 4, 3, 3), 0.25)
    assert balance_loss(even).item() == pytest.approx(1.0)
    alone = torch.zeros(2, 4, 3, 3)
    alone[:, 1] = 1
    assert balance_loss(alone).item() == pytest.approx(4.0)
    in_turns = torch.eye(4)[torch.arange(16) % 4].T.reshape(1, 4, 4, 4)
    assert balance_loss(in_turns).item() == pytest.approx(1.0)


def test_balance_pulls_towards_equal_use():
    logits = torch.tensor([1.0, 0.0, -0.5]).view(1, 3, 1, 1).requires_grad_()
    balance_loss(torch.softmax(logits, 1)).backward()
    assert logits.grad[0, 0] > 0
    assert logits.grad[0, 2] < 0


def test_loading_refuses_tables_that_fall_or_leave_their_range():
    table = make(2).table
    whole = table.grid_tensors()["rows"]
    falling, high = whole.clone(), whole.clone()
    falling[30, 3] = whole[29, 3] - 1
    high[-1, 0] = (HIGHEST << OCTAVE_BITS) + 1
    for rows, message in (
        (falling, "rows: found some that fall"),
        (high, "rows: found .* expected -24576 to 61440"),
        (whole[:, 1:], "rows: found torch.int32"),
    ):
        with pytest.raises(ConfigError, match=message):
            copy.deepcopy(table).load_grid_tensors({"rows": rows})
    assert table.arithmetic is Arithmetic.FLOAT
