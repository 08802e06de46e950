"""What ablations in miniature share: material, short training on one core, scores, a table.

Every HELD_OUT-th source is kept aside; its crops, P frames behind an I frame, give estimated rates
at the published lambdas. What is in the folder of results already is not done again.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.eval.bd_rate import RdCurve, compare_curves
from kinema.models.frames import Reference, VideoModel
from kinema.parts.channels import Estimate
from kinema.parts.motion_search import estimate_field
from kinema.parts.planes import unpack_planes
from kinema.parts.quality import rd_lambda, shift_crf
from kinema.train.alignment import pictures
from kinema.train.data import Batch, CropSampler
from kinema.train.loop import learning_rate
from kinema.train.losses import plane_error, plane_mse, psnr
from kinema.train.objectives import Outcome
from kinema.train.sources import build_bank, find_sources
from kinema.train.stages import Stage
from kinema.train.two_stage import MSE_LAGRANGIANS, crf_of, start_two_stage
from kinema.train.weighting import FrameWeights, Uniform

HELD_OUT = 12  # every how manieth source is for scores alone
Row = dict[str, float]
Objective = Callable[[nn.Module, Batch, Stage], Outcome]


@dataclass(frozen=True)
class Material:
    """Crops to train with; pictures to score with, (B, 96, S/8, S/8) for each time."""

    sampler: CropSampler
    frames: list[Tensor]

    def fast(self) -> list[Tensor]:
        """The half of the scored clips in which most moves."""
        first, second = (unpack_planes(x)[0] for x in self.frames[:2])
        fields = estimate_field(second, first, None, torch.full((len(first),), 30.0))
        lengths = fields.square().sum(1).sqrt().mean((1, 2))
        order = lengths.argsort(descending=True)[: max(1, len(lengths) // 2)]
        return [x[order] for x in self.frames]


def gather(data: Sequence[Path], bank: Path, scored: tuple[int, int, int]) -> Material:
    """Find material; `scored` tells how many clips to score, their size and their frames."""
    sources, device = find_sources(list(data)), torch.device("cpu")
    used = [source for i, source in enumerate(sources) if i % HELD_OUT]
    sampler = CropSampler(*build_bank(used, bank), device)
    held = CropSampler(*build_bank(sources[::HELD_OUT], bank), device)
    return Material(sampler, pictures(held.draw(np.random.default_rng(1), *scored)))


def stage(name: str, steps: int, lr: float, **settings: object) -> Stage:
    """A stage on small crops; the learning rate falls to a tenth."""
    few = {"batch": 4, "crop": 64, "num_frames": 3, "warmup": 10, "final_lr": lr / 10}
    return Stage(name=name, steps=steps, lr=lr, **(few | settings))  # type: ignore[arg-type]  # fields of a stage


def build(make: Callable[[], nn.Module], start: dict[str, Tensor] | None) -> nn.Module:
    """Make a network; parameters that `start` names and that fit come from there."""
    torch.manual_seed(0)
    network = make()
    start_two_stage(network, None)  # type: ignore[arg-type]  # it draws nothing
    if start is not None:
        own = network.state_dict()
        fits = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
        network.load_state_dict(fits, strict=False)
    network.intra.requires_grad_(requires_grad=False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stubs lack this


def train(
    network: nn.Module,
    objective: Objective,
    sampler: CropSampler,
    stages: tuple[Stage, ...],
    scale: float,
) -> None:
    """Run stages, each with `scale` times its steps."""
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    for stage in stages:
        steps = max(1, round(stage.steps * scale))
        parameters = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=stage.lr, betas=(0.9, 0.98))
        start = time.process_time()
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = learning_rate(stage, step, steps)
            batch = sampler.draw(random, stage.batch, stage.crop, stage.num_frames)
            with torch.autocast("cpu", torch.bfloat16):
                outcome = objective(network, batch, stage)
            optimizer.zero_grad(set_to_none=True)
            outcome.loss.backward()  # type: ignore[no-untyped-call]  # torch
            if torch.isfinite(torch.nn.utils.clip_grad_norm_(parameters, 1.0)):
                optimizer.step()
            if step % 10 == 0 or step == steps - 1:
                seconds = time.process_time() - start
                print(
                    f"  {stage.name} {step + 1}/{steps}: loss {outcome.loss.item():.4f}, "
                    f"{outcome.bpp.item():.3f} bit/pixel, {outcome.psnr_y.item():.2f} dB, "
                    f"{seconds:.0f} s",
                    flush=True,
                )


@torch.no_grad()
def score(
    network: VideoModel, frames: list[Tensor], weights: FrameWeights | None = None
) -> list[Row]:
    """Rate, quality and cost of P frames at the published lambdas.

    Args:
        network: what to score.
        frames: one (B, 96, h, w) for each time.
        weights: by which frames of some places are coded better than others.
    """
    rows, layer = [], (weights or Uniform()).layer
    for lagrangian in MSE_LAGRANGIANS:
        crf = torch.full((len(frames[0]),), crf_of(lagrangian))
        size = (frames[0].shape[2] // 2, frames[0].shape[3] // 2)
        memory = network.code_frame(frames[0], crf, size, Estimate(noise=False)).memory
        rates, errors, luma = [], [], []
        for index, x in enumerate(frames[1:], start=1):
            channel, own = Estimate(noise=False), shift_crf(crf, layer(index))
            coded = network.code_frame(x, own, size, channel, (Reference(memory, -1),))
            memory = coded.memory
            planes = plane_mse(x, coded.x_hat)
            rates.append(channel.bits() / (x.shape[2] * x.shape[3] * 64))
            errors.append(plane_error(*planes))
            luma.append(psnr(planes[0]))
        bpp, error = torch.stack(rates).mean(), torch.stack(errors).mean()
        rows.append(
            {
                "lambda": lagrangian,
                "bpp": float(bpp),
                "psnr": float(psnr(torch.stack(errors)).mean()),
                "psnr_y": float(torch.stack(luma).mean()),
                "cost": float(bpp + rd_lambda(crf[:1]) * error),
            }
        )
    return rows


def show(title: str, results: dict[str, list[Row]], names: list[str]) -> None:
    """Print a table of what there is; everything is compared with the first name."""
    print(f"\n| {title} | BD-rate | cost | " + " | ".join(map(str, MSE_LAGRANGIANS)) + " |")
    print("|---" * (3 + len(MSE_LAGRANGIANS)) + "|")
    first = results.get(names[0])
    for name in names:
        if name not in results or first is None:
            continue
        rows = results[name]
        points = " | ".join(f"{r['bpp']:.4f}, {r['psnr']:.2f} dB" for r in rows)
        change = [math.log(a["cost"] / b["cost"]) for a, b in zip(rows, first, strict=True)]
        cost = 100 * (math.exp(sum(change) / len(change)) - 1)
        print(f"| {name} | {bd_rate(first, rows)} | {cost:+.1f} % | {points} |")


def bd_rate(first: list[Row], rows: list[Row]) -> str:
    """BD-rate of `rows` against `first`, or a dash."""
    try:
        curves = [RdCurve.from_points([(r["bpp"], r["psnr"]) for r in x]) for x in (first, rows)]
    except ConfigError:
        return "-"
    percent = compare_curves(*curves).bd_rate_percent
    return "-" if percent is None else f"{percent:+.1f} %"


def stem_of(folder: Path, name: str) -> Path:
    """Where what belongs to a variant lies, less its suffix."""
    return folder / name.replace("/", "_").replace(", ", "-").replace(" ", "-").replace("+", "and")


def keep(network: nn.Module, path: Path) -> None:
    """Save the parameters, without those of the intra codec."""
    values = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file({k: v for k, v in values.items() if not k.startswith("intra.")}, path)


def once(path: Path, work: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Parameters in `path`; if there are none yet, those of what `work` gives, kept there."""
    if not path.exists():
        keep(work(), path)
    return load_file(path)


def once_scored(path: Path, work: Callable[[], object]) -> object:
    """Scores in `path`; if there are none yet, what `work` gives, kept there."""
    if not path.exists():
        path.write_text(json.dumps(work()))
    return json.loads(path.read_text())
