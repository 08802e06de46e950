"""Coding structures: which frames stand alone, what the others refer to, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass

from kinema.bitstream.bits import U32_MAX
from kinema.bitstream.headers import USUAL_REFERENCES, CodingStructure, FrameHeader, FrameType
from kinema.errors import BitstreamError, ConfigError


@dataclass(frozen=True, slots=True)
class Structure:
    """What holds for every sequence of a structure; encoder and decoder rely on it.

    Attributes:
        code: as it stands in the sequence header; a later one can do all that an earlier one can.
        references: of each type of frame that it knows, as in the frame header.
        lifetime: how many frames, in coding order, may still refer to one that has been coded.
        usual_period: frames from one intra frame to the next unless a user says otherwise.
    """

    code: CodingStructure
    references: Mapping[FrameType, tuple[int, ...]]
    lifetime: int
    usual_period: int

    @property
    def name(self) -> str:
        """As the command line has it."""
        return structure_name(self.code)

    def check(self, header: FrameHeader) -> None:
        """Refuse a frame that the structure does not know.

        Raises:
            BitstreamError: it refers to other frames than its type does here.
        """
        kind = header.frame_type
        if self.references.get(kind) != header.references:
            known = " and ".join(_kind(k, refs, "frames") for k, refs in self.references.items())
            found = _kind(kind, header.references, "frame")
            raise BitstreamError(f"{found}; {self.name} has {known} only")


_I, _P = FrameType.I, FrameType.P
STRUCTURES: dict[str, Structure] = {
    "all-intra": Structure(CodingStructure.ALL_INTRA, {_I: ()}, lifetime=0, usual_period=1),
    "low-delay": Structure(
        CodingStructure.LOW_DELAY,
        {kind: USUAL_REFERENCES[kind] for kind in (_I, _P)},
        lifetime=1,
        usual_period=32,
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

    def frame(self, coding_index: int, period_start: int = 0) -> FramePlan:
        """Plan a frame. Both structures code frames in display order.

        Args:
            coding_index: it is the so-many-th to be coded, from 0.
            period_start: coding index from which intra periods count, at most the frame's own:
                that of the newest scene cut, else 0.
        """
        place = coding_index - period_start
        place = place if self.intra_period == -1 else place % self.intra_period
        is_intra = place == 0 or (self.refresh and place % self.refresh == 0)
        frame_type = FrameType.I if is_intra else FrameType.P
        return FramePlan(coding_index, frame_type, self.structure.references[frame_type])

    def longest_run(self, limit: int) -> int:
        """How many frames from one intra frame to the next, additional or not; at most `limit`."""
        runs = [run for run in (self.intra_period, self.refresh) if run > 0]
        return min([*runs, limit])


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
    if not found.lifetime and (period != 1 or refresh):
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
