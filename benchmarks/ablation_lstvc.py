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
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from miniature import (
    Row,
    build,
    gather,
    keep,
    once,
    once_scored,
    score,
    show,
    stage,
    stem_of,
    train,
)
from torch import nn

from kinema.models.lstvc_configs import tiny_config
from kinema.models.lstvc_paper import LstvcPaperCodec
from kinema.parts.guided_compensation import Kind
from kinema.train.two_stage import two_stage_objective

SCORED = (6, 128, 6)  # clips, size, frames
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


BEGINNING = (
    stage("flow", 600, 1e-3, num_frames=2, focus="flow"),
    stage("compensation", 200, 1e-3, focus="compensation"),
    stage("all", 800, 1e-3),
)
BUDGET = (stage("compensation", 100, 5e-4, focus="compensation"), stage("all", 380, 5e-4))


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
    material = gather(options.data, options.out / "bank", SCORED)
    plain = tiny_config()
    configs = {
        name: replace(plain, prior_for=uses, compensation=replace(plain.compensation, kinds=kinds))
        for name, (kinds, uses) in VARIANTS.items()
    }

    def begin() -> nn.Module:
        print("beginning", flush=True)
        network = build(partial(LstvcPaperCodec, configs["warping"]), None)
        train(network, two_stage_objective, material.sampler, BEGINNING, options.base_scale)
        return network

    base = once(options.out / "base.safetensors", begin)

    def vary(name: str) -> list[Row]:
        print(name, flush=True)
        network = build(partial(LstvcPaperCodec, configs[name]), base)
        assert isinstance(network, LstvcPaperCodec)
        train(network, two_stage_objective, material.sampler, BUDGET, options.scale)
        keep(network, stem_of(options.out, name).with_suffix(".safetensors"))
        return score(network, material.frames)

    results: dict[str, list[Row]] = {}
    for name in options.variants:
        path = stem_of(options.out, name).with_suffix(".json")
        rows = once_scored(path, partial(vary, name))
        assert isinstance(rows, list)
        results[name] = rows
        for table, names in TABLES.items():
            show(f"Table {table}", results, names)


if __name__ == "__main__":
    main()
