"""Packets on their way into a file: pictures in coding order, audio where it is heard."""

from collections import deque
from collections.abc import Iterator

from kinema.bitstream.headers import FrameHeader
from kinema.codec.arrivals import Arrivals
from kinema.codec.structure import Structure
from kinema.video.frame import AudioPacket, Frame


class Interleaving:
    """Holds the items of a video, in its order, until what comes before them lies in the file."""

    def __init__(self, structure: Structure, first_index: int = 0) -> None:
        """Begin a file, or a part of one.

        Args:
            structure: of the sequence.
            first_index: display index of the first frame to come.
        """
        self._arrivals = Arrivals(structure, first_index)
        self._next_index = first_index
        self._sources: dict[int, Frame] = {}  # frames that are not coded yet
        self._waiting: deque[int | AudioPacket] = deque()  # frames by their display indices

    def add(self, item: Frame | AudioPacket) -> None:
        """Take the next item of the video."""
        if isinstance(item, AudioPacket):
            self._waiting.append(item)
            return
        self._sources[self._next_index] = item
        self._waiting.append(self._next_index)
        self._next_index += 1

    def take(self, header: FrameHeader) -> Frame:
        """Note that a frame lies in the file; give it as it came."""
        self._arrivals.take(header)
        return self._sources.pop(header.display_index)

    def audio(self) -> Iterator[AudioPacket]:
        """Give the audio packets whose turn has come: all frames before them can be shown."""
        floor = self._arrivals.floor or 0
        while self._waiting:
            item = self._waiting[0]
            if isinstance(item, int) and item >= floor:
                return
            self._waiting.popleft()
            if isinstance(item, AudioPacket):
                yield item
