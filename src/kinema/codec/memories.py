"""What networks remember of coded frames: kept for as long as later frames may refer to them."""

from dataclasses import dataclass

from kinema.codec.structure import Structure
from kinema.errors import MissingReferenceError
from kinema.models.frames import Reference


@dataclass(frozen=True, slots=True)
class _Memory:
    """What a network gave with one frame."""

    display_index: int
    content: object


@dataclass(frozen=True, slots=True)
class Memories:
    """A buffer of decoded frames. It is a value: nothing that happens later changes it."""

    kept: tuple[_Memory, ...] = ()

    def references(self, display_index: int, distances: tuple[int, ...]) -> tuple[Reference, ...]:
        """Give what a frame refers to.

        Args:
            display_index: of the frame.
            distances: its references, as in the frame header.

        Raises:
            MissingReferenceError: one of them is not here.
        """
        contents = {memory.display_index: memory.content for memory in self.kept}
        for distance in distances:
            if display_index + distance not in contents:
                raise MissingReferenceError(display_index, display_index + distance)
        return tuple(Reference(contents[display_index + d], d) for d in distances)

    def after(
        self,
        display_index: int,
        references: tuple[int, ...],
        content: object,
        structure: Structure,
    ) -> "Memories":
        """Give the buffer as it is once another frame has been coded.

        Args:
            display_index: of that frame; what was kept under it is forgotten.
            references: of that frame, as in the frame header.
            content: what the network gave with it.
            structure: of the sequence; it alone decides what is kept.
        """
        indices = [memory.display_index for memory in self.kept]
        needed = structure.kept_after(indices, display_index, references)
        others = (m for m in self.kept if m.display_index != display_index)
        newest = _Memory(display_index, content)
        return Memories(tuple(m for m in (*others, newest) if m.display_index in needed))
