"""Plans of random access: every frame once, after those it refers to, and few kept at a time."""

import random

import pytest

from kinema.bitstream.headers import FrameHeader, FrameType
from kinema.codec.order import P_STEP, Order, between, plan_all
from kinema.codec.structure import MAX_KEPT, REACH, STRUCTURES, SequencePlan, make_plan

RANDOM_ACCESS = STRUCTURES["random-access"]
PERIODS = (-1, 1, 2, 3, 7, 8, 31, 32, 33, 40, 100)
LENGTHS = (1, 2, 5, 17, 33, 34, 97, 130)


def plan(period=32, refresh=0):
    return SequencePlan(RANDOM_ACCESS, period, refresh)


def header(each):
    return FrameHeader(
        frame_type=each.frame_type,
        display_index=each.display_index,
        pts=0,
        quality=0,
        references=each.references,
    )


def kinds(planned):
    """Types of frames in display order; B frames as dots."""
    ordered = sorted(planned, key=lambda each: each.display_index)
    return "".join(each.frame_type.name for each in ordered).replace("B", ".")


def test_a_period_is_coded_in_halves_of_halves():
    planned = plan_all(plan(), 34)
    expected = (
        "0 32 16 8 4 2 1 3 6 5 7 12 10 9 11 14 13 15 24 20 18 17 19 22 21 23 28 26 25 27 30 29 31"
    )
    assert " ".join(str(each.display_index) for each in planned[:-1]) == expected
    assert planned[0].references == planned[1].references == ()
    assert [each.references for each in planned[2:7]] == [
        (-16, 16), (-8, 8), (-4, 4), (-2, 2), (-1, 1)
    ]  # fmt: skip
    assert planned[-1].references == (-1,)


@pytest.mark.parametrize(
    ("count", "period", "expected"),
    [
        (1, 32, "I"),
        (2, 32, "IP"),
        (5, 32, "I...P"),
        (9, 4, "I...I...I"),
        (8, 4, "I...I..P"),
        (6, 1, "IIIIII"),
        (40, -1, "I" + "." * 15 + "P" + "." * 15 + "P" + "." * 6 + "P"),
        (22, 32, "I" + "." * 10 + "P" + "." * 9 + "P"),
        (49, 48, "I" + "." * 15 + "P" + "." * 31 + "I"),
    ],
)
def test_groups_end_with_i_frames_or_else_with_p_frames(count, period, expected):
    assert kinds(plan_all(plan(period), count)) == expected
    assert P_STEP == 16


def test_an_additional_intra_frame_closes_a_group():
    assert kinds(plan_all(plan(-1, refresh=4), 11)) == "I...I...I.P"
    assert kinds(plan_all(plan(6, refresh=4), 13)) == "I...I.I...I.I"


def test_no_frame_refers_beyond_a_scene_cut():
    planned = plan_all(plan(8), 20, cuts=(5, 6))
    assert kinds(planned) == "I...PII.......I....P"
    for each in planned:
        for cut in (5, 6):
            before = each.display_index < cut
            assert all((each.display_index + d < cut) == before for d in each.references)


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("refresh", [0, 3, 20])
def test_exactly_what_is_needed_is_kept(period, refresh):
    for count in LENGTHS:
        for cuts in ((), (1,), (5, 6, 40)):
            planned = plan_all(plan(period, refresh), count, cuts)
            assert sorted(each.display_index for each in planned) == list(range(count))
            check_kept(planned)


def check_kept(planned):
    kept: set[int] = set()
    needed_after: list[set[int]] = [set()]
    for each in reversed(planned):
        used = {each.display_index + d for d in each.references}
        needed_after.append((needed_after[-1] | used) - {each.display_index})
    for each, later in zip(planned, reversed(needed_after[:-1]), strict=True):
        RANDOM_ACCESS.check(header(each))
        assert {each.display_index + d for d in each.references} <= kept
        kept = RANDOM_ACCESS.kept_after(kept, each.display_index, each.references)
        done = {other.display_index for other in planned[: planned.index(each) + 1]}
        assert kept - {max(done)} == (later & done) - {max(done)}  # the newest end may be the last
        assert later & done <= kept
        assert len(kept) <= MAX_KEPT


def test_few_frames_are_kept_whatever_comes():
    """Any packets that pass the check, in any order: hostile files have bounded memory too."""
    most = 0
    for seed in range(40):
        rng, kept = random.Random(seed), set[int]()
        for _ in range(300):
            options = [(rng.randrange(200), ())]
            for index in kept:
                options.append((index + rng.randint(1, REACH), None))
                options += [((index + o) // 2, o) for o in kept if 1 < o - index <= REACH]
            index, other = rng.choice(options[1:] or options)
            if other is None:
                past = max(i for i in kept if i < index)
                references = (past - index,)
            elif other == ():
                references = ()
            else:
                past = 2 * index - other if (2 * index - other) in kept else 2 * index - other + 1
                references = (past - index, other - index)
            if any(index + d not in kept for d in references) or 0 in references:
                continue
            kept = RANDOM_ACCESS.kept_after(kept, index, references)
            most = max(most, len(kept))
    assert 3 < most <= MAX_KEPT


def test_an_order_is_a_value_and_frames_wait_in_it():
    order = Order(plan(4))
    orders, sizes = [order], []
    for frame in "abcdef":
        order, ready = order.take(frame)
        orders.append(order)
        sizes.append(len(ready))
    assert sizes == [1, 0, 0, 0, 4, 0]
    assert orders[3].waiting == ("b", "c")
    assert [frame for _, frame in orders[4].take("e")[1]] == ["e", "c", "b", "d"]
    end, ready = order.finish()
    assert [frame for _, frame in ready] == ["f"]
    assert end.finish()[1] == []


def test_structures_without_b_frames_have_no_delay():
    order = Order(make_plan(("low-delay",), None, 3))
    for index in range(7):
        order, ((each, frame),) = order.take(index)
        assert each.display_index == frame == index
        assert (each.frame_type is FrameType.I) == (index % 3 == 0)
    assert order.finish()[1] == []


def test_what_is_between_two_frames_may_be_odd():
    assert [each.display_index for each in between(5, 8)] == [6, 7]
    assert list(between(5, 6)) == []
