"""Packets to frames: the same traversal as encoding, reading instead of writing."""

from collections.abc import Sequence
from typing import Protocol

import torch

from kinema.bitstream.headers import FrameHeader, FrameType
from kinema.codec.pictures import latent_size, picture_hash, to_planes
from kinema.codec.runtime import exact_arithmetic, network_on, prepare
from kinema.entropy.symbols import SymbolReader
from kinema.errors import BitstreamError, ChecksumError
from kinema.models.registry import LoadedModel
from kinema.parts.coding import Read
from kinema.parts.quality import CRF_UNITS
from kinema.video.frame import Frame


class CodedFrame(Protocol):
    """What decoding needs of a packet, from a file or straight from an encoder."""

    @property
    def header(self) -> FrameHeader:
        """What the frame says about itself."""

    @property
    def payload(self) -> bytes:
        """Its symbols."""


class Decoder:
    """Decodes packets of one sequence."""

    def __init__(
        self,
        model: LoadedModel,
        width: int,
        height: int,
        *,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        """Get ready.

        Args:
            model: the one that the sequence header names.
            width: of the pictures.
            height: of the pictures.
            threads: of the processor; None leaves torch's setting.
            device: "cpu" or "cuda"; the pictures are the same.

        Raises:
            ConfigError, NumericProfileError: as `prepare`.
        """
        self._device = prepare(threads, device)
        self._network = network_on(model, self._device)
        self._tables = model.frozen.tables
        self._width, self._height = width, height

    def decode(self, packet: CodedFrame) -> Frame:
        """Decode one picture.

        Raises:
            BitstreamError: the payload is not one of this model.
            ChecksumError: the picture is not the one that the encoder saw.
        """
        return self.decode_batch([packet])[0]

    def decode_batch(self, packets: Sequence[CodedFrame]) -> list[Frame]:
        """Decode intra pictures at once; errors as `decode`, for all of them if for one."""
        if not packets:
            return []
        for packet in packets:
            _check_intra(packet.header)
        units = [packet.header.quality for packet in packets]
        with exact_arithmetic():
            readers = [SymbolReader(packet.payload) for packet in packets]
            qualities = torch.tensor(units, device=self._device) / CRF_UNITS
            size = latent_size(self._width, self._height)
            channel = Read(readers, self._tables)
            coded = self._network.code_frame(None, qualities, size, channel)
            for reader in readers:
                reader.finish()
            pictures = to_planes(coded.x_hat, self._width, self._height)
        frames = []
        for packet, planes in zip(packets, pictures, strict=True):
            header = packet.header
            if header.picture_hash not in (None, picture_hash(planes)):
                raise ChecksumError("decoded picture differs from the encoder's")
            frames.append(Frame(*planes, header.pts, header.duration))
        return frames


def _check_intra(header: FrameHeader) -> None:
    if header.frame_type != FrameType.I:
        raise BitstreamError(
            f"{header.frame_type.name} frame, which refers to others; this model codes intra only"
        )
