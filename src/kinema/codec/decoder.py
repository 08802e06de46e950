"""Packets to frames: the same traversal as encoding, reading instead of writing."""

from collections.abc import Sequence

import torch

from kinema.bitstream.packets import FramePacket
from kinema.codec.pictures import latent_size, picture_hash, to_planes
from kinema.codec.runtime import exact_arithmetic, prepare
from kinema.entropy.symbols import SymbolReader
from kinema.errors import BitstreamError, ChecksumError
from kinema.models.intra import IntraCodec
from kinema.models.registry import LoadedModel
from kinema.parts.coding import Read
from kinema.parts.quality import CRF_UNITS
from kinema.video.frame import Frame


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
        self._model, self._width, self._height = model, width, height
        self._network = model.frozen.network.to(self._device, memory_format=torch.channels_last)

    def decode(self, packet: FramePacket) -> Frame:
        """Decode one picture.

        Raises:
            BitstreamError: the payload is not one of this model.
            ChecksumError: the picture is not the one that the encoder saw.
        """
        return self.decode_batch([packet])[0]

    def decode_batch(self, packets: Sequence[FramePacket]) -> list[Frame]:
        """Decode intra pictures at once; errors as `decode`."""
        network = self._network
        if not isinstance(network, IntraCodec):
            raise TypeError(f"an intra codec is needed, not {type(network).__name__}")
        units = [packet.header.quality for packet in packets]
        with exact_arithmetic():
            readers = [SymbolReader(packet.payload) for packet in packets]
            qualities = torch.tensor(units, device=self._device) / CRF_UNITS
            size = latent_size(self._width, self._height)
            coded = network.code_frame(
                None, qualities, size, Read(readers, self._model.frozen.tables)
            )
            for reader in readers:
                reader.finish()
            pictures = to_planes(coded.x_hat, self._width, self._height)
        frames = []
        for packet, planes in zip(packets, pictures, strict=True):
            header = packet.header
            if header.references:
                raise BitstreamError(
                    f"frame {header.display_index} refers to others; this model codes intra only"
                )
            if header.picture_hash not in (None, picture_hash(planes)):
                raise ChecksumError(
                    f"frame {header.display_index} at byte {packet.offset}: decoded picture "
                    "differs from the encoder's"
                )
            frames.append(Frame(*planes, pts=header.pts, duration=header.duration))
        return frames
