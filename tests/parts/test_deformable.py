"""Deformable stage: starts as nothing, follows motion, and is exact once frozen."""

import dataclasses
import math

import pytest
import torch

from kinema.errors import ConfigError, ShapeError
from kinema.nn.exact import HIGH, LOW, Arithmetic, set_arithmetic
from kinema.parts.attention import LOGIT_SHIFT, QUERY_LIMIT
from kinema.parts.deformable import WINDOW, DeformableConfig, DeformableStage
from kinema.parts.powers import softmax_shares
from kinema.parts.sampling import CELL

CONFIG = DeformableConfig(
    stream_channels=12, latent_channels=10, value_channels=8, heads=2, hidden_channels=6
)
SIZE = (5, 6)


def make(*, stir=0.1, seed=0, config=CONFIG):
    torch.manual_seed(seed)
    stage = DeformableStage(config)
    with torch.no_grad():
        for parameter in stage.parameters():
            parameter += torch.randn_like(parameter) * stir
    return stage


def inputs(count=2, batch=2, size=SIZE, seed=1):
    """A query, references and fields."""
    chance = torch.Generator().manual_seed(seed)

    def whole(channels, reach):
        shape = (batch, channels, *size)
        return torch.randint(-reach, reach + 1, shape, generator=chance).float()

    references = [whole(CONFIG.latent_channels, 400) for _ in range(count)]
    return whole(CONFIG.stream_channels, 400), references, [whole(2, 150) for _ in range(count)]


def equal(a, b):
    pairs = zip((a.query, *a.fields), (b.query, *b.fields), strict=True)
    return all(torch.equal(x.double(), y.double()) for x, y in pairs)


