"""The packets of a stretch of a file, one by one: which belong to it, and what is missing."""

from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.packets import AudioPacketData, DamagedPacket, FramePacket, Packet
from kinema.codec.excerpt import Span
from kinema.codec.losses import LossLog


class Stretch:
    """Watches packets go by, from an intra frame on or a little earlier, in file order."""

    def __init__(self, span: Span, header: SequenceHeader, losses: LossLog, first: int) -> None:
        """Begin a pass.

        Args:
            span: what belongs to it.
            header: of the file.
            losses: told what is missing; a pass has begun.
            first: offset of the packet of the first frame.
        """
        self._span, self._header, self._losses, self._first = span, header, losses, first

    @property
    def is_over(self) -> bool:
        """Whether nothing of it can come any more."""
        return self._span.is_far_past(self._losses.arrivals.last_pts, self._header)

    @property
    def _is_past(self) -> bool:
        """Whether its frames have come, while audio may still do so."""
        return self._span.is_past(self._losses.arrivals.last_pts)

    def has(self, packet: Packet | DamagedPacket, *, to_the_end: bool = False) -> bool:
        """Take a packet; tell whether it is sound and belongs to the stretch.

        Args:
            packet: the next one.
            to_the_end: whether damage counts after the last frame as well.
        """
        span = self._span
        if isinstance(packet, AudioPacketData):
            return span.has_audio(packet, self._header)
        if isinstance(packet, FramePacket):
            return self._is_in_order(packet) and span.has_frame(packet.header.pts)
        if (to_the_end or not self._is_past) and packet.offset + packet.length_bytes > self._first:
            self._losses.damage(packet)
        return False

    def needs(self, packet: Packet | DamagedPacket) -> bool:
        """Take a packet, as `has`; frames count too that others of the stretch may refer to."""
        if isinstance(packet, FramePacket):
            is_needed = self._span.needs(packet, self._losses.arrivals)
            return self._is_in_order(packet) and is_needed
        return self.has(packet)

    def _is_in_order(self, packet: FramePacket) -> bool:
        if self._is_past:
            self._losses.arrivals.take(packet.header)
            return False
        return packet.offset >= self._first and self._losses.is_in_order(packet)
