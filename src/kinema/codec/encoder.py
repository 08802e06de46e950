"""Frames to packets: one at a time, or a few at once where pictures do not depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kinema.bitstream.headers import FrameHeader, FrameType
from kinema.codec.pictures import latent_size, picture_hash, to_planes, to_tensor
from kinema.codec.runtime import exact_arithmetic, prepare
from kinema.entropy.symbols import SymbolWriter
from kinema.models.intra import IntraCodec
from kinema.models.registry import LoadedModel
from kinema.parts.coding import Write
from kinema.parts.quality import CRF_UNITS, crf_to_units
from kinema.video.frame import Frame

BATCH_SAMPLES = 420_000  # luma samples coded at once: four pictures of 416x240
DECIDE = 1.0  # worth of an error in rate-distortion decisions; see docs/LOG.md


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """A packet's content, and the picture that a decoder will show."""

    header: FrameHeader
    payload: bytes
    frame: Frame


class Encoder:
    """Codes frames of one size, in display order."""

    def __init__(
        self, model: LoadedModel, *, threads: int | None = None, device: str = "cpu"
    ) -> None:
        """Get ready.

        Args:
            model: from `load_model`.
            threads: of the processor; None leaves torch's setting.
            device: "cpu" or "cuda"; the coded bytes may differ, the decoded picture of given bytes
                never does.

        Raises:
            ConfigError, NumericProfileError: as `prepare`.
        """
        self._device = prepare(threads, device)
        self._model = model
        self._network = model.frozen.network.to(self._device, memory_format=torch.channels_last)
        self._num_coded = 0

    def encode(self, frame: Frame, *, crf: float) -> CodedPicture:
        """Code the next frame at a quality from 0 (best) to 63.

        Raises:
            ConfigError: the quality is out of range.
        """
        return self.encode_batch([frame], crf=crf)[0]

    def encode_batch(self, frames: Sequence[Frame], *, crf: float) -> list[CodedPicture]:
        """Code the next frames, all of one size; the bytes are those of one by one."""
        units = crf_to_units(crf)
        height, width = frames[0].y.shape
        qualities = torch.full((len(frames),), units / CRF_UNITS, device=self._device)
        writers = [SymbolWriter() for _ in frames]
        network = self._network
        if not isinstance(network, IntraCodec):
            raise TypeError(f"an intra codec is needed, not {type(network).__name__}")
        with exact_arithmetic():
            x = to_tensor(frames, self._device)
            channel = Write(writers, self._model.frozen.tables, decide=DECIDE)
            coded = network.code_frame(x, qualities, latent_size(width, height), channel)
            pictures = to_planes(coded.x_hat, width, height)
        results = []
        for frame, planes, writer in zip(frames, pictures, writers, strict=True):
            header = FrameHeader(
                frame_type=FrameType.I,
                display_index=self._num_coded,
                pts=frame.pts,
                duration=frame.duration,
                quality=units,
                picture_hash=picture_hash(planes),
            )
            shown = Frame(*planes, pts=frame.pts, duration=frame.duration)
            results.append(CodedPicture(header, writer.finish(), shown))
            self._num_coded += 1
        return results


def batch_length(width: int, height: int) -> int:
    """How many pictures of a size are worth coding at once."""
    return max(1, BATCH_SAMPLES // (width * height))
