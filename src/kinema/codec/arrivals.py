"""Frames as they come in coding order: which of those before them, in display order, still will."""

from collections.abc import Sequence

from kinema.bitstream.headers import FrameHeader
from kinema.codec.structure import Structure


class Arrivals:
    """Keeps count of the frames of a sequence. Memory is bounded, whatever comes.

    Attributes:
        floor: display index before which every frame has come or is lost; None: nothing came yet.
        last_pts: time of the last frame before it, if one has come.
    """

    def __init__(self, structure: Structure, first: int | None = 0) -> None:
        """Begin a pass.

        Args:
            structure: of the sequence.
            first: display index of the first frame; None: the one that comes first.
        """
        self._structure = structure
        self.floor = first
        self.last_pts: int | None = None
        self._came: dict[int, int | None] = {}  # times, by display index; None: no frame to show

    @property
    def newest(self) -> int:
        """The greatest display index that has come; one less than the first if none has."""
        shown = [index for index, pts in self._came.items() if pts is not None]
        return max(shown, default=(self.floor or 0) - 1)

    def take(self, header: FrameHeader) -> list[range]:
        """Take a frame, if it fits; give the display indices that turn out to be missing."""
        if not self.fits(header):
            return []
        missing = self.settle(header)
        self.place(header.display_index, header.pts)
        return missing

    def fits(self, header: FrameHeader) -> bool:
        """Whether a frame may come now: neither twice, nor after those that come later."""
        index, floor = header.display_index, self.floor
        if floor is None:
            return True
        is_between = len(header.references) > 1
        return index >= floor and index not in self._came and (is_between or index > self.newest)

    def settle(self, header: FrameHeader) -> list[range]:
        """Learn from a frame that those before it cannot come any more; give the missing ones."""
        if self.floor is None:
            self.floor = header.display_index
        return self.settle_to(self._structure.settled(header, self.newest))

    def settle_to(self, limit: int) -> list[range]:
        """Learn that no frame before `limit` comes any more; give the missing ones."""
        missing: list[range] = []
        floor = self.floor or 0
        for index in sorted(index for index in self._came if index < limit):
            if index > floor:
                missing.append(range(floor, index))
            self._pass(index)
            floor = index + 1
        if limit > floor:
            missing.append(range(floor, limit))
        self.floor = max(floor, limit)
        return missing

    def place(self, display_index: int, pts: int | None) -> None:
        """Take note of a frame; of one that is not shown, with no time."""
        self._came[display_index] = pts
        while self.floor in self._came:
            self._pass(self.floor)
            self.floor += 1

    def skip(self, lost: Sequence[int]) -> None:
        """Take note of frames that are known to be lost, in file order."""
        if not self._structure.reorders:
            self.floor = max(self.floor or 0, lost[-1] + 1)
            return
        for index in lost:
            if index >= (self.floor or 0) and index not in self._came:
                self.place(index, None)

    def pts_of(self, display_index: int) -> int | None:
        """Give the time of a frame that later ones may refer to; None where it did not come."""
        if display_index + 1 == self.floor:
            return self.last_pts
        return self._came.get(display_index)

    def pts_around(self, display_index: int) -> tuple[int | None, int | None]:
        """Give the times of the frames around one, of those that have come, in display order."""
        shown = sorted((i, pts) for i, pts in self._came.items() if pts is not None)
        before = [pts for index, pts in shown if index < display_index]
        after = [pts for index, pts in shown if index > display_index]
        return before[-1] if before else self.last_pts, after[0] if after else None

    def _pass(self, index: int) -> None:
        pts = self._came.pop(index)
        self.last_pts = self.last_pts if pts is None else pts