def interpolate(features, x, y):
    """Column (C,) of features (C, h, w) at a position in 1/CELL of a cell, by definition."""
    height, width = features.shape[1:]
    x = min(max(x / CELL, 0), width - 1)
    y = min(max(y / CELL, 0), height - 1)
    left, top = min(math.floor(x), width - 1), min(math.floor(y), height - 1)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    upper = features[:, top, left] * (1 - x + left) + features[:, top, right] * (x - left)
    lower = features[:, bottom, left] * (1 - x + left) + features[:, bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def attended_by_definition(asked, projected, offsets, biases, place):
    """What one head finds at one place, in fp64, from the formula of the attention.

    asked (d,); projected, per reference (2 d, h, w); offsets, per reference (2, points); biases,
    per reference (points,); place (line, column).
    """
    values, logits = [], []
    for features, offset, bias in zip(projected, offsets, biases, strict=True):
        for point, (dx, dy) in enumerate(WINDOW):
            x = CELL * (place[1] + dx) + float(offset[0, point])
            y = CELL * (place[0] + dy) + float(offset[1, point])
            key, value = interpolate(features, x, y).round().chunk(2)
            logit = (key @ asked * 2.0**-LOGIT_SHIFT).round()
            logits.append(logit + (bias[point].double() * 64).round())
            values.append(value)
    shares = softmax_shares(torch.stack(logits)[None], (1,), Arithmetic.FROZEN)[0]
    return (shares @ torch.stack(values) / shares.sum()).round()


@pytest.mark.parametrize("count", [1, 3])
def test_attention_equals_its_definition(count, freeze):
    stage = freeze(make())
    query, references, fields = inputs(count, batch=1)
    seen = {}
    stage.leave.register_forward_pre_hook(lambda _, args: seen.update(found=args[0]))
    stage.offsets.register_forward_hook(lambda *args: seen.update(residual=args[-1]))
    stage(query, references, fields)
    heads, points = CONFIG.heads, len(WINDOW)
    residual = seen["residual"].double().clamp(-CONFIG.residual_limit, CONFIG.residual_limit)
    assert (residual.std((0, 2, 3)) > 0).all()
    offsets = residual.view(count, 2, heads, points, *SIZE)
    offsets = offsets + torch.cat(fields).double()[:, :, None, None]
    asked = stage.enter(query)[0, : CONFIG.value_channels].double()
    asked = asked.clamp(-QUERY_LIMIT, QUERY_LIMIT - 1).view(heads, -1, *SIZE)
    projected = [stage.project(r)[0].double().view(heads, -1, *SIZE) for r in references]
    found = seen["found"][0].double().view(heads, -1, *SIZE)
    for line, column, head in ((0, 0, 0), (2, 3, 1), (4, 5, 0), (1, 4, 1)):
        expected = attended_by_definition(
            asked[head, :, line, column],
            [features[head] for features in projected],
            offsets[:, :, head, :, line, column],
            stage.attend.position[:count, head],
            (line, column),
        )
        assert found[head, :, line, column].tolist() == expected.tolist()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_new_stage_gives_its_query_and_fields_as_they_are(count, frozen, freeze):
    stage = make(stir=0)
    stage = freeze(stage) if frozen else stage
    query, references, fields = inputs(count)
    aligned = stage(query, references, fields)
    assert torch.equal(aligned.query, query)
    assert len(aligned.fields) == count
    assert all(torch.equal(a, b) for a, b in zip(aligned.fields, fields, strict=True))


def test_a_new_stage_learns_from_its_first_step():
    stage = make(stir=0)
    stage(*inputs()).query.square().sum().backward()
    for last in (stage.leave, stage.narrow):
        assert last.weight.grad.abs().sum() > 0


def test_a_new_stage_samples_the_plain_window_around_its_field(freeze):
    """A reference moved by whole cells, and a field that says so, change nothing."""
    stage = make(stir=0)
    with torch.no_grad():
        stage.leave.weight.normal_(std=0.3)
    stage = freeze(stage)
    query, (reference, *_), _ = inputs(1, size=(8, 9))
    still = stage(query, [reference], [torch.zeros(2, 2, 8, 9)]).query
    motion = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(2, 2, 8, 9) * CELL
    moved = stage(query, [reference.roll((1, 2), (2, 3))], [motion]).query
    inner = (..., slice(2, 5), slice(2, 5))  # clear of the border
    assert torch.equal(moved[inner], still[inner])
    assert not torch.equal(
        moved, stage(query, [reference.roll((1, 2), (2, 3))], [motion * 0]).query
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (7, 4)])
def test_frozen_results_are_whole_numbers_in_range(size, freeze):
    query, references, fields = inputs(3, size=size)
    aligned = freeze(make(stir=0.5))(query * 5, references, [10 * f for f in fields])
    for tensor in (aligned.query, *aligned.fields):
        assert torch.equal(tensor, tensor.round())
    assert aligned.query.shape == query.shape
    assert aligned.query.min() >= LOW
    assert aligned.query.max() <= HIGH
    for refined in aligned.fields:
        assert refined.shape == (2, 2, *size)
        assert refined.abs().max() <= CONFIG.field_limit


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nothing_about_the_computation_changes_the_result(count, freeze):
    stage = freeze(make(stir=0.3))
    query, references, fields = inputs(count, size=(15, 26))
    expected = stage(query, references, fields)

    def changed(change):
        return stage(change(query), [change(r) for r in references], [change(f) for f in fields])

    assert equal(changed(torch.Tensor.double), expected)
    assert equal(changed(lambda t: t.contiguous(memory_format=torch.channels_last)), expected)
    second = changed(lambda t: t[1:])
    assert torch.equal(second.query, expected.query[1:])
    threads = torch.get_num_threads()
    try:
        for threads_now in (1, 2):
            torch.set_num_threads(threads_now)
            assert equal(stage(query, references, fields), expected)
    finally:
        torch.set_num_threads(threads)


