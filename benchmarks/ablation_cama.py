"""What the parts of CAMA are worth: its ladder in miniature, with equal budgets.

Usage: python benchmarks/ablation_cama.py --data FOLDER --out FOLDER [--scale 1] [--base-scale 1]

The widths are those of `tiny_config`. Steps of the ladder add to those before: depthwise blocks,
one stage of the warp, the second, hierarchical weights (with adaptors by place, and crf by place),
weights that follow the references, and downsampling for motion, at test time alone. There are two
beginnings, trained alike: with residual blocks and with depthwise ones, both with plain warps. What
a step adds begins as nothing. Then each is trained alike: same steps, material and seed; the one
that adds nothing too. At scale 1 all of it takes about an hour of one core. BD-rate is against the
base, over all clips kept aside and over the half of them in which most moves. What is in --out
already is not done again, so that a run can be interrupted.
"""

import argparse
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from miniature import (
    Material,
    Row,
    build,
    gather,
    once,
    once_scored,
    score,
    show,
    stage,
    stem_of,
    train,
)
from torch import Tensor, nn

from kinema.models.cama_configs import (
    CamaPaperConfig,
    tiny_config,
    with_blocks,
    with_scales,
    with_warp,
)
from kinema.models.cama_paper import CamaPaperCodec
from kinema.nn.residual import BlockKind
from kinema.parts.feature_warping import WarpKind
from kinema.parts.motion_scales import Way
from kinema.train.cascade import cascade_objective
from kinema.train.stages import Stage
from kinema.train.weighting import FrameWeights, Hierarchical, QualityAware, Uniform

SCORED = (8, 128, 9)  # clips, size, frames


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the ladder, with all those before it."""

    blocks: BlockKind = "depthwise"
    warp: WarpKind = "both"
    weights: FrameWeights = field(default_factory=Uniform)
    way: Way = "full"
    trained: str | None = None  # the step whose parameters it takes as they are

    def config(self) -> CamaPaperConfig:
        """Widths and switches."""
        config = with_warp(with_blocks(tiny_config(), self.blocks), self.warp)
        adaptors = 1 if self.weights == Uniform() else 3
        config = replace(config, warping=replace(config.warping, adaptors=adaptors))
        return with_scales(config, self.way)


LADDER = {
    "base": Step(blocks="residual", warp="warped"),
    "+ depthwise blocks": Step(warp="warped"),
    "+ one-stage warp": Step(warp="coarse"),
    "+ second stage": Step(),
    "+ hierarchical weights": Step(weights=Hierarchical()),
    "+ quality-aware weights": Step(weights=QualityAware()),
    "+ downsampling": Step(weights=QualityAware(), way="rule", trained="+ quality-aware weights"),
    "downsampling by trial": Step(
        weights=QualityAware(), way="trial", trained="+ quality-aware weights"
    ),
}
BEGINNING = (
    stage("flow", 400, 1e-3, num_frames=2, focus="flow"),
    stage("motion", 200, 1e-3, num_frames=2, focus="motion"),
    stage("all", 500, 1e-3),
)
BUDGET = (stage("cascade", 200, 5e-4, batch=2, num_frames=6, window=6),)


def begin(blocks: BlockKind, material: Material, scale: float) -> nn.Module:
    """Train what the steps with these blocks begin with."""
    print(f"beginning, {blocks} blocks", flush=True)
    config = with_blocks(tiny_config(), blocks)
    network = build(partial(CamaPaperCodec, config), None)
    train(network, cascade_objective, material.sampler, BEGINNING, scale)
    return network


def with_adaptors(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Let the adaptors of all places begin as the one there is."""
    more = {
        name.replace("adapt.0.", f"adapt.{index}."): value
        for name, value in values.items()
        if "adapt.0." in name
        for index in (1, 2)
    }
    return more | values


def climb(name: str, start: dict[str, Tensor], material: Material, scale: float) -> CamaPaperCodec:
    """Train a step of the ladder from its beginning."""
    print(name, flush=True)
    step = LADDER[name]
    network = build(partial(CamaPaperCodec, step.config()), with_adaptors(start))
    stages: tuple[Stage, ...] = tuple(replace(s, weights=step.weights) for s in BUDGET)
    train(network, cascade_objective, material.sampler, stages, scale)
    assert isinstance(network, CamaPaperCodec)
    return network


def judge(name: str, values: dict[str, Tensor], material: Material) -> dict[str, list[Row]]:
    """Score a step on all clips and on the fast ones."""
    network = build(partial(CamaPaperCodec, LADDER[name].config()), values)
    assert isinstance(network, CamaPaperCodec)
    subsets = {"all": material.frames, "fast": material.fast()}
    weights = LADDER[name].weights
    return {subset: score(network, frames, weights) for subset, frames in subsets.items()}


def main() -> None:
    """Train and score what is not done yet; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0, help="of the steps of each variant")
    parser.add_argument("--base-scale", type=float, default=1.0, help="of those before them")
    parser.add_argument("--variants", nargs="+", choices=list(LADDER), default=list(LADDER))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    material = gather(options.data, options.out / "bank", SCORED)
    results: dict[str, dict[str, list[Row]]] = {"all": {}, "fast": {}}
    for name in options.variants:
        step, stem = LADDER[name], stem_of(options.out, name)
        start = once(
            options.out / f"begin-{step.blocks}.safetensors",
            partial(begin, step.blocks, material, options.base_scale),
        )
        source = step.trained or name
        values = once(
            stem_of(options.out, source).with_suffix(".safetensors"),
            partial(climb, source, start, material, options.scale),
        )
        found = once_scored(stem.with_suffix(".json"), partial(judge, name, values, material))
        assert isinstance(found, dict)
        for subset, rows in found.items():
            results[subset][name] = rows
        for subset, scores in results.items():
            show(f"CAMA, {subset} clips", scores, list(LADDER))


if __name__ == "__main__":
    main()
