"""What the parts of LSTVC are worth: its Tables IV and V in miniature, with equal budgets.

Usage: python benchmarks/ablation_lstvc.py --data FOLDER --out FOLDER [--scale 1] [--base-scale 1]

The widths are those of `tiny_config`. All variants begin as the same codec (multi-scale warping, no
temporal prior), trained first; what a variant adds begins as zero and changes nothing. Then each is
trained alike: same steps, material and seed; the variant that adds nothing too. At scale 1 a
variant takes about six minutes on one core, the beginning ten. Every twelfth source is kept aside;
its pictures (crops of 128x128, P frames behind an I frame) give estimated rates at four qualities.
BD-rate is against multi-scale warping without the prior (IV) and two scales without guidance (V).
What is in --out already is not done again, so that a run can be interrupted.
"""

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kinema.errors import ConfigError
from kinema.eval.bd_rate import RdCurve, compare_curves
from kinema.models.frames import Reference
from kinema.models.lstvc_configs import LstvcPaperConfig, tiny_config
from kinema.models.lstvc_paper import LstvcPaperCodec
from kinema.parts.channels import Estimate
from kinema.parts.guided_compensation import Kind
from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT
from kinema.parts.quality import rd_lambda
from kinema.train.alignment import pictures
from kinema.train.data import CropSampler
from kinema.train.loop import learning_rate
from kinema.train.losses import plane_mse, psnr
from kinema.train.sources import build_bank, find_sources
from kinema.train.stages import Stage
from kinema.train.two_stage import MSE_LAGRANGIANS, crf_of, start_two_stage, two_stage_objective

HELD_OUT = 12  # every how manieth source is for scores alone
SCORED_CLIPS, SCORED_SIZE, SCORED_FRAMES = 6, 128, 6
WARP: tuple[Kind, Kind, Kind] = ("warped", "warped", "warped")
PGMC: tuple[Kind, Kind, Kind] = ("guided", "guided", "guided")
CONTEXT, BOTH = ("entropy", "transforms"), ("entropy", "transforms", "motion")
VARIANTS: dict[str, tuple[tuple[Kind, Kind, Kind], tuple[str, ...]]] = {
    "warping": (WARP, ()),
    "PGMC": (PGMC, ()),
    "PGMC, T in context": (PGMC, CONTEXT),
    "PGMC, T in both": (PGMC, BOTH),
    "warping, T in context": (WARP, CONTEXT),
    "warping, T in both": (WARP, BOTH),
    "two scales": (("warped", "absent", "warped"), BOTH),
    "guided at 1/4": (("guided", "absent", "warped"), BOTH),
    "guided at 1/4, 1/2": (("guided", "guided", "warped"), BOTH),
}
TABLES = {
    "IV": [name for name in VARIANTS if "warping" in name or "PGMC" in name],
    "V": ["two scales", "guided at 1/4", "guided at 1/4, 1/2", "PGMC, T in both"],
}


def stage(name: str, steps: int, lr: float, **settings: object) -> Stage:
    """A stage on small crops; the learning rate falls to a tenth."""
    few = {"batch": 4, "crop": 64, "num_frames": 3, "warmup": 10, "final_lr": lr / 10}
    return Stage(name=name, steps=steps, lr=lr, **(few | settings))  # type: ignore[arg-type]  # fields of a stage


BEGINNING = (
    stage("flow", 600, 1e-3, num_frames=2, focus="flow"),
    stage("compensation", 200, 1e-3, focus="compensation"),
    stage("all", 800, 1e-3),
)
BUDGET = (stage("compensation", 100, 5e-4, focus="compensation"), stage("all", 380, 5e-4))


