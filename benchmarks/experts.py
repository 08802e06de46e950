"""QCMoE: quantisation steps by 1, 2, 4 and 8 experts, with equal budgets.

Usage: python benchmarks/experts.py --data FOLDER --out FOLDER [--steps 200] CLIP...

One expert is one step for each channel of a frame, the same at every position: what ships. With
more, a gate that looks at what the hyper-prior has decoded mixes experts position by position.
All begin as the shipped intra codec, whose transforms stay as they are; experts begin spread
around its steps, evenly, so that short training tells them apart (`--spread`, octaves either way).
Steps, gate, hyper-prior and spatial prior are then trained by rate and distortion with the same
number of steps, material, seed and learning rates; one expert likewise. More than one expert also
minimise the load-balance term.

Scores: the first frame of each CLIP, estimated bits of symbols chosen by rate and distortion, PSNR
6:1:1. BD-rate is the mean of the clips' against one expert trained alike. Use of the experts is
that at crf 30: their mean shares, the load-balance term (1: all alike, E: one does everything),
how far steps differ between positions (standard deviation of octaves, mean of channels). Monotone:
pairs of neighbouring crf, 24 to 44 by 2, at which bits or PSNR of the first clip's first frame
rise with crf; and steps that fall at the same features. What is in --out already is not done again.
"""

import argparse
import json
import math
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from kinema.codec.pictures import latent_size, to_tensor
from kinema.errors import ConfigError
from kinema.eval.bd_rate import RdCurve, compare_curves
from kinema.eval.reports import format_table
from kinema.models.intra import QUICK_END, IntraCodec, IntraConfig, build_small
from kinema.models.registry import WEIGHTS
from kinema.parts.channels import Estimate
from kinema.parts.experts import BALANCE, OCTAVES_PER_NAT, QualityExperts, balance_loss
from kinema.parts.planes import CHROMA_WEIGHT, LUMA_WEIGHT
from kinema.parts.priors import PriorConfig
from kinema.parts.quality import MAX_CRF, rd_lambda
from kinema.train.alignment import pictures
from kinema.train.checkpoint import load_parameters
from kinema.train.data import CropSampler
from kinema.train.loop import learning_rate
from kinema.train.losses import balance, plane_mse, psnr
from kinema.train.sources import build_bank, find_sources
from kinema.train.stages import Stage
from kinema.video.frame import Frame
from kinema.video.reading import open_video

NUMBERS = (1, 2, 4, 8)
CRFS = (22.0, 31.0, 40.0, 49.0)
MONOTONE = [float(crf) for crf in range(24, 45, 2)]
USED_AT = 30.0
FASTER = 20.0  # learning rate of steps and gate, in those of the priors
STAGE = Stage(name="experts", steps=1, batch=2, crop=128, lr=1e-4, final_lr=1e-5, warmup=20)


def build(num_experts: int, spread: float) -> IntraCodec:
    """The shipped codec, trainable, with its steps in the hands of experts."""
    torch.manual_seed(0)
    network = build_small()
    load_parameters(WEIGHTS / "intra-small.safetensors", network)
    if num_experts > 1:
        config = IntraConfig(prior=PriorConfig(num_experts=num_experts))
        steps = network.latent.steps.table.knots.detach()
        experts = QualityExperts(steps, config.prior.prior_channels, num_experts)
        offsets = torch.linspace(-spread, spread, num_experts)
        with torch.no_grad():
            knots = experts.table.knots.view(len(steps), num_experts, -1)
            knots += offsets[None, :, None] / OCTAVES_PER_NAT
        network.latent.steps = experts
    network.requires_grad_(requires_grad=False)
    network.latent.requires_grad_(requires_grad=True)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this


def train(network: IntraCodec, sampler: CropSampler, steps: int) -> None:
    """Rate and distortion of the frozen transforms, with symbols chosen as they will be."""
    random, stage = np.random.default_rng(0), replace(STAGE, steps=steps)
    torch.manual_seed(0)
    fast = list(network.latent.steps.parameters())
    slow = [*network.latent.hyper.parameters(), *network.latent.spatial.parameters()]
    groups = [{"params": fast, "factor": FASTER}, {"params": slow, "factor": 1.0}]
    optimizer = torch.optim.AdamW(groups, lr=stage.lr, betas=(0.9, 0.98), weight_decay=0.0)
    start = time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(stage, step, steps)
        (x,) = pictures(sampler.draw(random, stage.batch, stage.crop, 1))
        crf = torch.from_numpy(random.uniform(0, MAX_CRF, len(x))).float()
        with torch.autocast("cpu", torch.bfloat16):
            loss, uneven = objective(network, x, crf)
        optimizer.zero_grad(set_to_none=True)
        (loss + BALANCE * uneven).backward()
        if torch.isfinite(torch.nn.utils.clip_grad_norm_([*fast, *slow], stage.clip_norm)):
            optimizer.step()
        if step % 20 == 19 or step == steps - 1:
            passed = time.process_time() - start
            print(
                f"  {step + 1}/{steps}: loss {float(loss.detach()):.4f}, {passed:.0f} s", flush=True
            )


