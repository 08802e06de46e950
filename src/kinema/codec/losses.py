"""What a damaged file lost: frames are counted as they come, so that a missing one has a name."""

from collections.abc import Sequence

from kinema.bitstream.packets import DamagedPacket, FramePacket
from kinema.errors import MissingReferenceError


class LossLog:
    """Watches the packets of a sequence in display order go by; names the frames that are missing.

    A frame may also be lost because it refers to one that is. All that fall with one frame,
    directly or not, have one line together.
    """

    def __init__(self) -> None:
        self._lines: dict[str | int, None] = {}  # in order, each once; a number stands for a chain
        self._roots: dict[int, int] = {}  # lost frames that refer to others: whose loss began it
        self._next_index: int | None = None  # the display index that should come next
        self._last_pts: int | None = None
        self._unnamed: list[str] = []  # damage of which nobody knows yet what it held

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
            first_index: display index of the frame that should come first; None if unknown.
        """
        self._next_index, self._last_pts = first_index, None
        self._unnamed.clear()

    def damage(self, packet: DamagedPacket) -> None:
        """Take a damaged stretch; where the index is gone, the next frame tells what it held."""
        if packet.lost_frames is None:
            self._unnamed.append(str(packet.error))
            return
        self._add(f"{_frames(packet.lost_frames)} lost", str(packet.error))
        if packet.lost_frames:
            self._next_index = packet.lost_frames[-1] + 1

    def is_in_order(self, packet: FramePacket) -> bool:
        """Take a sound frame packet; one that is out of order must be left out."""
        index, expected = packet.header.display_index, self._next_index
        if expected is not None and index < expected:
            self._add(f"frame {index} left out", _at(packet, "out of order"))
            return False
        if expected is not None and index > expected:
            reason = "; ".join(self._unnamed) or _at(packet, "what should come before it is gone")
            self._add(f"{_frames(range(expected, index))} lost", reason)
            self._unnamed.clear()
        self._tell_unnamed("no frame lost")
        self._next_index = index + 1
        pts, last_pts = packet.header.pts, self._last_pts
        if last_pts is not None and pts <= last_pts:
            self._add(f"frame {index} left out", _at(packet, f"time {pts} is not after {last_pts}"))
            return False
        self._last_pts = pts
        return True

    def cannot_decode(self, packet: FramePacket, error: Exception) -> None:
        """Take a frame that is not what the encoder wrote, or refers to one that is lost."""
        index = packet.header.display_index
        if isinstance(error, MissingReferenceError):
            if index not in self._roots:
                self._roots[index] = self._roots.get(error.missing, error.missing)
                self._lines[self._roots[index]] = None
        else:
            self._add(f"frame {index} lost", _at(packet, str(error)))

    def end(self) -> None:
        """End a pass: damage at its end may have held any frames."""
        self._tell_unnamed("unknown frames lost")

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