def build(config: LstvcPaperConfig, start: Path | None) -> LstvcPaperCodec:
    """Make a network; parameters that `start` names and that fit come from there."""
    torch.manual_seed(0)
    network = LstvcPaperCodec(config)
    start_two_stage(network, None)  # type: ignore[arg-type]  # it draws nothing
    if start is not None:
        values, own = load_file(start), network.state_dict()
        fits = {k: v for k, v in values.items() if k in own and own[k].shape == v.shape}
        network.load_state_dict(fits, strict=False)
    network.intra.requires_grad_(requires_grad=False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stubs lack this


def train(
    network: LstvcPaperCodec, sampler: CropSampler, stages: tuple[Stage, ...], scale: float
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
                outcome = two_stage_objective(network, batch, stage)
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
def score(network: LstvcPaperCodec, frames: list[Tensor]) -> list[dict[str, float]]:
    """Rate, quality and cost of P frames at the published lambdas."""
    rows = []
    for lagrangian in MSE_LAGRANGIANS:
        crf = torch.full((len(frames[0]),), crf_of(lagrangian))
        size = (frames[0].shape[2] // 2, frames[0].shape[3] // 2)
        memory = network.code_frame(frames[0], crf, size, Estimate(noise=False)).memory
        rates, errors, luma = [], [], []
        for x in frames[1:]:
            channel = Estimate(noise=False)
            coded = network.code_frame(x, crf, size, channel, (Reference(memory, -1),))
            memory = coded.memory
            y, u, v = plane_mse(x, coded.x_hat)
            rates.append(channel.bits() / (x.shape[2] * x.shape[3] * 64))
            errors.append(LUMA_WEIGHT * y + CHROMA_WEIGHT * (u + v))
            luma.append(psnr(y))
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


def show(results: dict[str, list[dict[str, float]]]) -> None:
    """Print both tables."""
    for table, names in TABLES.items():
        print(
            f"\n| Table {table} | BD-rate | cost | " + " | ".join(map(str, MSE_LAGRANGIANS)) + " |"
        )
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


def bd_rate(first: list[dict[str, float]], rows: list[dict[str, float]]) -> str:
    """BD-rate of `rows` against `first`, or a dash."""
    try:
        curves = [RdCurve.from_points([(r["bpp"], r["psnr"]) for r in x]) for x in (first, rows)]
    except ConfigError:
        return "-"
    percent = compare_curves(*curves).bd_rate_percent
    return "-" if percent is None else f"{percent:+.1f} %"


def main() -> None:
    """Train and score what is not done yet; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0, help="of the steps of each variant")
    parser.add_argument("--base-scale", type=float, default=1.0, help="of those before them")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    sources, device = find_sources(options.data), torch.device("cpu")
    used = [source for i, source in enumerate(sources) if i % HELD_OUT]
    sampler = CropSampler(*build_bank(used, options.out / "bank"), device)
    held = CropSampler(*build_bank(sources[::HELD_OUT], options.out / "bank"), device)
    frames = pictures(held.draw(np.random.default_rng(1), SCORED_CLIPS, SCORED_SIZE, SCORED_FRAMES))
    base = options.out / "base.safetensors"
    plain = tiny_config()
    configs = {
        name: replace(plain, prior_for=uses, compensation=replace(plain.compensation, kinds=kinds))
        for name, (kinds, uses) in VARIANTS.items()
    }
    if not base.exists():
        print("beginning", flush=True)
        network = build(configs["warping"], None)
        train(network, sampler, BEGINNING, options.base_scale)
        keep(network, base)
        print(json.dumps(score(network, frames)), flush=True)
    results = {}
    for name in options.variants:
        stem = options.out / name.replace("/", "_").replace(", ", "-").replace(" ", "-")
        if not stem.with_suffix(".json").exists():
            print(name, flush=True)
            network = build(configs[name], base)
            train(network, sampler, BUDGET, options.scale)
            keep(network, stem.with_suffix(".safetensors"))
            stem.with_suffix(".json").write_text(json.dumps(score(network, frames)))
        results[name] = json.loads(stem.with_suffix(".json").read_text())
        show(results)


def keep(network: LstvcPaperCodec, path: Path) -> None:
    """Save the parameters, without those of the intra codec."""
    values = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file({k: v for k, v in values.items() if not k.startswith("intra.")}, path)


if __name__ == "__main__":
    main()
