"""Decoded frames wait here until they may be shown: they come in coding order."""

from collections.abc import Iterator

from kinema.bitstream.headers import FrameHeader
from kinema.codec.arrivals import Arrivals
from kinema.codec.structure import Structure
from kinema.video.frame import Frame


class Reordering:
    """Puts frames into display order. Few wait at a time, whatever comes."""

    def __init__(self, structure: Structure, first: int | None = 0) -> None:
        """Begin a pass; see `Arrivals`."""
        self._arrivals = Arrivals(structure, first)
        self._waiting: dict[int, Frame] = {}

    def take(self, header: FrameHeader, frame: Frame | None) -> Iterator[Frame]:
        """Take what comes next; give the frames that may be shown now.

        Args:
            header: of a frame that is in order.
            frame: the frame; None where there is nothing to show.
        """
        if frame is not None:
            self._waiting[header.display_index] = frame
        self._arrivals.take(header)
        return self._until(self._arrivals.floor or 0)

    def rest(self) -> Iterator[Frame]:
        """End the pass: give what waits."""
        return self._until(max(self._waiting, default=0) + 1)

    def _until(self, limit: int) -> Iterator[Frame]:
        for index in sorted(index for index in self._waiting if index < limit):
            yield self._waiting.pop(index)
