"""Whole `.kin` files: written packet by packet, read back from any packet on."""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

from kinema.bitstream.framing import (
    PacketType,
    Source,
    read_opening,
    seal_opening,
    seal_packet,
)
from kinema.bitstream.headers import FrameHeader, FrameType, SequenceHeader
from kinema.bitstream.index import Index, IndexEntry, read_index, seal_index
from kinema.bitstream.limits import DEFAULT_LIMITS, Limits, check_limit, check_range
from kinema.bitstream.packets import (
    AudioPacketData,
    DamagedPacket,
    FramePacket,
    Packet,
    pack_audio,
    pack_frame,
)
from kinema.bitstream.scanning import PacketScanner
from kinema.errors import BitstreamError, FileError

PathLike: TypeAlias = str | os.PathLike[str]


class ContainerWriter:
    """Writes a file under a temporary name beside its target; a clean exit gives it its name.

    Memory holds the index only: 29 bytes per frame, or fewer.

    Args:
        path: the target; its folder must exist.
        header: goes first.
        overwrite: whether an existing target may be replaced.
        limits: what is refused, so that a reader with the same limits accepts the file.

    Raises (constructor and methods):
        FileError: the target exists or cannot be written.
        LimitError: something exceeds the limits.
        BitstreamError: a field does not fit its place in the file.
    """

    def __init__(
        self,
        path: PathLike,
        header: SequenceHeader,
        *,
        overwrite: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        opening = seal_opening(header, limits)
        self._header = header
        self._limits = limits
        self._target = Path(path)
        self._overwrite = overwrite
        self._index = Index(limits.max_index_entries)
        self._offset = 0  # bytes written so far
        self._check_target()
        self._temporary = self._target.with_name(f".kinema-{secrets.token_hex(6)}.part")
        try:
            self._file = self._temporary.open("xb")
        except OSError as error:
            raise FileError(f"cannot create {self._target}: {error.strerror}") from error
        try:
            self._write(opening)
        except FileError:
            self._discard()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            self._discard()

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._offset

    def frame_size(self, header: FrameHeader, payload: bytes) -> int:
        """How many bytes `write_frame` would append."""
        return len(self._sealed(header, payload))

    def write_frame(self, header: FrameHeader, payload: bytes) -> None:
        """Append one picture."""
        packet = self._sealed(header, payload)
        is_intra = header.frame_type == FrameType.I
        self._index.append(IndexEntry(header.display_index, header.pts, self._offset, is_intra))
        self._write(packet)

    def write_audio(self, packet: AudioPacketData) -> None:
        """Append coded audio."""
        body = pack_audio(packet, self._header)
        self._write(seal_packet(PacketType.AUDIO, body, self._limits))

    def _sealed(self, header: FrameHeader, payload: bytes) -> bytes:
        check_limit("number of references", len(header.references), self._limits.max_references)
        type_code, fields = pack_frame(header, self._header)
        return seal_packet(type_code, fields + payload, self._limits)

    def _finish(self) -> None:
        """Write the index and the end packet, and give the file its name."""
        self._write(seal_index(self._index, self._header, self._offset, self._limits))
        self._check_target()
        try:
            self._file.close()
            self._temporary.replace(self._target)
        except OSError as error:
            raise FileError(f"cannot write {self._target}: {error.strerror}") from error

    def _discard(self) -> None:
        """Remove the temporary file, if it still has that name."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink()

    def _check_target(self) -> None:
        if self._target.is_dir():
            raise FileError(f"{self._target} is a folder, expected the name of a file")
        if self._target.exists() and not self._overwrite:
            raise FileError(f"{self._target} exists; overwriting it was not asked for")

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise FileError(f"cannot write {self._target}: {error.strerror}") from error
        self._offset += len(data)


class ContainerReader:
    """Reads a file; damage costs the damaged packets only.

    Args:
        source: a path, or a seekable binary file, which stays open.
        limits: what is refused.

    Attributes:
        header: what all pictures have in common.
        size_bytes: of the whole file.
        first_packet_offset: where the sequence header ends.

    Raises (constructor):
        FileError: the source cannot be opened or is not seekable.
        BitstreamError: the sequence header is damaged, cut off, of another version or over a limit.
    """

    def __init__(self, source: PathLike | BinaryIO, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._owned_file: BinaryIO | None = None
        name = source if isinstance(source, (str, os.PathLike)) else None
        if isinstance(source, (str, os.PathLike)):
            source = self._owned_file = _open(source)
        try:
            self._source = Source(source)
            self.header, self.first_packet_offset = read_opening(self._source, limits)
        except BitstreamError as error:
            self.close()
            if name is None:
                raise
            raise type(error)(f"{name}: {error}") from error
        except BaseException:
            self.close()
            raise
        self.size_bytes = self._source.size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exit_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if the reader opened it."""
        if self._owned_file is not None:
            self._owned_file.close()

    def packets(self, start_offset: int | None = None) -> Iterator[Packet | DamagedPacket]:
        """Go through the file, or the part of it from the packet at `start_offset` on.

        Raises:
            FileError: the system refuses to read.
            BitstreamError: `start_offset` lies outside the packets. Damage is yielded, not raised.
        """
        start = self.first_packet_offset if start_offset is None else start_offset
        check_range("start_offset", start, self.first_packet_offset, self.size_bytes)
        for packet in PacketScanner(self._source, self.header, self._limits).scan(start):
            if isinstance(packet, DamagedPacket) and self.stored_index is not None:
                end = packet.offset + packet.length_bytes
                lost_frames = self.stored_index.frames_between(packet.offset, end)
                yield replace(packet, lost_frames=lost_frames)
            else:
                yield packet

    @cached_property
    def stored_index(self) -> Index | None:
        """The index at the end of the file; None where it is missing or damaged."""
        return read_index(self._source, self.header, self.first_packet_offset, self._limits)

    @cached_property
    def index(self) -> Index:
        """The stored index, or else one made from every sound packet: reads the whole file.

        Raises:
            LimitError: the file holds more frames than the limits allow.
        """
        if self.stored_index is not None:
            return self.stored_index
        index = Index(self._limits.max_index_entries)
        for packet in self.packets():
            if isinstance(packet, FramePacket):
                header, is_intra = packet.header, packet.header.frame_type == FrameType.I
                index.append(IndexEntry(header.display_index, header.pts, packet.offset, is_intra))
        return index

    def seek_offset(self, pts: int) -> int:
        """Find where to start reading so as to decode the picture shown at `pts`.

        Returns:
            Offset of the last intra packet at or before `pts`; of the first intra packet where all
            come later; of the first packet where there is none.
        """
        entry = self.index.seek(pts)
        return self.first_packet_offset if entry is None else entry.offset


def _open(path: PathLike) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise FileError(f"cannot open {path}: {error.strerror}") from error
