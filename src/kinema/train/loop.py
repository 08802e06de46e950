"""The training loop: stages as data, any device, resumable at any step."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kinema.errors import ConfigError
from kinema.nn.exact import Arithmetic, set_arithmetic
from kinema.train.checkpoint import (
    Ema,
    RunState,
    load,
    load_parameters,
    restore_chance,
    save,
    save_parameters,
)
from kinema.train.data import CropSampler
from kinema.train.group import Group
from kinema.train.objectives import Outcome
from kinema.train.recipes import RECIPES
from kinema.train.rounding import round_average
from kinema.train.sources import build_bank, find_sources
from kinema.train.stages import Stage


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What the user decides about a run."""

    recipe: str  # a key of recipes.RECIPES
    data: tuple[Path, ...]  # folders of videos or of images
    run_dir: Path  # holds the checkpoint, last.pt
    resume: bool = False  # go on from the checkpoint
    start_from: Path | None = None  # parameters of another run to begin with
    budget_minutes: float = math.inf  # stop, with a checkpoint, after this much time
    scale: float = 1.0  # every stage takes this many times its steps
    batch: int = 1  # ... and this many times its batch
    seed: int = 0
    save_minutes: float = 3.0  # between checkpoints
    report_steps: int = 100  # between lines of progress


class _Clock:
    """Time spent: until the deadline, since the last checkpoint, since the last report."""

    def __init__(self, budget_minutes: float) -> None:
        self.saved = self.reported = time.monotonic()
        self.deadline = self.saved + 60 * budget_minutes

    def is_over(self) -> bool:
        return time.monotonic() >= self.deadline

    def unsaved_seconds(self) -> float:
        return time.monotonic() - self.saved

    def take_report_seconds(self) -> float:
        now = time.monotonic()
        seconds, self.reported = now - self.reported, now
        return seconds


