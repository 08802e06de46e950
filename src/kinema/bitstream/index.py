"""The seek index: where each frame stands in the file, compactly in memory and in bytes."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Self

from kinema.bitstream.bits import SIGNED_MAX, U32_MAX, ByteReader, ByteWriter
from kinema.bitstream.framing import PacketType, Source, read_packet, seal_packet
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.limits import Limits, check_limit, check_range
from kinema.errors import BitstreamError

END_BODY_BYTES = 8  # offset of the index packet
END_PACKET_BYTES = 15  # sync and type 2, size 1, body 8, CRC-32 4
OFFSET_MAX = (1 << 60) - 1
IS_INTRA, IS_IRREGULAR = 2, 1  # below 4 * the distance from one packet to the next


class IndexEntry(NamedTuple):
    """One frame, in file order."""

    display_index: int
    pts: int  # units of the sequence's time_base
    offset: int  # of its packet in the file
    is_intra: bool


class Index:
    """A growing list of entries, 25 bytes each and 4 more for intra frames.

    Where times grow from entry to entry, as in sound files without B frames, looking for one is
    quick.

    Raises (`append`, `from_bytes`):
        LimitError: more entries than `max_entries`.
        BitstreamError: offsets do not grow, or a value is outside its range.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._display_index = array("Q")
        self._pts = array("q")
        self._offset = array("Q")
        self._is_intra = array("B")
        self._intra_places = array("I")  # of intra frames among the entries
        self._is_ordered = True  # by pts

    def __len__(self) -> int:
        return len(self._offset)

    def __getitem__(self, i: int) -> IndexEntry:
        is_intra = self._is_intra[i] == 1
        return IndexEntry(self._display_index[i], self._pts[i], self._offset[i], is_intra)

    def __iter__(self) -> Iterator[IndexEntry]:
        return (self[i] for i in range(len(self)))

    def append(self, entry: IndexEntry) -> None:
        """Add the frame that follows the last one in the file."""
        check_limit("number of frames", len(self) + 1, self._max_entries)
        lowest = self._offset[-1] + 1 if self._offset else 0
        check_range("offset in the index", entry.offset, lowest, OFFSET_MAX)
        check_range("display_index in the index", entry.display_index, 0, U32_MAX)
        check_range("pts in the index", entry.pts, -SIGNED_MAX - 1, SIGNED_MAX)
        self._is_ordered = self._is_ordered and (not self._pts or self._pts[-1] < entry.pts)
        if entry.is_intra:
            self._intra_places.append(len(self))
        self._display_index.append(entry.display_index)
        self._pts.append(entry.pts)
        self._offset.append(entry.offset)
        self._is_intra.append(entry.is_intra)

    def seek(self, pts: int) -> IndexEntry | None:
        """Find the last intra frame at or before `pts`; the first one where all come later."""
        places, pts_of = self._intra_places, self._pts.__getitem__
        if not places:
            return None
        if self._is_ordered:
            return self[places[max(0, bisect_right(places, pts, key=pts_of) - 1)]]
        before = (place for place in places if self._pts[place] <= pts)
        return self[max(before, key=pts_of, default=places[0])]

    def pts_of(self, display_index: int) -> int | None:
        """Find the time of a frame by its display index; None where there is no such frame."""
        try:
            return self._pts[self._display_index.index(display_index)]
        except ValueError:
            return None

    def place_of(self, offset: int) -> int:
        """Find the place among the entries of the frame whose packet starts at `offset`."""
        return bisect_left(self._offset, offset)

    @property
    def times(self) -> Sequence[int]:
        """Times of all frames in the order in which they are shown."""
        return self._pts if self._is_ordered else sorted(self._pts)

    def pts_from(self, pts: float) -> Iterator[int]:
        """Go through the times that are not before `pts`, in the order in which they are shown."""
        times = self.times
        return islice(times, bisect_left(times, pts), None)

    def shown_at(self, pts: int) -> int | None:
        """Find the time of the frame that is shown at `pts`: the last one that is not after it."""
        if self._is_ordered:
            place = bisect_right(self._pts, pts)
            return self._pts[place - 1] if place else None
        return max((time for time in self._pts if time <= pts), default=None)

    def count_from(self, pts: int, last: int | None) -> int:
        """Count the frames from one time to another, both included; None: to the last frame."""
        if self._is_ordered:
            end = len(self) if last is None else bisect_right(self._pts, last)
            return max(0, end - bisect_left(self._pts, pts))
        return sum(pts <= time and (last is None or time <= last) for time in self._pts)

    def frames_between(self, begin: int, end: int) -> tuple[int, ...]:
        """Name the frames whose packets start in bytes `begin..end - 1`, by display index."""
        first, last = bisect_left(self._offset, begin), bisect_left(self._offset, end)
        return tuple(self._display_index[first:last])

    def to_bytes(self, sequence: SequenceHeader) -> bytes:
        """Pack as the body of an index packet: 2 or 3 bytes for most frames in a steady cadence."""
        writer = ByteWriter()
        usual_pts = sequence.cadence()
        last_offset, last_display_index = 0, -1
        for display_index, pts, offset, is_intra in self:
            step = display_index - last_display_index
            delay = pts - usual_pts(display_index)
            is_irregular = step != 1 or delay != 0
            writer.write_varint(4 * (offset - last_offset) + IS_INTRA * is_intra + is_irregular)
            if is_irregular:
                writer.write_signed(step)
                writer.write_signed(delay)
            last_offset, last_display_index = offset, display_index
        return writer.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, sequence: SequenceHeader, max_entries: int) -> Self:
        """Invert `to_bytes`; errors also as in ByteReader."""
        reader, index = ByteReader(data), cls(max_entries)
        usual_pts = sequence.cadence()
        offset, display_index = 0, -1
        while reader.num_left:
            code = reader.read_varint()
            offset += code >> 2
            is_irregular = code & IS_IRREGULAR
            display_index += reader.read_signed() if is_irregular else 1
            delay = reader.read_signed() if is_irregular else 0
            pts = usual_pts(display_index) + delay
            index.append(IndexEntry(display_index, pts, offset, code & IS_INTRA != 0))
        return index


