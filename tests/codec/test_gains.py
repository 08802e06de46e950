"""Frames that more others refer to are finer, as models say, and never beyond the scale."""

from dataclasses import replace

import pytest

from kinema.codec.gains import level_gain, own_units
from kinema.codec.order import plan_all
from kinema.codec.structure import STRUCTURES, SequencePlan
from kinema.models.registry import LEVEL_GAINS, LoadedModel

MODEL = LoadedModel(name="toy", number=1, frozen=None, intra_gain=5.0)
RANDOM_ACCESS = STRUCTURES["random-access"]


def plans(structure="random-access", count=34):
    planned = plan_all(SequencePlan(STRUCTURES[structure], 32), count)
    return {plan.display_index: plan for plan in planned}


def test_frames_that_more_refer_to_gain_more():
    gains = {index: level_gain(LEVEL_GAINS, plan) for index, plan in plans().items()}
    assert [gains[i] for i in (0, 32, 16, 8, 24, 4, 2, 1, 33)] == [8, 8, 8, 6, 6, 4, 2, 0, 0]
    far = level_gain(LEVEL_GAINS, replace(plans()[33], references=(-32,)))
    assert far == LEVEL_GAINS[1]


@pytest.mark.parametrize(("crf", "finer"), [(30, 22), (3, 0), (60, 57), (63, 63)])
def test_gains_stay_on_the_scale(crf, finer):
    assert own_units(256 * crf, plans()[0], RANDOM_ACCESS, MODEL) == 256 * finer


def test_models_say_how_much():
    model = replace(MODEL, level_gains=(3.0, 2.5, 2.0, 1.5, 1.0, 0.5))
    crfs = [own_units(5120, plans()[i], RANDOM_ACCESS, model) / 256 for i in (0, 16, 8, 4, 2, 1)]
    assert crfs == [17, 17.5, 18, 18.5, 19, 19.5]
    for name, expected in (("low-delay", [15, 20]), ("all-intra", [20, 20])):
        planned = SequencePlan(STRUCTURES[name], 1 if name == "all-intra" else 32)
        first, second = plan_all(planned, 2)
        crfs = [own_units(5120, plan, planned.structure, model) / 256 for plan in (first, second)]
        assert crfs == expected
