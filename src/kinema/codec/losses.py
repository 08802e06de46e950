"""What a damaged file lost: frames are counted as they come, so that a missing one has a name."""

from collections.abc import Sequence

from kinema.bitstream.packets import DamagedPacket, FramePacket
from kinema.codec.arrivals import Arrivals
from kinema.codec.structure import REACH, STRUCTURES, Structure
from kinema.errors import MissingReferenceError

GONE = "what should come before it is gone"


class LossLog:
    """Watches the packets of a sequence in coding order go by; names the frames that are missing.

    A frame may also be lost because it refers to one that is. All that fall with one frame,
    directly or not, have one line together.

    Attributes:
        arrivals: of the pass that has begun.
    """

    def __init__(self, structure: Structure = STRUCTURES["low-delay"]) -> None:
        """Begin with the first frame of a sequence of this structure."""
        self._structure = structure
        self._lines: dict[str | int, None] = {}  # in order, each once; a number stands for a chain
        self._roots: dict[int, int] = {}  # lost frames that refer to others: whose loss began it
        self._unnamed: list[str] = []  # damage of which nobody knows yet what it held
        self.begin(0)

    @property
    def lines(self) -> list[str]:
        """One line per damaged place, or frame that others miss, so far: what was lost, and why."""
        chains: dict[int, list[int]] = {}
        for index, root in sorted(self._roots.items()):
            chains.setdefault(root, []).append(index)
        return [
            line if isinstance(line, str) else _chain_line(line, chains[line])
            for line in self._lines
        ]

    def begin(self, first_index: int | None) -> None:
        """Start a pass through the packets.

        Args:
            first_index: display index of the frame that should come first; None if unknown: then
                frames that come later and lie before the first one are no part of the pass.
        """
        self.arrivals = Arrivals(self._structure, first_index)
        self._start = first_index
        self._horizon = 0  # once all before it have come, damage without a name has cost no frame
        self._unnamed.clear()

    def damage(self, packet: DamagedPacket) -> None:
        """Take a damaged stretch; where the index is gone, the next frames tell what it held."""
        if packet.lost_frames is None:
            self._unnamed.append(str(packet.error))
            reach = REACH if self._structure.reorders else 0
            self._horizon = self.arrivals.newest + 1 + reach
            return
        lost = packet.lost_frames
        if self._structure.reorders and self._start:
            lost = tuple(index for index in lost if index >= self._start)
            if packet.lost_frames and not lost:
                return
        self._add(f"{_frames(sorted(lost))} lost", str(packet.error))
        if lost:
            self.arrivals.skip(lost)

    def is_in_order(self, packet: FramePacket) -> bool:
        """Take a sound frame packet; one that is out of order must be left out."""
        header = packet.header
        index, arrivals = header.display_index, self.arrivals
        if self._start is None:
            self._start = index
        if not arrivals.fits(header):
            if index >= self._start or not self._structure.reorders:
                self._add(f"frame {index} left out", _at(packet, "out of order"))
            return False
        self._tell_missing(arrivals.settle(header), _at(packet, GONE))
        before, after = arrivals.pts_around(index)
        is_late = before is not None and header.pts <= before
        is_early = after is not None and header.pts >= after
        arrivals.place(index, None if is_late or is_early else header.pts)
        if (arrivals.floor or 0) > self._horizon:
            self._tell_unnamed("no frame lost")
        if is_late or is_early:
            wrong = f"not after {before}" if is_late else f"not before {after}"
            self._add(f"frame {index} left out", _at(packet, f"time {header.pts} is {wrong}"))
        return not (is_late or is_early)

    def cannot_decode(self, packet: FramePacket, error: Exception) -> None:
        """Take a frame that is not what the encoder wrote, or refers to one that is lost."""
        index = packet.header.display_index
        if isinstance(error, MissingReferenceError):
            if index not in self._roots:
                self._roots[index] = self._roots.get(error.missing, error.missing)
                self._lines[self._roots[index]] = None
        else:
            self._add(f"frame {index} lost", _at(packet, str(error)))

    def end(self, *, is_whole: bool = True) -> None:
        """End a pass: damage at the end of a file may have held any frames.

        Args:
            is_whole: whether the end of the file was reached.
        """
        if is_whole and self._structure.reorders:
            self._tell_missing(self.arrivals.settle_to(self.arrivals.newest + 1), "not in the file")
        self._tell_unnamed("unknown frames lost" if is_whole else "no frame lost")

    def _tell_missing(self, missing: list[range], reason: str) -> None:
        for indices in missing:
            self._add(f"{_frames(indices)} lost", "; ".join(self._unnamed) or reason)
        if missing:
            self._unnamed.clear()

    def _tell_unnamed(self, what: str) -> None:
        for reason in self._unnamed:
            self._add(what, reason)
        self._unnamed.clear()

    def _add(self, what: str, reason: str) -> None:
        self._lines[f"{what}: {reason}"] = None


def _chain_line(root: int, indices: list[int]) -> str:
    refer = "it refers" if len(indices) == 1 else "they refer"
    return f"{_frames(indices)} lost: {refer} to frame {root}, which is lost"


def _at(packet: FramePacket, what: str) -> str:
    return f"packet at byte {packet.offset}: {what}"


def _frames(indices: Sequence[int]) -> str:
    """Name frames: "frame 3", "frames 3 to 5", "no frame"."""
    if not indices:
        return "no frame"
    if len(indices) == 1:
        return f"frame {indices[0]}"
    if indices[-1] - indices[0] == len(indices) - 1:
        return f"frames {indices[0]} to {indices[-1]}"
    return f"{len(indices)} frames from {indices[0]} to {indices[-1]}"
