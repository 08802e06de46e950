"""Runs of frames that do not depend on each other, side by side: a picture of each at a time.

Small pictures do not keep a processor busy. So the first frames of several runs, which are intra,
are decoded at once, then the second ones, and so on; an all-intra sequence is the simplest case.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kinema.codec.memories import Memories
from kinema.codec.structure import Structure
from kinema.models.frames import Reference
from kinema.models.stacking import layout, stack, unstack
from kinema.video.frame import Frame

if TYPE_CHECKING:  # it imports this module
    from kinema.codec.decoder import CodedPacket


@dataclass(slots=True)
class Lane:
    """A run of packets, from an intra frame up to the next.

    Attributes:
        packets: in coding order.
        memories: what its next frame may refer to.
        frames: those decoded so far.
    """

    packets: list["CodedPacket"]
    memories: Memories
    frames: list[Frame] = field(default_factory=list)

    @property
    def packet(self) -> "CodedPacket":
        """The next one to be decoded."""
        return self.packets[len(self.frames)]

    @property
    def is_done(self) -> bool:
        """Whether all have been decoded."""
        return len(self.frames) == len(self.packets)

    def take(self, frame: Frame, memory: object, structure: Structure) -> None:
        """Take what the next packet turned out to be, and what the network remembers of it."""
        header = self.packet.header
        self.memories = self.memories.after(
            header.display_index, header.references, memory, structure
        )
        self.frames.append(frame)


@dataclass(frozen=True, slots=True)
class Row:
    """Lanes whose next packets can be decoded at once.

    Attributes:
        lanes: one or more.
        references: of those packets, stacked.
    """

    lanes: list[Lane]
    references: tuple[Reference, ...]


def split_lanes(
    packets: Sequence["CodedPacket"], memories: Memories, structure: Structure
) -> list[Lane]:
    """Divide packets in coding order; the first lane may go on from earlier frames."""
    lanes: list[Lane] = []
    for packet in packets:
        begins = not structure.reorders and not packet.header.references
        if begins or not lanes:
            lanes.append(Lane([], Memories() if lanes else memories))
        lanes[-1].packets.append(packet)
    return lanes


def next_rows(lanes: Sequence[Lane]) -> Iterator[Row]:
    """Bring together lanes whose next packets are alike: in their references and their flags.

    Raises:
        MissingReferenceError: a reference is not there.
    """
    alike: dict[Hashable, list[tuple[Lane, tuple[Reference, ...]]]] = {}
    for lane in lanes:
        if lane.is_done:
            continue
        header = lane.packet.header
        references = lane.memories.references(header.display_index, header.references)
        layouts = [layout(r.memory) for r in references] if len(lanes) > 1 else []
        key = (header.references, header.flags, *layouts)
        alike.setdefault(key, []).append((lane, references))
    for group in alike.values():
        together = zip(*(references for _, references in group), strict=True)
        yield Row([lane for lane, _ in group], tuple(_join(each) for each in together))


def take_row(row: Row, frames: list[Frame], memory: object, structure: Structure) -> None:
    """Give each lane its own of what decoding a row gave."""
    count = len(row.lanes)
    memories = unstack(memory, count) if structure.predicts else [None] * count
    for lane, frame, own in zip(row.lanes, frames, memories, strict=True):
        lane.take(frame, own, structure)


def _join(references: Sequence[Reference]) -> Reference:
    first = references[0]
    return Reference(stack([r.memory for r in references]), first.distance, first.level)
