"""Frames to packets: one at a time, or a few at once where pictures do not depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kinema.bitstream.headers import FrameHeader, FrameType
from kinema.codec.pictures import Planes, latent_size, picture_hash, to_planes, to_tensor
from kinema.codec.runtime import exact_arithmetic, network_on, prepare
from kinema.entropy.symbols import SymbolWriter
from kinema.errors import ShapeError
from kinema.models.registry import LoadedModel
from kinema.parts.coding import Write
from kinema.parts.quality import CRF_UNITS, crf_to_units
from kinema.video.frame import Frame

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
        self._network = network_on(model, self._device)
        self._tables = model.frozen.tables
        self._num_coded = 0

    def encode(self, frame: Frame, *, crf: float) -> CodedPicture:
        """Code the next frame at a quality from 0 (best) to 63.

        Raises:
            ConfigError: the quality is out of range.
        """
        return self.encode_batch([frame], crf=crf)[0]

    def encode_batch(self, frames: Sequence[Frame], *, crf: float) -> list[CodedPicture]:
        """Code the next frames, all of one size; errors as `encode`.

        Raises:
            ShapeError: they are not of one size.
        """
        units = crf_to_units(crf)
        if not frames:
            return []
        height, width = frames[0].y.shape
        for frame in frames:
            if frame.y.shape != (height, width):
                raise ShapeError(f"frames of {frame.y.shape} and {(height, width)} in one batch")
        writers = [SymbolWriter() for _ in frames]
        qualities = torch.full((len(frames),), units / CRF_UNITS, device=self._device)
        with exact_arithmetic():
            x = to_tensor(frames, self._device)
            channel = Write(writers, self._tables, decide=DECIDE)
            coded = self._network.code_frame(x, qualities, latent_size(width, height), channel)
            pictures = to_planes(coded.x_hat, width, height)
        return [
            self._packet(frame, planes, units, writer.finish())
            for frame, planes, writer in zip(frames, pictures, writers, strict=True)
        ]

    def _packet(self, frame: Frame, planes: Planes, units: int, payload: bytes) -> CodedPicture:
        header = FrameHeader(
            frame_type=FrameType.I,
            display_index=self._num_coded,
            pts=frame.pts,
            duration=frame.duration,
            quality=units,
            picture_hash=picture_hash(planes),
        )
        self._num_coded += 1
        return CodedPicture(header, payload, Frame(*planes, frame.pts, frame.duration))
