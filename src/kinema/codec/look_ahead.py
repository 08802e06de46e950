"""Frames on their way to the encoder: held back for a moment, so that it knows what comes next."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kinema.codec.scene_cuts import LOOK_AHEAD, SceneCuts
from kinema.video.frame import AudioPacket, Frame, Item


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A frame about to be coded, and what its surroundings tell of it.

    Attributes:
        frame: from the source.
        is_cut: whether a scene begins with it.
    """

    frame: Frame
    is_cut: bool = False


def with_cuts(
    items: Iterable[Item], look_ahead: int = LOOK_AHEAD
) -> Iterator[SourceFrame | AudioPacket]:
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


def without_cuts(items: Iterable[Item]) -> Iterator[SourceFrame | AudioPacket]:
    """Take a video for a single scene."""
    for item in items:
        yield SourceFrame(item) if isinstance(item, Frame) else item


def _decided(item: Item, cuts: SceneCuts) -> SourceFrame | AudioPacket:
    return SourceFrame(item, cuts.decide()) if isinstance(item, Frame) else item