def test_extreme_activations_stay_exact(freeze):
    stage = make(stir=0)
    with torch.no_grad():
        for layer in (stage.enter, stage.project, stage.leave):
            layer.weight.normal_(std=3)
    stage = freeze(stage)
    query, references, fields = inputs(3)
    query, *references = (torch.where(t < 0, float(LOW), float(HIGH)) for t in (query, *references))
    double = stage(query.double(), [r.double() for r in references], [f.double() for f in fields])
    assert equal(stage(query, references, fields), double)


@pytest.mark.parametrize("count", [1, 3])
def test_fake_arithmetic_gives_what_the_frozen_stage_will(count, freeze):
    stage = make()
    expected = freeze(stage)(*inputs(count))
    set_arithmetic(stage, Arithmetic.FAKE)
    assert equal(stage(*inputs(count)), expected)


def test_freezing_changes_results_by_little(freeze):
    stage = make(stir=0.03)
    found, expected = freeze(stage)(*inputs()), stage(*inputs())
    update = expected.query - inputs()[0]
    assert (found.query - expected.query).abs().mean() < 0.05 * update.abs().mean() + 1
    for a, b in zip(found.fields, expected.fields, strict=True):
        assert (a - b).abs().max() < 2


@pytest.mark.parametrize("arithmetic", [Arithmetic.FLOAT, Arithmetic.FAKE])
def test_training_reaches_every_parameter(arithmetic):
    stage = make()
    set_arithmetic(stage, arithmetic)
    query, references, fields = inputs(3)
    for tensor in (query, *references, *fields):
        tensor.requires_grad_()
    stage(query, references, fields).query.square().sum().backward()
    silent = [n for n, p in stage.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(t.grad.any() for t in (query, *references, *fields))


def test_refined_fields_pass_gradients_on_to_the_offsets():
    stage = make()
    sum(f.sum() for f in stage(*inputs()).fields).backward()
    assert stage.offsets.leave.weight.grad.any()


def test_fields_are_refined_by_the_mean_residual_and_bounded(freeze):
    stage = make(stir=0)
    pairs = torch.zeros(2, CONFIG.heads, len(WINDOW))
    pairs[0] = 1.0  # 64 units to the right
    pairs[1, 0] = -0.25  # 16 units up, one head of two
    with torch.no_grad():
        stage.offsets.leave.bias.copy_(pairs.flatten())
    query, references, fields = inputs()
    move = torch.tensor([64.0, -8.0]).view(1, 2, 1, 1)
    for found, field in zip(freeze(stage)(query, references, fields).fields, fields, strict=True):
        assert torch.equal(found, field + move)
    with torch.no_grad():
        stage.offsets.leave.bias.mul_(1000)
    found = freeze(stage)(query, references, [f * 0 + 900 for f in fields]).fields[0]
    assert found[:, 0].unique().tolist() == [CONFIG.field_limit]
    assert found[:, 1].unique().tolist() == [900 - CONFIG.residual_limit / 2]


def test_a_reference_that_comes_twice_says_nothing_new(freeze):
    query, (reference, *_), (field, *_) = inputs(1)
    stage = freeze(make(stir=0.05))
    with torch.no_grad():
        stage.attend.position.copy_(stage.attend.position[:1].expand_as(stage.attend.position))
    once = stage(query, [reference], [field]).query
    twice = stage(query, [reference] * 2, [field] * 2).query
    assert (once - twice).abs().max() <= 4
    assert (once - query).abs().max() > 40


def test_number_of_references_and_fields_must_fit():
    stage = make()
    query, references, fields = inputs(3)
    for some, others in (([], []), (references, fields[:2]), (references * 2, fields * 2)):
        with pytest.raises(ShapeError, match="expected 1 to 3 of both"):
            stage(query, some, others)


def test_heads_must_divide_the_values_and_keep_their_sums_exact():
    with pytest.raises(ConfigError, match="64 value channels for 7 heads"):
        DeformableConfig(heads=7)
    with pytest.raises(ConfigError, match="64 value channels for 2 heads"):
        dataclasses.replace(DeformableConfig(), heads=2)