class Trainer:
    """Runs the stages of a recipe."""

    def __init__(self, config: TrainConfig, report: Callable[[str], None] = print) -> None:
        """Get material and model ready, or the checkpoint where the run goes on.

        Args:
            config: what the user decides.
            report: takes lines of progress.

        Raises:
            ConfigError: unknown recipe; no material; a checkpoint that is in the way, or missing.
        """
        if config.recipe not in RECIPES:
            raise ConfigError(f"unknown recipe {config.recipe!r}; known: {', '.join(RECIPES)}")
        if config.batch < 1:
            raise ConfigError(f"batch factor {config.batch}; at least 1 is needed")
        self.config, self.recipe, self.report = config, RECIPES[config.recipe], report
        self.path = config.run_dir / "last.pt"
        self.group = Group.join()
        with self.group.first_on_machine():
            sources = find_sources(list(config.data))
            bank, clips = build_bank(sources, config.run_dir.parent / "bank")
        self.sampler = CropSampler(bank, clips, self.group.device)
        torch.manual_seed(config.seed)  # every process begins with the same parameters
        self.model = self.recipe.build().to(self.group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this pair
        self.random = np.random.default_rng(config.seed + self.group.rank)
        if not self.group.is_first:
            torch.manual_seed(config.seed + 1000 * self.group.rank)
        self.state = RunState()
        self._begin()

    def _begin(self) -> None:
        if self.config.resume:
            self._resume()
            return
        if self.path.exists():
            raise ConfigError(f"{self.path} exists; resume it, or choose another run folder")
        with torch.random.fork_rng():
            self.recipe.start(self.model, self.sampler)
        if self.config.start_from is not None:
            load_parameters(self.config.start_from, self.model)
        self.ema = Ema(self.model)
        self.optimizer = self._new_optimizer()

    def _resume(self) -> None:
        if not self.path.is_file():
            raise ConfigError(f"{self.path} does not exist: nothing to resume")
        content = load(self.path, self.group.device)
        self.state = RunState(**content["state"])
        self.model.load_state_dict(content["model"])
        self.ema = Ema(self.model)
        self.ema.values = content["ema"]
        self.optimizer = self._new_optimizer()
        self.optimizer.load_state_dict(content["optimizer"])
        if self.group.is_first:
            restore_chance(content, self.random)
        else:  # the checkpoint knows the chance of rank 0 only
            seed = [self.config.seed, self.group.rank, self.state.stage, self.state.step]
            self.random = np.random.default_rng(seed)
            torch.manual_seed(int(self.random.integers(2**62)))

    def _new_optimizer(self) -> torch.optim.Optimizer:
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 1e-4}, {"params": plain, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)

    def run(self) -> RunState:
        """Train until the recipe or the budget ends; leave a checkpoint."""
        clock = _Clock(self.config.budget_minutes)
        while self.state.stage < len(self.recipe.stages):
            if not self._run_stage(self.recipe.stages[self.state.stage], clock):
                break
            self.state.stage, self.state.step = self.state.stage + 1, 0
            if self.state.stage == len(self.recipe.stages):
                self._round(self.recipe.stages[-1])
        self._save(clock)
        return self.state

    def _round(self, stage: Stage) -> None:
        """Bring what is shipped onto its grids, if the last stage got used to them.

        The averages as they were stay beside it: they tell what exactness costs.
        """
        if stage.arithmetic is Arithmetic.FAKE:
            if self.group.is_first:
                self.config.run_dir.mkdir(parents=True, exist_ok=True)
                save_parameters(self.path.with_name("unrounded.safetensors"), self.ema)
            round_average(self.model, self.ema, lambda m: self._look(m, stage))

    def _look(self, model: nn.Module, stage: Stage) -> Outcome:
        count = stage.batch * self.config.batch
        batch = self.sampler.draw(self.random, count, stage.crop, stage.num_frames)
        return self.recipe.objective(model, batch, stage)

    def _run_stage(self, stage: Stage, clock: _Clock) -> bool:
        """Run what is left of a stage; False if the budget ends before."""
        steps = max(1, round(stage.steps * self.config.scale))
        set_arithmetic(self.model, stage.arithmetic)
        _freeze(self.model, stage.frozen)
        while self.state.step < steps:
            outcome = self._step(stage, steps)
            if self.state.step % self.config.report_steps == 0:
                self._report(stage, steps, outcome, clock.take_report_seconds())
            if self.group.agree(wish=clock.is_over()):
                return False
            if clock.unsaved_seconds() > 60 * self.config.save_minutes:
                self._save(clock)
        return True

    def _step(self, stage: Stage, steps: int) -> Outcome:
        rate = learning_rate(stage, self.state.step, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        autocast = stage.autocast and self.group.has_bfloat16
        with torch.autocast(self.group.device.type, torch.bfloat16, enabled=autocast):
            outcome = self._look(self.model, stage)
        self.optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()  # type: ignore[no-untyped-call]  # torch
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        self.group.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, stage.clip_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
            decay = min(stage.ema_decay, (self.state.step + 10) / (self.state.step + 100))
            self.ema.update(self.model, decay if self.state.stage == 0 else stage.ema_decay)
        else:
            self.state.skipped += 1
        self.state.step += 1
        return outcome

    def _report(self, stage: Stage, steps: int, outcome: Outcome, seconds: float) -> None:
        speed = self.config.report_steps / max(seconds, 1e-9)
        row = {
            "stage": float(self.state.stage),
            "step": float(self.state.step),
            "loss": float(outcome.loss.detach()),
            "bpp": float(outcome.bpp.detach()),
            "psnr_y": float(outcome.psnr_y.detach()),
        }
        self.state.curve.append(row)
        left = (steps - self.state.step) / speed / 60
        if not self.group.is_first:
            return
        self.report(
            f"{stage.name} {self.state.step}/{steps}: loss {row['loss']:.4f}, "
            f"{row['bpp']:.3f} bit/pixel, Y {row['psnr_y']:.2f} dB, "
            f"{speed:.2f} steps/s, {left:.0f} min left, {self.state.skipped} skipped"
        )

    def _save(self, clock: _Clock) -> None:
        self.state.seconds += clock.unsaved_seconds()
        clock.saved = time.monotonic()
        if self.group.is_first:
            self.config.run_dir.mkdir(parents=True, exist_ok=True)
            save(self.path, self.state, self.model, self.ema, self.optimizer, self.random)
            save_parameters(self.path.with_name("parameters.safetensors"), self.ema)


def learning_rate(stage: Stage, step: int, steps: int) -> float:
    """Learning rate of a step: linear warm-up, then a cosine from `lr` to `final_lr`.

    Args:
        stage: whose rates and warm-up count.
        step: 0 to steps - 1.
        steps: length of the stage.
    """
    if step < stage.warmup:
        return stage.lr * (step + 1) / stage.warmup
    part = (step - stage.warmup) / max(1, steps - stage.warmup)
    return stage.final_lr + (stage.lr - stage.final_lr) * 0.5 * (1 + math.cos(math.pi * part))


def _freeze(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Freeze the parameters with these prefixes, and no others."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))
