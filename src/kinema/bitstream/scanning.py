"""One pass over the packets of a file that finds its way again after damage.

The rule: where no sound packet starts at the expected place, the next packet is the first sound one
after that place; everything between is one stretch of damage. The search is bounded: see `Limits`.
"""

from collections.abc import Iterator

from kinema.bitstream.framing import PacketType, RawPacket, Source, find_sync, read_packet
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.limits import Limits
from kinema.bitstream.packets import DamagedPacket, Packet, read_content
from kinema.errors import BitstreamError, LimitError, TruncatedError

CANDIDATE_COST = 4096  # bytes' worth of effort to look at one place where a packet might start
FREE_EFFORT = 1 << 24  # so that small files are searched through


class PacketScanner:
    """Yields every sound packet from an offset on, and a report for every stretch of damage.

    Packets of type index and optional are passed over; the end packet ends the pass.
    """

    def __init__(self, source: Source, sequence: SequenceHeader, limits: Limits) -> None:
        self._source = source
        self._sequence = sequence
        self._limits = limits
        self._effort_left = 0

    def scan(self, offset: int) -> Iterator[Packet | DamagedPacket]:
        """Go through the packets at and after `offset`."""
        end = self._source.size_bytes
        self._effort_left = FREE_EFFORT + self._limits.max_search_effort * end
        while offset < end:
            try:
                raw, content = self._read(offset)
            except BitstreamError as error:
                damage = self._measure_damage(offset, error)
                yield damage
                offset += damage.length_bytes
                if offset == end:
                    return
                continue
            if content is not None:
                yield content
            if raw.type_code == PacketType.END:
                return
            offset += raw.length_bytes
        cut = TruncatedError(f"the file ends at byte {end}, expected more packets or the index")
        yield DamagedPacket(end, 0, cut, None)

    def _read(self, offset: int) -> tuple[RawPacket, Packet | None]:
        raw = read_packet(self._source, offset, self._limits)
        return raw, read_content(raw, self._sequence, self._limits)

    def _measure_damage(self, offset: int, reason: BitstreamError) -> DamagedPacket:
        """Find where the damage at `offset` ends."""
        try:
            end = self._find_sound_packet(offset + 1)
        except LimitError as error:
            reason, end = error, self._source.size_bytes
        located = type(reason)(f"packet at byte {offset}: {reason}")
        return DamagedPacket(offset, end - offset, located, None)

    def _find_sound_packet(self, offset: int) -> int:
        """Give the offset of the first sound packet at or after `offset`, or the end of the file.

        Raises:
            LimitError: too many places looked like a packet and were none.
        """
        for candidate in find_sync(self._source, offset):
            if self._effort_left < 0:
                raise LimitError(f"gave up at byte {candidate}, after too many false packet starts")
            bytes_read = self._source.bytes_read
            try:
                self._read(candidate)
            except BitstreamError:
                self._effort_left -= CANDIDATE_COST + self._source.bytes_read - bytes_read
            else:
                return candidate
        return self._source.size_bytes
