"""Training recipes: for each system its stages, its start, and what a step minimises."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from kinema.models import (
    cama,
    cama_paper,
    dual_domain,
    dual_domain_paper,
    intra,
    lstvc,
    lstvc_paper,
    uni_lvc,
)
from kinema.train.alignment import alignment_objective, start_alignment
from kinema.train.cascade import cascade_objective
from kinema.train.conditional import conditional_objective, start_conditional, start_features
from kinema.train.data import Batch, CropSampler
from kinema.train.objectives import Outcome, intra_objective, start_intra
from kinema.train.paper_stages import CAMA_PAPER, DUAL_DOMAIN_PAPER, LSTVC_PAPER, TCM_PAPER
from kinema.train.progressive import progressive_objective, start_progressive
from kinema.train.stages import (
    CAMA_SMALL,
    DUAL_DOMAIN_SMALL,
    INTRA_SMALL,
    LSTVC_SMALL,
    UNI_LVC_SMALL,
    Stage,
)
from kinema.train.two_stage import (
    MS_SSIM_LAGRANGIANS,
    MSE_LAGRANGIANS,
    start_two_stage,
    two_stage_objective,
)
from kinema.train.unified import start_unified, unified_objective


@dataclass(frozen=True)
class Recipe:
    """Everything the loop needs to know about a system.

    Attributes:
        stages: in order.
        build: makes the network.
        start: sets its first parameters from the training material.
        objective: what a step minimises.
    """

    stages: tuple[Stage, ...]
    build: Callable[[], nn.Module]
    start: Callable[[nn.Module, CropSampler], None]
    objective: Callable[[nn.Module, Batch, Stage], Outcome]


RECIPES: dict[str, Recipe] = {
    "intra-small": Recipe(INTRA_SMALL, intra.build_small, start_intra, intra_objective),
    "dual-domain-small": Recipe(
        DUAL_DOMAIN_SMALL, dual_domain.build_small, start_alignment, alignment_objective
    ),
    "dual-domain-paper": Recipe(
        DUAL_DOMAIN_PAPER, dual_domain_paper.build_paper, start_progressive, progressive_objective
    ),
    "lstvc-small": Recipe(LSTVC_SMALL, lstvc.build_small, start_conditional, conditional_objective),
    "cama-small": Recipe(CAMA_SMALL, cama.build_small, start_features, conditional_objective),
    "uni-lvc-small": Recipe(UNI_LVC_SMALL, uni_lvc.build_small, start_unified, unified_objective),
}


def _add_published(
    name: str,
    build: Callable[..., nn.Module],
    stages_of: tuple[Stage, ...],
    objective: Callable[[nn.Module, Batch, Stage], Outcome],
) -> None:
    """Add a published system: one model for all qualities, and one for each published lambda."""
    variable = partial(build, is_variable=True)
    RECIPES[name] = Recipe(stages_of, variable, start_two_stage, objective)
    for metric, infix, lagrangians in (
        ("mse", "", MSE_LAGRANGIANS),
        ("ms-ssim", "-ms-ssim", MS_SSIM_LAGRANGIANS),
    ):
        for lagrangian in lagrangians:
            stages = tuple(
                replace(stage, lagrangian=lagrangian, metric=metric) for stage in stages_of
            )
            RECIPES[f"{name}{infix}-{lagrangian:g}"] = Recipe(
                stages, build, start_two_stage, objective
            )


_add_published("lstvc-paper", lstvc_paper.build_paper, LSTVC_PAPER, two_stage_objective)
_add_published("lstvc-paper-plus", lstvc_paper.build_paper_plus, LSTVC_PAPER, two_stage_objective)
_add_published("tcm-paper", cama_paper.build_tcm, TCM_PAPER, cascade_objective)
_add_published("cama-paper", cama_paper.build_paper, CAMA_PAPER, cascade_objective)
