"""Coding structures: which frames stand alone, what the others refer to, and for how long."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kinema.bitstream.bits import U32_MAX
from kinema.bitstream.headers import USUAL_REFERENCES, CodingStructure, FrameHeader, FrameType
from kinema.errors import BitstreamError, ConfigError

REACH = 32  # display indices from one I or P frame to the next in random access, at most
MAX_KEPT = 6  # decoded frames that random access keeps between two frames, at most


@dataclass(frozen=True, slots=True)
class Structure:
    """What holds for every sequence of a structure; encoder and decoder rely on it.

    Attributes:
        code: as it stands in the sequence header; a later one can do all that an earlier one can.
        references: of each type of frame that it knows, as in the frame header.
        predicts: whether frames refer to others: then they are coded one by one.
        reorders: whether coding order differs from display order.
        usual_period: frames from one intra frame to the next unless a user says otherwise.
    """

    code: CodingStructure
    references: Mapping[FrameType, tuple[int, ...]]
    predicts: bool
    usual_period: int
    reorders: bool = False

    @property
    def name(self) -> str:
        """As the command line has it."""
        return structure_name(self.code)

    def check(self, header: FrameHeader) -> None:
        """Refuse a frame that the structure does not know.

        Raises:
            BitstreamError: it refers to other frames than its type does here.
        """
        if not self._knows(header):
            found = _kind(header.frame_type, header.references, "frame")
            raise BitstreamError(f"{found}; {self.name} has {self._known()} only")

    def kept_after(
        self,
        kept: Collection[int],  # noqa: ARG002  # random access asks
        display_index: int,
        references: tuple[int, ...],  # noqa: ARG002  # likewise
    ) -> set[int]:
        """Tell which decoded frames later ones may refer to.

        Args:
            kept: display indices of those that were kept before a frame.
            display_index: of the frame, which has been decoded.
            references: its own, as in the frame header.

        Returns:
            display indices of those that are kept after it, its own among them or not.
        """
        return {display_index} if self.predicts else set()

    def settled(self, header: FrameHeader, newest: int) -> int:  # noqa: ARG002  # likewise
        """Tell up to where all frames have come, once a frame comes in coding order.

        Args:
            header: of that frame.
            newest: the greatest display index that came before it; -1: none.

        Returns:
            a display index: no frame before it will come any more.
        """
        return header.display_index

    def _knows(self, header: FrameHeader) -> bool:
        return self.references.get(header.frame_type) == header.references

    def _known(self) -> str:
        return " and ".join(_kind(k, refs, "frames") for k, refs in self.references.items())


class RandomAccess(Structure):
    """Frames between two that enclose them, in halves of halves; see docs/BITSTREAM.md.

    Pillars, which are I and P frames, are coded in display order. When one has been coded,
    those between it and the one before follow: the middle one, then all before it, then all after.
    """

    __slots__ = ()

    def kept_after(
        self, kept: Collection[int], display_index: int, references: tuple[int, ...]
    ) -> set[int]:
        """See `Structure`; at most `MAX_KEPT`, whatever comes."""
        if len(references) == 2:
            first, last = (display_index + distance for distance in references)
            after = {index for index in kept if index == first or index >= last}
            used = {first} if display_index - first == 1 else set()
            own = {display_index} if last - display_index > 1 else set()
            return (after - used) | own
        earlier = (index for index in kept if index < display_index)
        start = display_index + references[0] if references else max(earlier, default=display_index)
        return {i for i in kept if i == start and i != display_index - 1} | {display_index}

    def settled(self, header: FrameHeader, newest: int) -> int:
        """See `Structure`: what lies before its past reference came earlier than a frame."""
        index = header.display_index
        limit = index + header.references[0] + 1 if header.references else newest + 1
        return min(index, max(limit, index - REACH + 1))

    def _knows(self, header: FrameHeader) -> bool:
        match header.frame_type, header.references:
            case FrameType.I, ():
                return True
            case FrameType.P, (past,):
                return -REACH <= past < 0
            case FrameType.B, (past, future):
                return 0 < -past <= future <= 1 - past and future - past <= REACH
        return False

    def _known(self) -> str:
        return f"I frames, P frames (-{REACH} to -1) and B frames half-way between two others"


_I, _P = FrameType.I, FrameType.P
STRUCTURES: dict[str, Structure] = {
    "all-intra": Structure(CodingStructure.ALL_INTRA, {_I: ()}, predicts=False, usual_period=1),
    "low-delay": Structure(
        CodingStructure.LOW_DELAY,
        {kind: USUAL_REFERENCES[kind] for kind in (_I, _P)},
        predicts=True,
        usual_period=32,
    ),
    "random-access": RandomAccess(
        CodingStructure.RANDOM_ACCESS, {}, predicts=True, usual_period=32, reorders=True
    ),
}


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How one frame is to be coded."""

    display_index: int
    frame_type: FrameType
    references: tuple[int, ...]  # each: display index of the reference minus that of the frame


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """How the frames of a sequence are to be coded; see `make_plan`.

    Attributes:
        structure: of the sequence.
        intra_period: frames from one intra frame to the next; -1: only where a period begins.
        refresh: frames from an intra frame to the next additional one; 0: none.
    """

    structure: Structure
    intra_period: int
    refresh: int = 0

    def is_intra(self, display_index: int, period_start: int = 0) -> bool:
        """Tell whether a frame is intra.

        Args:
            display_index: of the frame.
            period_start: display index from which intra periods count, at most the frame's own:
                that of the newest scene cut, else 0.
        """
        place = self._place(display_index, period_start)
        return place == 0 or (self.refresh > 0 and place % self.refresh == 0)

    def intra_after(self, display_index: int, period_start: int = 0) -> float:
        """Tell the display index of the next intra frame after a frame; infinity: none."""
        place = self._place(display_index, period_start)
        period, refresh = self.intra_period, self.refresh
        steps = [period - place] if period > 0 else []
        steps += [refresh - place % refresh] if refresh else []
        return display_index + min(steps, default=float("inf"))

    def frame(self, display_index: int, period_start: int = 0) -> FramePlan:
        """Plan a frame of a structure that codes frames in display order; see `is_intra`."""
        frame_type = FrameType.I if self.is_intra(display_index, period_start) else FrameType.P
        return FramePlan(display_index, frame_type, self.structure.references[frame_type])

    def longest_run(self, limit: int) -> int:
        """How many frames from one intra frame to the next, additional or not; at most `limit`."""
        runs = [run for run in (self.intra_period, self.refresh) if run > 0]
        return min([*runs, limit])

    def _place(self, display_index: int, period_start: int) -> int:
        place = display_index - period_start
        return place if self.intra_period == -1 else place % self.intra_period


