"""Frames to packets: one at a time, or a few at once where pictures do not depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from kinema.bitstream.headers import FrameHeader
from kinema.codec.gains import own_units
from kinema.codec.memories import Memories
from kinema.codec.order import Order
from kinema.codec.pictures import Planes, latent_size, picture_hash, to_planes, to_tensor
from kinema.codec.reliability import rated
from kinema.codec.runtime import exact_arithmetic, network_on, prepare
from kinema.codec.structure import FramePlan, SequencePlan, Structure, make_plan
from kinema.entropy.symbols import SymbolWriter
from kinema.errors import ConfigError, ShapeError
from kinema.models.frames import Reference
from kinema.models.registry import LoadedModel
from kinema.parts.coding import Write
from kinema.parts.quality import CRF_UNITS, crf_to_units
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
class _Asked:
    """A frame to be coded, and the quality that was asked for, in 1/256 crf."""

    frame: Frame
    units: int


@dataclass(frozen=True, slots=True)
class EncoderState:
    """What an encoder knows of the frames that came. Nothing that it does changes it."""

    order: Order[_Asked]
    memories: Memories = Memories()  # noqa: RUF009  # a value as well
    shape: tuple[int, ...] = ()  # of the frames whose memories are kept, and of those that wait


@dataclass(frozen=True, slots=True)
class _Group:
    """What coding some pictures at once gave."""

    payloads: list[bytes]
    pictures: list[Planes]
    memory: object  # of the network; of use for a single picture only
    flags: int  # likewise


class Encoder:
    """Codes frames of one size. They come in display order; in random access, packets come later.

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
            structure: "all-intra", "low-delay" or "random-access"; None for the model's first.
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
        self.state = EncoderState(Order(self.plan))

    def begin_scene(self) -> None:
        """Tell that a scene begins with the next frame: it is intra, and periods count from it."""
        self.state = replace(self.state, order=self.state.order.begin_scene())

    def next_plan(self, offset: int = 0) -> FramePlan:
        """Tell how a frame to come will be coded, so many after the next one; not random access."""
        order = self.state.order
        index = order.next_index
        return self.plan.frame(index + offset, index if order.is_cut else order.period_start)

    def go_to(self, display_index: int, period_start: int = 0) -> None:
        """Go on with another frame, which must be intra; what waits for its turn is forgotten.

        Args:
            display_index: of the next frame.
            period_start: display index from which intra periods count.
        """
        order: Order[_Asked] = Order(self.plan, display_index, period_start)
        self.state = EncoderState(order)

    def encode(self, frame: Frame, *, crf: float) -> CodedPicture:
        """Code the next frame at a quality from 0 (best) to 63.

        Raises:
            ConfigError: the quality is out of range, or frames must wait: see `encode_batch`.
            ShapeError: the frame refers to one of another size.
        """
        if self.plan.structure.reorders:
            raise ConfigError(f"{self.plan.structure.name}: frames wait for others; code a batch")
        return self.encode_batch([frame], crf=crf)[0]

    def encode_batch(
        self, frames: Sequence[Frame], *, crf: float | Sequence[float]
    ) -> list[CodedPicture]:
        """Take the next frames: they are coded at once in all-intra, else one after the other.

        Errors as `encode`; the encoder is then as before.

        Args:
            frames: of one size.
            crf: quality of all, or one for each. Frames that others refer to are finer, by the
                model's `intra_gain` and `level_gains`, but for crf near 63.

        Returns:
            one picture for each frame; in random access those whose turn has come, in coding
            order: they may be of frames that came earlier.

        Raises:
            ShapeError: the frames are not of one size.
            ConfigError: there are more or fewer qualities than frames.
        """
        asked = _units(crf, len(frames))
        if not frames:
            return []
        self._check_shapes(frames)
        order, planned = self.state.order, list[tuple[FramePlan, _Asked]]()
        for frame, units in zip(frames, asked, strict=True):
            order, ready = order.take(_Asked(frame, units))
            planned += ready
        return self._code_all(planned, EncoderState(order, self.state.memories, frames[0].y.shape))

    def finish(self) -> list[CodedPicture]:
        """End the sequence: code the frames that wait for others; errors as `encode`."""
        order, planned = self.state.order.finish()
        return self._code_all(planned, replace(self.state, order=order))

    def _code_all(
        self, planned: list[tuple[FramePlan, _Asked]], after: EncoderState
    ) -> list[CodedPicture]:
        """Code frames in this order; the state is then `after`, with what they leave behind."""
        structure = self.plan.structure
        coded: list[CodedPicture] = []
        memories = after.memories
        for group in _groups(planned, structure):
            plans, frames = [plan for plan, _ in group], [asked.frame for _, asked in group]
            index, distances = plans[0].display_index, plans[0].references
            references = memories.references(index, distances)
            units = [own_units(asked.units, plan, structure, self.model) for plan, asked in group]
            result = self._code(frames, units, references)
            memories = memories.after(index, distances, result.memory, structure)
            parts = zip(group, units, result.payloads, result.pictures, strict=True)
            coded += [_coded_picture(*part, result.flags) for part in parts]
        self.state = replace(after, memories=memories)
        return coded

    def _check_shapes(self, frames: Sequence[Frame]) -> None:
        shape, structure = frames[0].y.shape, self.plan.structure
        for frame in frames:
            if frame.y.shape != shape:
                raise ShapeError(f"frames of {frame.y.shape} and {shape} in one batch")
        is_same = self.state.shape in (shape, ())
        if not is_same and (structure.reorders or self.next_plan().references):
            raise ShapeError(f"frame of {shape} refers to one of {self.state.shape}")

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
            references, flags = rated(self._network, x, qualities, size, references)
            coded = self._network.code_frame(x, qualities, size, channel, references)
            pictures = to_planes(coded.x_hat, width, height)
        return _Group([writer.finish() for writer in writers], pictures, coded.memory, flags)


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


def _groups(
    planned: list[tuple[FramePlan, _Asked]], structure: Structure
) -> list[list[tuple[FramePlan, _Asked]]]:
    """Divide frames into what is coded at once."""
    if structure.predicts:
        return [[each] for each in planned]
    return [planned] if planned else []


def _coded_picture(
    part: tuple[FramePlan, _Asked], units: int, payload: bytes, planes: Planes, flags: int
) -> CodedPicture:
    plan, asked = part
    frame = asked.frame
    header = FrameHeader(
        frame_type=plan.frame_type,
        display_index=plan.display_index,
        pts=frame.pts,
        duration=frame.duration,
        quality=units,
        references=plan.references,
        flags=flags,
        picture_hash=picture_hash(planes),
    )
    shown = Frame(*planes, frame.pts, frame.duration)
    return CodedPicture(header, payload, shown, asked.units / CRF_UNITS)
