"""Coding order: frames come in display order, wait for those they refer to, and are planned.

Random access: 0, 32, 16, 8, 4, 2, 1, 3, 6, 5, 7, 12, ... in a period of 32 frames. Intra frames
stand where the intra period, a scene cut or a refresh puts them; one that is near enough closes the
group before it. Where none is, at the end of a scene too, a P frame does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, Self, TypeVar

from kinema.bitstream.headers import FrameType
from kinema.codec.structure import REACH, FramePlan, SequencePlan

T = TypeVar("T")
P_STEP = 16  # display indices from an I or P frame to the next P frame, at most


@dataclass(frozen=True, slots=True)
class Order(Generic[T]):
    """Which frame is coded next. It is a value: nothing that happens later changes it.

    Attributes:
        plan: of the sequence.
        next_index: display index of the next frame to come.
        period_start: display index from which intra periods count.
        is_cut: whether a scene begins with the next frame.
        newest: display index of the newest I or P frame that has been planned; None: none.
        waiting: frames after it, in display order.
    """

    plan: SequencePlan
    next_index: int = 0
    period_start: int = 0
    is_cut: bool = False
    newest: int | None = None
    waiting: tuple[T, ...] = ()

    def begin_scene(self) -> Self:
        """Expect a scene cut: the next frame is intra, and no frame before refers beyond it."""
        return replace(self, is_cut=True)

    def take(self, frame: T) -> tuple[Self, list[tuple[FramePlan, T]]]:
        """Take the next frame in display order; give the frames whose turn has come, planned."""
        after, planned = self.finish() if self.is_cut else (self, [])
        index = after.next_index
        start = index if self.is_cut else after.period_start
        after = replace(after, next_index=index + 1, period_start=start, is_cut=False)
        if not self.plan.structure.reorders:
            return after, [(self.plan.frame(index, start), frame)]
        after = replace(after, waiting=(*after.waiting, frame))
        if self.plan.is_intra(index, start) or after.newest is None:
            after, ready = after._close(len(after.waiting), FrameType.I)
            planned += ready
        elif len(after.waiting) == P_STEP and after._is_open():
            after, ready = after._close(P_STEP, FrameType.P)
            planned += ready
        return after, planned

    def finish(self) -> tuple[Self, list[tuple[FramePlan, T]]]:
        """End the sequence, or a scene: give the frames that waited, planned."""
        after, planned = self, list[tuple[FramePlan, T]]()
        num_groups = -(-len(self.waiting) // P_STEP)
        for groups_left in range(num_groups, 0, -1):
            length = -(-len(after.waiting) // groups_left)
            after, ready = after._close(length, FrameType.P)
            planned += ready
        return after, planned

    def _is_open(self) -> bool:
        """Whether the next intra frame is too far away to close a group."""
        newest = 0 if self.newest is None else self.newest
        return self.plan.intra_after(newest, self.period_start) - newest > REACH

    def _close(self, length: int, kind: FrameType) -> tuple[Self, list[tuple[FramePlan, T]]]:
        """Plan a group, given by how many frames wait up to its last one, and that one's type."""
        group, rest = self.waiting[:length], self.waiting[length:]
        first = self.next_index - len(self.waiting) - 1  # display index before the group
        last = first + length
        plans = [FramePlan(last, kind, () if kind is FrameType.I else (first - last,))]
        plans += between(first, last)
        after = replace(self, newest=last, waiting=rest)
        return after, [(plan, group[plan.display_index - first - 1]) for plan in plans]


def between(first: int, last: int) -> Iterator[FramePlan]:
    """Plan the frames between two, in coding order: the middle one, those before, those after."""
    if last - first < 2:
        return
    middle = (first + last) // 2
    yield FramePlan(middle, FrameType.B, (first - middle, last - middle))
    yield from between(first, middle)
    yield from between(middle, last)


def plan_all(plan: SequencePlan, num_frames: int, cuts: tuple[int, ...] = ()) -> list[FramePlan]:
    """Plan a whole sequence, in coding order.

    Args:
        plan: of the sequence.
        num_frames: how many it has.
        cuts: display indices at which scenes begin, but for the first one.
    """
    order: Order[None] = Order(plan)
    planned: list[FramePlan] = []
    for index in range(num_frames):
        order, ready = (order.begin_scene() if index in cuts else order).take(None)
        planned += [each for each, _ in ready]
    return planned + [each for each, _ in order.finish()[1]]