def seal_index(index: Index, sequence: SequenceHeader, offset: int, limits: Limits) -> bytes:
    """Give the last bytes of a file: index packet, which starts at `offset`, and end packet.

    Raises:
        LimitError: the index is larger than a packet may be.
    """
    end_body = offset.to_bytes(END_BODY_BYTES, "little")
    return seal_packet(PacketType.INDEX, index.to_bytes(sequence), limits) + seal_packet(
        PacketType.END, end_body, limits
    )


def read_index(
    source: Source, sequence: SequenceHeader, first_offset: int, limits: Limits
) -> Index | None:
    """Read the index through the end packet; None where either is missing or damaged.

    Args:
        source: the file.
        sequence: its header.
        first_offset: of the first packet.
        limits: bounds the number of entries.
    """
    try:
        end = _read_packet(source, source.size_bytes - END_PACKET_BYTES, PacketType.END, limits)
        index_offset = int.from_bytes(end, "little")
        check_range("offset of the index", index_offset, first_offset, source.size_bytes)
        body = _read_packet(source, index_offset, PacketType.INDEX, limits)
        index = Index.from_bytes(body, sequence, limits.max_index_entries)
        if index:
            check_range("first offset in the index", index[0].offset, first_offset, OFFSET_MAX)
            check_range("last offset in the index", index[-1].offset, first_offset, index_offset)
    except BitstreamError:
        return None
    return index


def _read_packet(source: Source, offset: int, expected: PacketType, limits: Limits) -> bytes:
    raw = read_packet(source, offset, limits)
    if raw.type_code != expected:
        raise BitstreamError(f"packet type {raw.type_code}, expected {expected}")
    return raw.body
