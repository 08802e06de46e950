"""Frames on their way to the encoder: held back for a moment, so that it knows what comes next."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kinema.codec.scene_cuts import LOOK_AHEAD, SceneCuts
from kinema.codec.sights import Sight, look
from kinema.video.frame import AudioPacket, Frame, Item


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A frame about to be coded, and what its surroundings tell of it.

    Attributes:
        frame: from the source.
        is_cut: whether a scene begins with it.
        sights: of it and of those after it; empty unless `with_sights` looked.
        after: the next frame, if it has been seen, without one after it.
        period_start: number of the frame from which intra periods count; see `in_periods`.
    """

    frame: Frame
    is_cut: bool = False
    sights: tuple[Sight, ...] = ()
    after: "SourceFrame | None" = None
    period_start: int = 0


SourceItem = SourceFrame | AudioPacket


def foresee(
    items: Iterable[Item], *, with_scenes: bool, look_ahead: int | None = None
) -> Iterator[SourceItem]:
    """Look at a video as far ahead as needed.

    Args:
        items: of a video, in order.
        with_scenes: whether to find scene cuts.
        look_ahead: how many frames after each one are looked at; None for no sights at all, and
            as many as scene cuts need.

    Returns:
        the same items in the same order.
    """
    delay = LOOK_AHEAD if look_ahead is None else min(look_ahead, LOOK_AHEAD)
    found = with_cuts(items, delay) if with_scenes else without_cuts(items)
    if look_ahead is None:
        return found
    return with_sights(found, look_ahead - delay if with_scenes else look_ahead)


def with_cuts(items: Iterable[Item], look_ahead: int = LOOK_AHEAD) -> Iterator[SourceItem]:
    """Find scene cuts on the way.

    Args:
        items: of a video, in order.
        look_ahead: frames that are held back, at most; see `SceneCuts`.

    Returns:
        the same items in the same order.
    """
    cuts, waiting, undecided = SceneCuts(look_ahead), deque[Item](), 0
    for item in items:
        waiting.append(item)
        if isinstance(item, Frame):
            cuts.take(item)
            undecided += 1
        while waiting and (undecided > look_ahead or not isinstance(waiting[0], Frame)):
            undecided -= isinstance(waiting[0], Frame)
            yield _decided(waiting.popleft(), cuts)
    for item in waiting:
        yield _decided(item, cuts)


def without_cuts(items: Iterable[Item]) -> Iterator[SourceItem]:
    """Take a video for a single scene."""
    for item in items:
        yield SourceFrame(item) if isinstance(item, Frame) else item


def in_periods(items: Iterable[SourceItem]) -> Iterator[SourceItem]:
    """Tell frames from where intra periods count: from the last scene cut."""
    index = start = 0
    for item in items:
        if not isinstance(item, SourceFrame):
            yield item
            continue
        start = index if item.is_cut else start
        yield replace(item, period_start=start)
        index += 1


def with_sights(items: Iterable[SourceItem], look_ahead: int) -> Iterator[SourceItem]:
    """Look at each frame, and at so many after it, which are held back.

    Returns:
        the same items in the same order, frames with their sights.
    """
    waiting, sights = deque[SourceItem](), deque[Sight]()
    before: Frame | None = None
    for item in items:
        waiting.append(item)
        if isinstance(item, SourceFrame):
            sights.append(look(item.frame, before, is_cut=item.is_cut))
            before = item.frame
        while waiting and (len(sights) > look_ahead or not isinstance(waiting[0], SourceFrame)):
            yield _seen(waiting, sights)
    while waiting:
        yield _seen(waiting, sights)


def _decided(item: Item, cuts: SceneCuts) -> SourceItem:
    return SourceFrame(item, cuts.decide()) if isinstance(item, Frame) else item


def _seen(waiting: deque[SourceItem], sights: deque[Sight]) -> SourceItem:
    """The first of the items that wait, with what is known of it."""
    item = waiting.popleft()
    if not isinstance(item, SourceFrame):
        return item
    own, *later = sights
    sights.popleft()
    after = next((other for other in waiting if isinstance(other, SourceFrame)), None)
    after = replace(after, sights=tuple(later)) if after else None
    return replace(item, sights=(own, *later), after=after)