def make_plan(
    known: tuple[str, ...],
    structure: str | None = None,
    intra_period: int | None = None,
    refresh: int = 0,
) -> SequencePlan:
    """Plan a sequence.

    Args:
        known: names of the structures that the model can do.
        structure: one of them; None for the first.
        intra_period: frames from one intra frame to the next, 1 or more; -1: only the first frame
            is intra; None for the usual one.
        refresh: frames from an intra frame to the next additional one; 0: none.

    Raises:
        ConfigError: the model or the structure cannot do it.
    """
    name = known[0] if structure is None else structure
    if name not in known or name not in STRUCTURES:
        raise ConfigError(f"structure {name!r}: the model can do {', '.join(known)}")
    found = STRUCTURES[name]
    period = found.usual_period if intra_period is None else intra_period
    if not found.predicts and (period != 1 or refresh):
        extra = f"refresh {refresh}" if refresh else f"intra period {period}"
        raise ConfigError(f"{extra}: in {name} every frame is intra")
    if not (period == -1 or 1 <= period <= U32_MAX):
        raise ConfigError(f"intra period {period}, expected -1 or 1 to {U32_MAX}")
    if not 0 <= refresh <= U32_MAX:
        raise ConfigError(f"refresh {refresh}, expected 0 to {U32_MAX}")
    return SequencePlan(found, period, refresh)


def widest(known: tuple[str, ...]) -> Structure:
    """Give the structure that can do most, of those that a model can do.

    Raises:
        ConfigError: this version knows none of them.
    """
    found = [STRUCTURES[name] for name in known if name in STRUCTURES]
    if not found:
        raise ConfigError(f"structures {', '.join(known)}; known: {', '.join(STRUCTURES)}")
    return max(found, key=lambda structure: structure.code)


def structure_name(code: CodingStructure) -> str:
    """Name a coding structure as the command line does."""
    return code.name.lower().replace("_", "-")


def _kind(frame_type: FrameType, references: tuple[int, ...], noun: str) -> str:
    """Name frames with their references: "P frame (-1)"."""
    listed = ", ".join(f"{distance:+d}" for distance in references)
    return f"{frame_type.name} {noun} ({listed})" if listed else f"{frame_type.name} {noun}"