def objective(network: IntraCodec, x: Tensor, crf: Tensor) -> tuple[Tensor, Tensor]:
    """Cost of pictures, and how unevenly experts are used."""
    with torch.no_grad():
        latent = network.analyse(x, crf)
    channel = Estimate(noise=True, decide=1.0)
    coded = network.latent.code(latent, crf, (x.shape[2] // 2, x.shape[3] // 2), channel)
    y, u, v = plane_mse(x, network.synthesise(coded, crf))
    rate = channel.bits() / (x.shape[2] * x.shape[3] * 64)
    cost = rate + rd_lambda(crf) * (LUMA_WEIGHT * y + CHROMA_WEIGHT * (u + v))
    uneven = balance_loss(coded.shares) if coded.shares.shape[1] > 1 else torch.zeros(())
    return (cost * balance(crf)).mean(), uneven


@torch.no_grad()
def code(network: IntraCodec, frame: Frame, crf: float) -> tuple[float, float]:
    """Bits of a frame per luma sample, and its PSNR 6:1:1 in dB."""
    height, width = frame.y.shape
    x, quality = to_tensor([frame], torch.device("cpu")), torch.tensor([crf])
    channel = Estimate(noise=False, decide=1.0)
    coded = network.code_frame(x, quality, latent_size(width, height), channel)
    y, u, v = (float(psnr(mse)) for mse in plane_mse(x, coded.x_hat))
    return float(channel.bits()) / (height * width), (6 * y + u + v) / 8


@torch.no_grad()
def use(network: IntraCodec, frames: list[Frame]) -> dict[str, object]:
    """How experts share the work."""
    shares, spreads, falls, uneven = [], [], 0, []
    quality = torch.tensor([USED_AT])
    for frame in frames:
        x, size = to_tensor([frame], torch.device("cpu")), latent_size(*frame.y.shape[::-1])
        latent = network.analyse(x, quality, feedback_end=QUICK_END)
        coded = network.latent.code(latent, quality, size, Estimate(noise=False, decide=1.0))
        shares.append(coded.shares.mean((0, 2, 3)))
        uneven.append(float(balance_loss(coded.shares)))
        spreads.append(float(torch.log2(coded.steps).flatten(2).std(2).mean()))
        features = network.latent.hyper.synthesis(coded.z_hat, quality)
        maps = [network.latent.steps(features, torch.tensor([crf])).steps for crf in MONOTONE]
        falls += sum(int((b < a * (1 - 1e-6)).sum()) for a, b in pairwise(maps))
    mean = torch.stack(shares).mean(0)
    return {
        "shares": [round(float(share), 3) for share in mean],
        "balance": float(np.mean(uneven)),
        "spread": float(np.mean(spreads)),
        "falls": falls,
    }


def score(network: IntraCodec, clips: dict[str, list[Frame]]) -> dict[str, object]:
    """Curves of clips, use of experts, and whether crf is monotone."""
    curves = {}
    for name, frames in clips.items():
        points = [[code(network, frame, crf) for frame in frames] for crf in CRFS]
        curves[name] = [np.mean(point, 0).tolist() for point in points]
    first = [next(iter(frames)) for frames in clips.values()]
    walks = [[code(network, frame, crf) for crf in MONOTONE] for frame in first[:1]]
    rises = sum(b[0] > a[0] or b[1] > a[1] for walk in walks for a, b in pairwise(walk))
    return {"curves": curves, "rises": rises, **use(network, first)}


def bd_rates(result: dict, other: dict) -> dict[str, float]:
    """BD-rate of each clip in percent; those without a common quality are left out."""
    found = {}
    for clip, points in result["curves"].items():
        try:
            curves = [
                RdCurve.from_points([tuple(p) for p in ps])
                for ps in (other["curves"][clip], points)
            ]
        except ConfigError:
            continue
        percent = compare_curves(*curves).bd_rate_percent
        if percent is not None:
            found[clip] = percent
    return found


def show(results: dict[str, dict]) -> None:
    """Print what is known so far."""
    clips = list(next(iter(results.values()))["curves"])
    heads = [
        "mean",
        *clips,
        "shares of experts",
        "load balance",
        "spread",
        "rises",
        "steps that fall",
    ]
    rows = [["experts", *heads]]
    for name, result in results.items():
        rates = bd_rates(result, results["1"]) if "1" in results else {}
        mean = f"{np.mean(list(rates.values())):+.2f} %" if len(rates) == len(clips) else "-"
        own = [f"{rates.get(clip, math.nan):+.2f} %" for clip in clips]
        shares = " ".join(f"{share:.2f}" for share in result["shares"])
        numbers = [f"{result['balance']:.2f}", f"{result['spread']:.3f}"]
        rows.append(
            [name, mean, *own, shares, *numbers, str(result["rises"]), str(result["falls"])]
        )
    print(format_table(rows), flush=True)


def main() -> None:
    """Train and score what is not done yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--spread", type=float, default=0.2)
    parser.add_argument("--experts", type=int, nargs="+", default=list(NUMBERS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    bank, sources = build_bank(find_sources(options.data), options.out / "bank")
    sampler = CropSampler(bank, sources, torch.device("cpu"))
    clips = {}
    for path in options.clips:
        with open_video(str(path), num_frames=1, with_audio=False) as video:
            clips[path.stem] = [item for item in video if isinstance(item, Frame)]
    results: dict[str, dict] = {}
    for name in ("shipped", *map(str, options.experts)):
        path = options.out / f"{name}.json"
        if not path.exists():
            print(name, flush=True)
            network = build(1 if name == "shipped" else int(name), options.spread)
            if name != "shipped":
                train(network, sampler, options.steps)
                values = {k: v.contiguous() for k, v in network.latent.state_dict().items()}
                save_file(values, path.with_suffix(".safetensors"))
            path.write_text(json.dumps(score(network, clips)))
        results[name] = json.loads(path.read_text())
        show(results)


if __name__ == "__main__":
    main()
