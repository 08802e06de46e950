"""Frames to packets: one at a time, or a few at once where pictures do not depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from kinema.bitstream.headers import FrameHeader
from kinema.codec.memories import Memories
from kinema.codec.pictures import Planes, latent_size, picture_hash, to_planes, to_tensor
from kinema.codec.runtime import exact_arithmetic, network_on, prepare
from kinema.codec.structure import FramePlan, SequencePlan, make_plan
from kinema.entropy.symbols import SymbolWriter
from kinema.errors import ConfigError, ShapeError
from kinema.models.frames import Reference
from kinema.models.registry import LoadedModel
from kinema.parts.coding import Write
from kinema.parts.quality import CRF_UNITS, MAX_CRF, crf_to_units
from kinema.video.frame import Frame

MAX_EFFORT = 100  # passes; ten gain most of what there is
DECIDE = 1.0  # worth of an error in rate-distortion decisions; see docs/LOG.md


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """A packet's content, and the picture that a decoder will show.

    Attributes:
        crf: the quality that was asked for; the frame's own stands in its header.
    """

    header: FrameHeader
    payload: bytes
    frame: Frame
    crf: float


@dataclass(frozen=True, slots=True)
class EncoderState:
    """What an encoder knows of the frames that it has coded. Nothing that it does changes it."""

    num_coded: int = 0
    period_start: int = 0  # coding index from which intra periods count
    memories: Memories = Memories()  # noqa: RUF009  # a value as well
    shape: tuple[int, ...] = ()  # of the frames whose memories are kept


@dataclass(frozen=True, slots=True)
class _Group:
    """What coding some pictures at once gave."""

    payloads: list[bytes]
    pictures: list[Planes]
    memory: object  # of the network; of use for a single picture only


class Encoder:
    """Codes frames of one size, in display order.

    Attributes:
        model: whose networks code.
        plan: which frames are intra, and what the others refer to.
        state: put an earlier one back to code the frames after it once more.
    """

    def __init__(  # noqa: PLR0913  # what an encoding is decided by, all of it by name
        self,
        model: LoadedModel,
        *,
        structure: str | None = None,
        intra_period: int | None = None,
        refresh: int = 0,
        effort: int = 0,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        """Get ready.

        Args:
            model: from `load_model`.
            structure: "all-intra" or "low-delay"; None for the model's first.
            intra_period: frames from one intra frame to the next; -1: only the first is intra;
                None for the usual one: 1 in all-intra, else 32.
            refresh: an additional intra frame every so many frames; 0: none.
            effort: passes that improve the symbols of a frame together, 0 to 100.
            threads: of the processor; None leaves torch's setting.
            device: "cpu" or "cuda"; the coded bytes may differ, the decoded picture of given bytes
                never does.

        Raises:
            ConfigError, NumericProfileError: as `make_plan`, `check_effort` and `prepare`.
        """
        self.model = model
        self.plan: SequencePlan = make_plan(model.structures, structure, intra_period, refresh)
        self._device = prepare(threads, device)
        self._network = network_on(model, self._device)
        check_effort(effort)
        self._effort = effort
        self.state = EncoderState()

    def begin_scene(self) -> None:
        """Tell that a scene begins with the next frame: it is intra, and periods count from it."""
        self.state = replace(self.state, period_start=self.state.num_coded)

    def next_plan(self, offset: int = 0) -> FramePlan:
        """Tell how a frame to come will be coded, so many after the next one."""
        return self.plan.frame(self.state.num_coded + offset, self.state.period_start)

    def go_to(self, coding_index: int, period_start: int = 0) -> None:
        """Go on with the `coding_index`-th frame to be coded, from 0, which must be intra.

        Args:
            coding_index: of the next frame.
            period_start: coding index from which intra periods count.
        """
        self.state = EncoderState(num_coded=coding_index, period_start=period_start)

    def encode(self, frame: Frame, *, crf: float) -> CodedPicture:
        """Code the next frame at a quality from 0 (best) to 63.

        Raises:
            ConfigError: the quality is out of range.
            ShapeError: the frame refers to one of another size.
        """
        return self.encode_batch([frame], crf=crf)[0]

    def encode_batch(
        self, frames: Sequence[Frame], *, crf: float | Sequence[float]
    ) -> list[CodedPicture]:
        """Code the next frames: at once in all-intra, else one after the other.

        Errors as `encode`; the encoder is then as before.

        Args:
            frames: of one size.
            crf: quality of all, or one for each. Intra frames from which others copy are finer, by
                the model's `intra_gain`, but for crf near 63.

        Raises:
            ShapeError: the frames are not of one size.
            ConfigError: there are more or fewer qualities than frames.
        """
        asked = _units(crf, len(frames))
        if not frames:
            return []
        self._check_shapes(frames)
        lifetime = self.plan.structure.lifetime
        coded: list[CodedPicture] = []
        memories = self.state.memories
        for group in [[frame] for frame in frames] if lifetime else [frames]:
            plans = [self.next_plan(len(coded) + i) for i in range(len(group))]
            references = memories.references(plans[0].display_index, plans[0].references)
            own = asked[len(coded) : len(coded) + len(group)]
            units = [self._own_units(*part) for part in zip(own, plans, strict=True)]
            result = self._code(group, units, references)
            memories = memories.after(plans[0].display_index, result.memory, lifetime)
            headers = [
                _header(*part) for part in zip(plans, group, result.pictures, units, strict=True)
            ]
            parts = zip(headers, result.payloads, group, result.pictures, own, strict=True)
            coded += [_coded_picture(*part) for part in parts]
        num_coded = self.state.num_coded + len(coded)
        shape = frames[0].y.shape
        self.state = replace(self.state, num_coded=num_coded, memories=memories, shape=shape)
        return coded

    def _check_shapes(self, frames: Sequence[Frame]) -> None:
        shape = frames[0].y.shape
        for frame in frames:
            if frame.y.shape != shape:
                raise ShapeError(f"frames of {frame.y.shape} and {shape} in one batch")
        if self.state.shape != shape and self.next_plan().references:
            raise ShapeError(f"frame of {shape} refers to one of {self.state.shape}")

    def _own_units(self, units: int, plan: FramePlan) -> int:
        """The quality of a frame, given that of its sequence; both in 1/256 crf."""
        is_kept = not plan.references and self.plan.structure.lifetime > 0
        gain = crf_to_units(self.model.intra_gain)
        return units - min(gain, units, crf_to_units(MAX_CRF) - units) if is_kept else units

    def _code(
        self, frames: Sequence[Frame], units: list[int], references: tuple[Reference, ...]
    ) -> _Group:
        height, width = frames[0].y.shape
        writers = [SymbolWriter() for _ in frames]
        qualities = torch.tensor(units, device=self._device) / CRF_UNITS
        with exact_arithmetic():
            x = to_tensor(frames, self._device)
            tables = self.model.frozen.tables
            channel = Write(writers, tables, decide=DECIDE, passes=self._effort)
            size = latent_size(width, height)
            coded = self._network.code_frame(x, qualities, size, channel, references)
            pictures = to_planes(coded.x_hat, width, height)
        return _Group([writer.finish() for writer in writers], pictures, coded.memory)


def check_effort(effort: int) -> None:
    """Refuse what is no number of passes.

    Raises:
        ConfigError: outside 0 to 100.
    """
    if not 0 <= effort <= MAX_EFFORT:
        raise ConfigError(f"effort {effort}, expected 0 to {MAX_EFFORT}")


def _units(crf: float | Sequence[float], count: int) -> list[int]:
    """Quality of each of some frames, in 1/256 crf."""
    if isinstance(crf, int | float):
        return [crf_to_units(crf)] * count
    if len(crf) != count:
        raise ConfigError(f"{len(crf)} qualities for {count} frames")
    return [crf_to_units(each) for each in crf]


def _header(plan: FramePlan, frame: Frame, planes: Planes, units: int) -> FrameHeader:
    return FrameHeader(
        frame_type=plan.frame_type,
        display_index=plan.display_index,
        pts=frame.pts,
        duration=frame.duration,
        quality=units,
        references=plan.references,
        picture_hash=picture_hash(planes),
    )


def _coded_picture(
    header: FrameHeader, payload: bytes, frame: Frame, planes: Planes, units: int
) -> CodedPicture:
    shown = Frame(*planes, frame.pts, frame.duration)
    return CodedPicture(header, payload, shown, units / CRF_UNITS)
