"""Where things start and end in a `.kin` file: its opening, and packets with sync, size and CRC-32.

file    = opening, packet, packet, ...
opening = magic (8), version (1), size (4), sequence header (size), CRC-32 (4)
packet  = sync (12 bits), type (4 bits), size (varint), body (size), CRC-32 (4)
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from io import SEEK_END
from typing import BinaryIO

from kinema.bitstream.bits import MAX_VARINT_BYTES, ByteReader, ByteWriter
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.limits import Limits, check_limit
from kinema.errors import (
    BitstreamError,
    ChecksumError,
    FileError,
    TruncatedError,
    UnsupportedVersionError,
)

MAGIC = b"\x8bKIN\r\n\x1a\n"  # not text; shows line endings that were translated on the way
FORMAT_VERSION = 1
CRC_BYTES = 4
_MAGIC_HEX = MAGIC.hex(" ")
OPENING_BYTES = len(MAGIC) + 1 + 4  # up to the sequence header

SYNC = 0xD5A  # 12 bits in front of the packet type
_SYNC_PATTERN = re.compile(rb"\xd5[\xa0-\xaf]")
MAX_HEAD_BYTES = 2 + MAX_VARINT_BYTES


class PacketType(IntEnum):
    """The types 12 to 15; the types below are frames: 4 * FrameType + two flags."""

    AUDIO = 12
    INDEX = 13
    END = 14
    OPTIONAL = 15  # for additions that a reader may skip


@dataclass(frozen=True, slots=True)
class RawPacket:
    """A packet whose checksum holds."""

    type_code: int  # 0..15
    body: bytes
    offset: int  # of the first sync byte in the file
    length_bytes: int  # everything: sync to CRC


class Source:
    """A seekable file read at any offset.

    Raises:
        FileError: the system refuses.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes_read = 0  # so far
        try:
            self.size_bytes = file.seek(0, SEEK_END)
        except OSError as error:
            raise FileError(f"the container must be a seekable file: {error}") from error

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes, fewer only at the end of the file."""
        try:
            self._file.seek(offset)
            data = self._file.read(length)
        except OSError as error:
            raise FileError(f"cannot read {length} bytes at byte {offset}: {error}") from error
        self.bytes_read += len(data)
        return data

    def read_exactly(self, offset: int, length: int) -> bytes:
        """Read `length` bytes.

        Raises:
            TruncatedError: the file ends before; nothing is allocated then.
        """
        num_left = self.size_bytes - offset
        data = self.read(offset, length) if length <= num_left else b""
        if len(data) < length:
            raise TruncatedError(f"the file ends {num_left} bytes on, expected {length}")
        return data


def seal_opening(header: SequenceHeader, limits: Limits) -> bytes:
    """Give the first bytes of a file, after checking that a reader will accept them.

    Raises:
        BitstreamError: a field does not fit.
        LimitError: a field exceeds the limits.
    """
    body = header.to_bytes()
    check_limit("size of the sequence header", len(body), limits.max_header_bytes)
    SequenceHeader.from_bytes(body, limits)
    writer = ByteWriter()
    writer.write(MAGIC)
    writer.write_uint(FORMAT_VERSION, 1)
    writer.write_uint(len(body), 4)
    writer.write(body)
    return _with_crc(writer.to_bytes())


def read_opening(source: Source, limits: Limits) -> tuple[SequenceHeader, int]:
    """Read the sequence header; also tell the offset of the first packet.

    Raises:
        BitstreamError: the file is none of ours, or damaged, or from the future, or over a limit.
    """
    start = source.read(0, OPENING_BYTES)
    magic, version = start[: len(MAGIC)], start[len(MAGIC) : len(MAGIC) + 1]
    if not MAGIC.startswith(magic):
        raise BitstreamError(
            f"the file starts with {magic.hex(' ')}, a .kin file with {_MAGIC_HEX}"
        )
    if version and version[0] != FORMAT_VERSION:
        raise UnsupportedVersionError(
            f"format version {version[0]} at byte 8, this library reads version {FORMAT_VERSION}"
        )
    if len(start) < OPENING_BYTES:
        raise TruncatedError(f"the file ends after {len(start)} bytes, inside its sequence header")
    size = int.from_bytes(start[-4:], "little")
    check_limit("size of the sequence header", size, limits.max_header_bytes)
    try:
        data = _read_checked(source, 0, OPENING_BYTES + size)
        return SequenceHeader.from_bytes(data[OPENING_BYTES:], limits), len(data) + CRC_BYTES
    except BitstreamError as error:
        raise type(error)(f"sequence header: {error}") from error


def seal_packet(type_code: int, body: bytes, limits: Limits) -> bytes:
    """Put sync, type, size and CRC-32 around a body.

    Raises:
        LimitError: the body is too large.
    """
    check_limit("size of the packet", len(body), limits.max_packet_bytes)
    writer = ByteWriter()
    writer.write((SYNC << 4 | type_code).to_bytes(2, "big"))
    writer.write_block(body)
    return _with_crc(writer.to_bytes())


def read_packet(source: Source, offset: int, limits: Limits) -> RawPacket:
    """Read the packet that starts at `offset`.

    Raises:
        BitstreamError: there is none, or it is damaged, cut off or over a limit.
    """
    reader = ByteReader(source.read(offset, MAX_HEAD_BYTES))
    start = int.from_bytes(reader.read(2), "big")
    if start >> 4 != SYNC:
        raise BitstreamError(f"found {start:04x}, expected a packet, {SYNC:03x}x")
    size = reader.read_varint()
    check_limit("size of the packet", size, limits.max_packet_bytes)
    head_bytes = reader.position
    data = _read_checked(source, offset, head_bytes + size)
    return RawPacket(start & 0xF, data[head_bytes:], offset, len(data) + CRC_BYTES)


def find_sync(source: Source, offset: int) -> Iterator[int]:
    """Go through the offsets at or after `offset` where a packet may start."""
    length = 256  # grows, so that many short searches stay cheap
    while offset < source.size_bytes - 1:
        chunk = source.read(offset, length)
        for match in _SYNC_PATTERN.finditer(chunk):
            yield offset + match.start()
        if len(chunk) < 2:
            return
        offset += len(chunk) - 1  # a pair may straddle two chunks
        length = min(2 * length, 1 << 16)


def _with_crc(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(CRC_BYTES, "little")


def _read_checked(source: Source, offset: int, length: int) -> bytes:
    """Read bytes that the CRC-32 behind them protects."""
    data = source.read_exactly(offset, length + CRC_BYTES)
    stored, computed = int.from_bytes(data[length:], "little"), zlib.crc32(data[:length])
    if stored != computed:
        raise ChecksumError(f"CRC-32 is {computed:08x}, expected {stored:08x}")
    return data[:length]
