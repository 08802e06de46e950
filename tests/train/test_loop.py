"""The loop: it learns, stops, resumes and survives; nothing of it depends on when."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kinema.errors import ConfigError
from kinema.nn.exact import Arithmetic
from kinema.train.loop import TrainConfig, Trainer, learning_rate
from kinema.train.objectives import Outcome, intra_objective
from kinema.train.rounding import NUM_LOOKS
from kinema.train.stages import Stage


def content_of(path):
    return torch.load(path, weights_only=True)


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_loss_falls_on_a_small_set(trainer, tiny_recipe):
    stage = Stage(
        name="short", steps=60, batch=4, crop=64, lr=3e-3, final_lr=1e-3, warmup=5, autocast=False
    )
    tiny_recipe((stage,))
    run = trainer()
    batch = run.sampler.draw(np.random.default_rng(1), 16, 64)

    def judge(model):
        torch.manual_seed(1)
        with torch.no_grad():
            return float(intra_objective(model, batch, stage).loss)

    before = judge(run.model)
    run.run()
    assert judge(run.model) < 0.9 * before


def test_resuming_equals_no_interruption_bit_for_bit(trainer):
    trainer("whole").run()
    piecewise = trainer("pieces", budget_minutes=0)
    piecewise.run()
    assert (piecewise.state.stage, piecewise.state.step) == (0, 1)
    for _ in range(5):
        trainer("pieces", budget_minutes=0, resume=True).run()
    state = trainer("pieces", resume=True).run()
    assert state.stage == 2
    whole, pieces = (content_of(trainer(run, resume=True).path) for run in ("whole", "pieces"))
    for content in (whole, pieces):
        content["state"].pop("seconds")
    assert_same(whole, pieces)


def test_same_seed_same_run_and_another_seed_another(trainer):
    parameters = []
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        one = trainer(run, seed=seed)
        one.run()
        parameters.append(one.model.state_dict())
    assert_same(parameters[0], parameters[1])
    name = "synthesis.head.weight"
    assert not torch.equal(parameters[0][name], parameters[2][name])


def test_budget_stops_with_a_checkpoint(trainer):
    run = trainer(budget_minutes=0)
    state = run.run()
    assert (state.stage, state.step) == (0, 1)
    content = content_of(run.path)
    assert content["state"]["step"] == 1
    assert content["state"]["seconds"] > 0
    assert not run.path.with_suffix(".partial").exists()


def test_checkpoints_are_saved_on_the_way(trainer, monkeypatch):
    run, saved = trainer(save_minutes=0), []
    original = run._save

    def spy(clock):
        original(clock)
        saved.append((run.state.stage, run.state.step))

    monkeypatch.setattr(run, "_save", spy)
    run.run()
    assert saved == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2), (2, 0)]


def test_finished_run_has_nothing_left_to_do(trainer):
    first = trainer()
    first.run()
    before = content_of(first.path)
    again = trainer(resume=True)
    again.run()
    assert_same(before["model"], content_of(again.path)["model"])


def test_the_end_of_a_run_keeps_averages_rounded_and_not(trainer):
    run = trainer()
    run.run()
    found = [
        load_file(run.path.with_name(f"{name}.safetensors")) for name in ("unrounded", "parameters")
    ]
    assert found[0].keys() == found[1].keys()
    differences = [float((found[1][name] - v).abs().max()) for name, v in found[0].items()]
    assert 0 < max(differences) < 0.1


def test_batches_can_be_larger(trainer, tiny_recipe):
    sizes = []

    def objective(model, batch, stage):
        sizes.append(len(batch.y))
        return intra_objective(model, batch, stage)

    tiny_recipe(objective=objective)
    trainer(batch=3).run()
    assert sizes == [6] * 4 + [3] * (2 + NUM_LOOKS)
    with pytest.raises(ConfigError, match="batch factor 0"):
        trainer("other", batch=0)


def test_stages_can_be_scaled(trainer):
    run, steps = trainer(scale=0.5), []
    original = run._step
    run._step = lambda stage, count: (steps.append((stage.name, count)), original(stage, count))[1]
    run.run()
    assert steps == [("first", 2)] * 2 + [("second", 1)]


def test_stages_set_the_arithmetic(trainer, tiny_recipe):
    seen = []

    def objective(model, batch, stage):
        seen.append(model.synthesis.up.arithmetic)
        return intra_objective(model, batch, stage)

    tiny_recipe(objective=objective)
    trainer().run()
    assert seen == [Arithmetic.FLOAT] * 4 + [Arithmetic.FAKE] * (2 + NUM_LOOKS)


def test_autocast_needs_the_stage_and_the_processor(trainer, tiny_recipe, monkeypatch):
    seen = []

    def objective(model, batch, stage):
        seen.append(torch.is_autocast_enabled("cpu"))
        return intra_objective(model, batch, stage)

    stages = [
        Stage(name=str(on), steps=1, batch=1, crop=64, lr=1e-3, final_lr=1e-3, autocast=on)
        for on in (False, True)
    ]
    tiny_recipe(tuple(stages), objective)
    for able in (False, True):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"amx_bf16": able})
        trainer(f"able {able}").run()
    assert seen == [False, False, False, True]


def test_frozen_prefixes_stay_and_thaw(trainer, tiny_recipe):
    stages = tiny_recipe().stages
    frozen = ("synthesis.", "latent.spatial.")
    tiny_recipe((replace(stages[0], frozen=frozen), stages[1]))
    run = trainer(budget_minutes=0)
    before = copy.deepcopy(run.model.state_dict())
    run.run()
    after = run.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"latent.steps.table.knots", "analysis.leave.weight"} <= moved
    assert not [name for name in moved if name.startswith(frozen)]
    trainer(resume=True).run()
    final = content_of(run.path)["model"]
    assert not torch.equal(final["synthesis.head.bias"], before["synthesis.head.bias"])


def test_step_that_is_not_finite_is_skipped(trainer, tiny_recipe):
    calls = []

    def objective(model, batch, stage):
        outcome = intra_objective(model, batch, stage)
        calls.append(copy.deepcopy(model.state_dict()))
        broken = torch.nan if len(calls) == 3 else 1.0
        return Outcome(outcome.loss * broken, outcome.bpp, outcome.psnr_y)

    tiny_recipe(objective=objective)
    run = trainer()
    assert run.run().skipped == 1
    assert_same(calls[2], calls[3])
    knots = [call["latent.steps.table.knots"] for call in calls]
    assert not torch.equal(knots[1], knots[2])
    assert all(p.isfinite().all() for p in run.model.parameters())
    assert all(value.isfinite().all() for value in run.ema.values.values())


def test_average_follows_the_parameters(trainer):
    run = trainer()
    start = run.model.synthesis.up.weight.detach().clone()
    run.run()
    end, average = run.model.synthesis.up.weight, run.ema.values["synthesis.up.weight"]
    way = (end - start).detach()
    part = ((average - start) * way).sum() / way.square().sum()
    assert 0.3 < part < 1.0


def test_progress_is_reported(trainer):
    lines = []
    run = trainer(report=lines.append, report_steps=2)
    run.run()
    assert [line.split(":")[0] for line in lines] == ["first 2/4", "first 4/4", "second 2/2"]
    assert "bit/pixel" in lines[0]
    assert [row["step"] for row in run.state.curve] == [2, 4, 2]


def test_run_can_start_from_the_average_of_another(trainer):
    first = trainer("first")
    first.run()
    parameters = first.path.with_name("parameters.safetensors")
    second = trainer("second", start_from=parameters, seed=5)
    for name, parameter in second.model.named_parameters():
        average = first.ema.values[name]
        assert torch.allclose(parameter, average, rtol=1e-3, atol=1e-6), name
    assert (second.state.stage, second.state.step) == (0, 0)
    with pytest.raises(ConfigError, match="does not exist: no parameters to start from"):
        trainer("third", start_from=parameters.with_name("none"))


def test_mistakes_are_named(trainer, material, tmp_path):
    with pytest.raises(ConfigError, match="unknown recipe 'none'; known: intra-small"):
        Trainer(TrainConfig(recipe="none", data=(material,), run_dir=tmp_path))
    with pytest.raises(ConfigError, match="nothing to resume"):
        trainer(resume=True)
    trainer(budget_minutes=0).run()
    with pytest.raises(ConfigError, match="exists; resume it"):
        trainer()


def test_learning_rate_warms_up_and_follows_a_cosine():
    stage = Stage(name="any", steps=110, batch=1, crop=16, lr=1.0, final_lr=0.2, warmup=10)
    rates = [learning_rate(stage, step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.6)
    assert rates[109] == pytest.approx(0.2, abs=1e-3)
    assert all(a >= b for a, b in pairwise(rates[10:]))
