"""Plans say which frames stand alone and what the others refer to; structures check it."""

import pytest

from kinema.bitstream.headers import CodingStructure, FrameHeader, FrameType
from kinema.codec.structure import STRUCTURES, make_plan, structure_name, widest
from kinema.errors import BitstreamError, ConfigError

BOTH = ("low-delay", "all-intra")


def types(count, *arguments, **settings):
    plan = make_plan(BOTH, *arguments, **settings)
    return "".join(plan.frame(index).frame_type.name for index in range(count))


def header(frame_type, references, display_index=9):
    return FrameHeader(
        frame_type=frame_type, display_index=display_index, pts=0, quality=0, references=references
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"intra_period": 4}, "IPPPIPPPIPPP"),
        ({"intra_period": -1}, "IPPPPPPPPPPP"),
        ({"intra_period": 1}, "IIIIIIIIIIII"),
        ({"intra_period": -1, "refresh": 5}, "IPPPPIPPPPIP"),
        ({"intra_period": 7, "refresh": 3}, "IPPIPPIIPPIP"),
        ({"intra_period": 4, "refresh": 9}, "IPPPIPPPIPPP"),
        ({"intra_period": 9, "refresh": 1}, "IIIIIIIIIIII"),
        ({"structure": "all-intra"}, "IIIIIIIIIIII"),
    ],
)
def test_intra_frames_stand_where_they_are_asked_for(settings, expected):
    assert types(12, **settings) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"intra_period": 4}, "PIPPPIPP"),
        ({"intra_period": -1}, "PIPPPPPP"),
        ({"intra_period": 7, "refresh": 3}, "PIPPIPPI"),
    ],
)
def test_periods_count_from_where_a_scene_begins(settings, expected):
    plan = make_plan(BOTH, **settings)
    frames = [plan.frame(19, 0 if settings["intra_period"] == -1 else 18)]
    frames += [plan.frame(index, 20) for index in range(20, 27)]
    assert "".join(frame.frame_type.name for frame in frames) == expected


def test_frames_refer_to_the_one_before_and_are_coded_in_display_order():
    plan = make_plan(BOTH, intra_period=3)
    frames = [plan.frame(index) for index in range(4)]
    assert [frame.references for frame in frames] == [(), (-1,), (-1,), ()]
    assert [frame.display_index for frame in frames] == [0, 1, 2, 3]


def test_what_is_usual_depends_on_the_structure():
    assert make_plan(BOTH).structure is STRUCTURES["low-delay"]
    assert make_plan(BOTH[::-1]).structure is STRUCTURES["all-intra"]
    assert make_plan(BOTH).intra_period == 32
    assert make_plan(BOTH, "all-intra").intra_period == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"structure": "random-access"}, "can do low-delay, all-intra"),
        ({"structure": "sideways"}, "'sideways'"),
        ({"structure": "all-intra", "intra_period": 2}, "intra period 2: in all-intra"),
        ({"structure": "all-intra", "intra_period": -1}, "intra period -1"),
        ({"structure": "all-intra", "refresh": 2}, "refresh 2: in all-intra"),
        ({"intra_period": 0}, "intra period 0, expected -1 or 1"),
        ({"intra_period": -2}, "intra period -2"),
        ({"intra_period": 2**32}, "intra period 4294967296"),
        ({"refresh": -1}, "refresh -1, expected 0"),
        ({"refresh": 2**32}, "refresh 4294967296"),
    ],
)
def test_what_cannot_be_planned_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(BOTH, **settings)


def test_structures_that_this_version_lacks_are_refused():
    with pytest.raises(ConfigError, match="holographic"):
        make_plan(("holographic",))
    with pytest.raises(ConfigError, match="known: all-intra, low-delay"):
        widest(("holographic",))


def test_the_widest_structure_takes_the_frames_of_all():
    assert widest(BOTH) is widest(BOTH[::-1]) is STRUCTURES["low-delay"]
    assert widest(("all-intra", "holographic")) is STRUCTURES["all-intra"]
    assert widest(("random-access", *BOTH)) is STRUCTURES["random-access"]


def test_names_are_those_of_the_bitstream():
    for name, structure in STRUCTURES.items():
        assert structure.name == structure_name(structure.code) == name
    assert structure_name(CodingStructure.RANDOM_ACCESS) == "random-access"


@pytest.mark.parametrize(
    ("name", "frame_type", "references", "message"),
    [
        ("all-intra", FrameType.P, (-1,), r"P frame \(-1\); all-intra has I frames only"),
        ("low-delay", FrameType.P, (-2,), r"P frame \(-2\); .* I frames and P frames \(-1\) only"),
        ("low-delay", FrameType.P, (1,), r"P frame \(\+1\)"),
        ("low-delay", FrameType.P, (-1, -2), r"P frame \(-1, -2\)"),
        ("low-delay", FrameType.B, (-1, 1), r"B frame \(-1, \+1\)"),
    ],
)
def test_frames_that_a_structure_does_not_know_are_refused(name, frame_type, references, message):
    with pytest.raises(BitstreamError, match=message):
        STRUCTURES[name].check(header(frame_type, references))


def test_frames_that_a_structure_knows_pass():
    STRUCTURES["all-intra"].check(header(FrameType.I, ()))
    STRUCTURES["low-delay"].check(header(FrameType.I, ()))
    STRUCTURES["low-delay"].check(header(FrameType.P, (-1,)))


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"intra_period": -1}, 4),
        ({"intra_period": 3}, 3),
        ({"intra_period": 32, "refresh": 2}, 2),
        ({"intra_period": -1, "refresh": 9}, 4),
        ({"structure": "all-intra"}, 1),
    ],
)
def test_runs_end_before_the_next_intra_frame(settings, length):
    assert make_plan(BOTH, **settings).longest_run(4) == length


def test_random_access_knows_frames_half_way_between_two():
    structure = STRUCTURES["random-access"]
    known = [(FrameType.I, ()), (FrameType.P, (-1,)), (FrameType.P, (-9,))]
    known += [(FrameType.B, pair) for pair in ((-1, 1), (-1, 2), (-4, 4), (-4, 5), (-9, 9))]
    for frame_type, references in known:
        structure.check(header(frame_type, references, 40))
    wrong = [(FrameType.P, (1,)), (FrameType.P, (-33,)), (FrameType.P, (-1, -2))]
    wrong += [(FrameType.B, (-1,)), (FrameType.B, (-1, -2))]
    wrong += [(FrameType.B, pair) for pair in ((1, -1), (-2, 1), (-1, 3), (-17, 17))]
    for frame_type, references in wrong:
        with pytest.raises(BitstreamError, match="random-access has I frames, P frames"):
            structure.check(header(frame_type, references, 40))
