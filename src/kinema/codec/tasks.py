"""What workers do with a chunk: frames to packets, packets to planes."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from kinema.bitstream.container import ContainerWriter
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.packets import FramePacket
from kinema.codec.chunk_input import read_chunk
from kinema.codec.chunk_store import Facts
from kinema.codec.decoder import Decoder, decode_each
from kinema.codec.encoder import CodedPicture, Encoder
from kinema.codec.encoding import EncodeSettings
from kinema.codec.headers import CODEC_LIMITS, check_decodable, packed_audio
from kinema.codec.interleaving import Interleaving
from kinema.codec.reader import DecodeSettings
from kinema.codec.structure import structure_name
from kinema.codec.workers import Run
from kinema.errors import BitstreamError, WeightsMismatchError
from kinema.models.registry import LoadedModel, load_model
from kinema.version import VERSION
from kinema.video.frame import Frame
from kinema.video.quality import psnr_planes

Losses: TypeAlias = dict[int, BitstreamError]  # by place in the chunk: why there is no picture


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """What a worker does: frames of a chunk in, a `.kin` file of their packets out.

    Attributes:
        settings: those of the encoding, with the number of threads spelled out.
        header: of the whole sequence.
        version: of the parent; another machine may have another one.
    """

    settings: EncodeSettings
    header: SequenceHeader
    version: str = VERSION

    def open(self) -> Run:
        """Load the model.

        Raises:
            WeightsMismatchError: this machine has another version or other weights.
        """
        encoder = self.settings.open_encoder()
        if (self.version, self.header.weights_fingerprint) != (
            VERSION,
            encoder.model.fingerprint,
        ):
            raise WeightsMismatchError(
                f"a worker has kinema {VERSION} with weights "
                f"{encoder.model.fingerprint.hex()}; needed: {self.version} with "
                f"{self.header.weights_fingerprint.hex()}"
            )
        return partial(self._code, encoder)

    def _code(self, encoder: Encoder, file: BinaryIO, target: Path) -> Facts:
        chunk = read_chunk(file)
        encoder.go_to(chunk.first_frame - len(chunk.lead), chunk.period_start)
        encoder.encode_batch(chunk.lead, crf=self.settings.crf)  # lies in the chunk before
        queue = Interleaving(encoder.plan.structure, chunk.first_frame)
        psnr: list[tuple[float, float, float]] = []
        with ContainerWriter(target, self.header, overwrite=True, limits=CODEC_LIMITS) as writer:
            for items, is_cut in chunk.batches:
                if is_cut:
                    encoder.begin_scene()
                for item in items:
                    queue.add(item)
                frames = [item for item in items if isinstance(item, Frame)]
                pictures = encoder.encode_batch(frames, crf=self.settings.crf)
                psnr += _write(writer, queue, pictures)
            psnr += _write(writer, queue, encoder.finish())
        return {"psnr": psnr}


def _write(
    writer: ContainerWriter, queue: Interleaving, pictures: list[CodedPicture]
) -> Iterator[tuple[float, float, float]]:
    """Write pictures, and audio between them; give PSNR of Y, U and V."""
    for packet in queue.audio():
        writer.write_audio(packed_audio(packet))
    for picture in pictures:
        writer.write_frame(picture.header, picture.payload)
        quality = psnr_planes(queue.take(picture.header), picture.frame)
        yield quality.y, quality.u, quality.v
        for packet in queue.audio():
            writer.write_audio(packed_audio(packet))


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """What a worker does: packets of a chunk in, planes of their pictures out, one after the other.

    Attributes:
        settings: device and threads.
        header: of the file.
        model: by name, or what a user brought along.
    """

    settings: DecodeSettings
    header: SequenceHeader
    model: str | LoadedModel

    def open(self) -> Run:
        """Load the model.

        Raises:
            WeightsMismatchError: this machine has other weights than the file needs.
        """
        model = load_model(self.model) if isinstance(self.model, str) else self.model
        check_decodable(self.header, model)
        decoder = Decoder(
            model,
            self.header.width,
            self.header.height,
            structure=structure_name(self.header.structure),
            threads=self.settings.threads,
            device=self.settings.device,
        )
        return partial(_decode, decoder)


def _decode(decoder: Decoder, file: BinaryIO, target: Path) -> Losses:
    lead: list[FramePacket]
    batches: list[list[FramePacket]]
    lead, batches = pickle.load(file)  # noqa: S301  # the parent wrote it
    decoder.reset()
    decode_each(decoder, lead)  # its pictures belong to the chunk before
    losses: Losses = {}
    packets = [packet for batch in batches for packet in batch]
    length = decoder.window
    with target.open("wb") as output:
        for first in range(0, len(packets), length):
            window = decode_each(decoder, packets[first : first + length])
            for place, decoded in enumerate(window, first):
                if isinstance(decoded, Frame):
                    for plane in decoded.planes:
                        output.write(np.ascontiguousarray(plane).data)
                else:
                    losses[place] = decoded
    return losses
