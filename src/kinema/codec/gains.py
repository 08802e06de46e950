"""By how much crf frames that others refer to are finer than the rest of their sequence."""

from kinema.codec.structure import FramePlan, Structure
from kinema.models.registry import LoadedModel
from kinema.parts.quality import MAX_CRF, crf_to_units


def own_units(units: int, plan: FramePlan, structure: Structure, model: LoadedModel) -> int:
    """Give the quality of a frame; both in 1/256 crf. Near crf 63 there is less to gain.

    Args:
        units: quality that was asked for.
        plan: of the frame.
        structure: of the sequence.
        model: says how much is gained.
    """
    crf_gain = 0.0
    if structure.reorders:
        crf_gain = level_gain(model.level_gains, plan)
    elif structure.predicts and not plan.references:
        crf_gain = model.intra_gain
    return units - min(crf_to_units(crf_gain), units, crf_to_units(MAX_CRF) - units)


def level_gain(gains: tuple[float, ...], plan: FramePlan) -> float:
    """Tell by how much crf a frame of random access is finer than the coarsest ones.

    Args:
        gains: as `ModelEntry.level_gains`.
        plan: of the frame.
    """
    if not plan.references:
        return gains[0]
    nearest = min(abs(distance) for distance in plan.references)
    return gains[max(1, len(gains) - nearest.bit_length())]
