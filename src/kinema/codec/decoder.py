"""Packets to frames: the same traversal as encoding, reading instead of writing."""

from collections.abc import Sequence
from typing import Protocol

import torch

from kinema.bitstream.headers import FrameHeader
from kinema.codec.batches import batch_length, window_length
from kinema.codec.lanes import next_rows, split_lanes, take_row
from kinema.codec.memories import Memories
from kinema.codec.pictures import latent_size, picture_hash, to_planes
from kinema.codec.reliability import as_told
from kinema.codec.runtime import exact_arithmetic, network_on, prepare
from kinema.codec.structure import widest
from kinema.entropy.symbols import SymbolReader
from kinema.errors import BitstreamError, ChecksumError
from kinema.models.frames import Reference, StacksMemories
from kinema.models.registry import LoadedModel
from kinema.parts.coding import Read
from kinema.parts.quality import CRF_UNITS
from kinema.video.frame import Frame


class CodedPacket(Protocol):
    """What decoding needs of a packet, from a file or straight from an encoder."""

    @property
    def header(self) -> FrameHeader:
        """What the frame says about itself."""

    @property
    def payload(self) -> bytes:
        """Its symbols."""


class Decoder:
    """Decodes packets of one sequence, in coding order; `KinReader` puts frames in display order.

    A packet that is lost or damaged costs its frame and those that refer to it, directly or not;
    from the next intra frame on all is well again.
    """

    def __init__(
        self,
        model: LoadedModel,
        width: int,
        height: int,
        *,
        structure: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        """Get ready.

        Args:
            model: the one that the sequence header names.
            width: of the pictures.
            height: of the pictures.
            structure: of the sequence; None accepts whatever the model can do.
            threads: of the processor; None leaves torch's setting.
            device: "cpu" or "cuda"; the pictures are the same.

        Raises:
            ConfigError, NumericProfileError: as `widest` and `prepare`.
        """
        self._structure = widest(model.structures if structure is None else (structure,))
        self._device = prepare(threads, device)
        self._network = network_on(model, self._device)
        self._tables = model.frozen.tables
        self._width, self._height = width, height
        self._memories = Memories()
        is_divided = not self._structure.predicts or (
            not self._structure.reorders and isinstance(self._network, StacksMemories)
        )
        self._num_lanes = batch_length(width, height) if is_divided else 1

    def reset(self) -> None:
        """Forget all frames; the next one must be an intra frame."""
        self._memories = Memories()

    def decode(self, packet: CodedPacket) -> Frame:
        """Decode one picture.

        Raises:
            BitstreamError: the payload is not one of this model, or its structure knows no such
                frame.
            MissingReferenceError: the frame refers to one that was not decoded.
            ChecksumError: the picture is not the one that the encoder saw.
        """
        return self.decode_batch([packet])[0]

    @property
    def window(self) -> int:
        """How many packets are worth giving to `decode_batch` at a time."""
        if not self._structure.predicts:
            return self._num_lanes
        return window_length(self._num_lanes)

    def decode_batch(self, packets: Sequence[CodedPacket]) -> list[Frame]:
        """Decode pictures in coding order; runs of frames from different intra frames on at once.

        Errors as `decode`, for all of them if for one; the decoder is then as before.
        """
        if not packets:
            return []
        for packet in packets:
            self._structure.check(packet.header)
        lanes = split_lanes(packets, self._memories, self._structure)
        for first in range(0, len(lanes), self._num_lanes):
            some = lanes[first : first + self._num_lanes]
            while rows := list(next_rows(some)):
                for row in rows:
                    ready = [lane.packet for lane in row.lanes]
                    frames, memory = self._decode(ready, row.references)
                    take_row(row, frames, memory, self._structure)
        self._memories = lanes[-1].memories
        return [frame for lane in lanes for frame in lane.frames]

    def _decode(
        self, packets: Sequence[CodedPacket], references: tuple[Reference, ...]
    ) -> tuple[list[Frame], object]:
        """Decode at once; also give what the network wants to remember."""
        units = [packet.header.quality for packet in packets]
        with exact_arithmetic():
            readers = [SymbolReader(packet.payload) for packet in packets]
            qualities = torch.tensor(units, device=self._device) / CRF_UNITS
            size = latent_size(self._width, self._height)
            channel = Read(readers, self._tables)
            references = as_told(self._network, references, packets[0].header.flags)
            coded = self._network.code_frame(None, qualities, size, channel, references)
            for reader in readers:
                reader.finish()
            pictures = to_planes(coded.x_hat, self._width, self._height)
        frames = []
        for packet, planes in zip(packets, pictures, strict=True):
            header = packet.header
            if header.picture_hash not in (None, picture_hash(planes)):
                raise ChecksumError("decoded picture differs from the encoder's")
            frames.append(Frame(*planes, header.pts, header.duration))
        return frames, coded.memory


def decode_each(decoder: Decoder, packets: Sequence[CodedPacket]) -> list[Frame | BitstreamError]:
    """Decode at once; if that fails, one by one: a frame for every packet, or what is wrong."""
    try:
        return [*decoder.decode_batch(packets)]
    except BitstreamError as error:
        if len(packets) == 1:
            return [error]
    return [result for packet in packets for result in decode_each(decoder, [packet])]
