"""Training recipes: for each system its stages, its start, and what a step minimises."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from kinema.models import dual_domain, intra, lstvc
from kinema.train.alignment import alignment_objective, start_alignment
from kinema.train.conditional import conditional_objective, start_conditional
from kinema.train.data import Batch, CropSampler
from kinema.train.objectives import Outcome, intra_objective, start_intra
from kinema.train.stages import DUAL_DOMAIN_SMALL, INTRA_SMALL, LSTVC_SMALL, Stage


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
    "lstvc-small": Recipe(LSTVC_SMALL, lstvc.build_small, start_conditional, conditional_objective),
}
