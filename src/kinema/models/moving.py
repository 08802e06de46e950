"""What all systems with coded motion share: motion, its memory, the first alignment.

picture, previous picture --- motion search --- MotionCodec --- field
previous picture --- warp by field --- block transform --- coarse latent
coarse latent, latents of earlier frames along composed fields --- Alignment --- context
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from kinema.errors import ConfigError
from kinema.models.frames import CodedFrame, Reference
from kinema.models.intra import IntraCodec, IntraConfig, error_bits
from kinema.parts.channels import Channel, Estimate
from kinema.parts.latent_codec import CodedLatent
from kinema.parts.motion_codec import MotionCodec, MotionConfig
from kinema.parts.motion_field import VECTOR_UNITS, compose_fields
from kinema.parts.motion_scales import MotionScales, by_places, cheapest
from kinema.parts.motion_search import estimate_field, estimate_fields
from kinema.parts.planes import unpack_planes, whole_picture
from kinema.parts.temporal import Alignment, ContextConfig


@dataclass(frozen=True, kw_only=True)
class MovingConfig:
    """Everything that decides the shape of the networks."""

    intra: IntraConfig = field(default_factory=IntraConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    context: ContextConfig = field(default_factory=ContextConfig)


class Memory(NamedTuple):
    """What a coded frame leaves for those after it.

    Attributes:
        picture: (B, 96, H/8, W/8) picture units of whole samples, as it is shown.
        latents: of this frame and those before it back to the last intra frame, newest first, as
            many as the last stage looks at; (B, M, h, w) on the grid.
        fields: of the same frames to the one before each, one less than latents, newest first.
        z_hat: symbols of the hyper-latent.
        state: what a system carries on from frame to frame, (B, C, h, w) on the grid; or None.
        features: likewise, of the frame alone, (B, C, 2h, 2w) on the grid; or None.
    """

    picture: Tensor
    latents: tuple[Tensor, ...]
    fields: tuple[Tensor, ...]
    z_hat: Tensor
    state: Tensor | None = None
    features: Tensor | None = None


class MovingCodec(IntraCodec, ABC):
    """An intra codec that also knows how pictures move.

    Attributes:
        scales: at which resolution the encoder looks for motion; no decoder depends on it.
        stacks_memories: see `kinema.models.frames.StacksMemories`.
    """

    stacks_memories = True

    def __init__(self, config: MovingConfig) -> None:
        super().__init__(config.intra)
        latent = config.intra.prior.latent_channels
        self.moving_config = config
        self.scales = MotionScales()
        self.motion = MotionCodec(config.motion)
        self.alignment = Alignment(config.context, latent)

    def code_frame(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        references: tuple[Reference, ...] = (),
    ) -> CodedFrame:
        """Carry pictures through `channel`.

        Args:
            x: (B, 96, H/8, W/8) picture units, or None when decoding.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.
            references: none for an I frame; for a P frame the frame before it.

        Returns:
            the pictures as the decoder knows them.

        Raises:
            ConfigError: other references.
        """
        before = memory_of(references)
        if before is None:
            coded = self.code_intra(x, crf, size, channel)
            x_hat = self.synthesise(coded, crf)
            return CodedFrame(x_hat, coded.y_hat, self.remember(x_hat, coded, None, None))
        searched = None if x is None else self.search_motion(x, before, crf, size)
        motion = self.code_motion(searched, before, crf, size, channel)
        return self.code_predicted(x, crf, size, channel, before, motion)

    @abstractmethod
    def code_predicted(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        before: Memory,
        motion: Tensor,
    ) -> CodedFrame:
        """Carry P frames, once their motion is known; each system has its own way.

        Args:
            x: (B, 96, H/8, W/8) picture units, or None when decoding.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.
            before: memory of the previous frame.
            motion: decoded field to it, (B, 2, H/16, W/16).
        """

    @torch.no_grad()
    def search_motion(
        self, x: Tensor, before: Memory, crf: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Look for motion at the resolution that `scales` demands; encoder only.

        Returns:
            field to the previous frame, (B, 2, h, w) whole quarter samples.
        """
        usual = before.fields[0] if before.fields else None
        current, reference = (unpack_planes(p.float())[0] for p in (x, before.picture))
        scales = self.scales
        if scales.way == "full":
            return estimate_field(current, reference, usual, crf)
        fields = estimate_fields(current, reference, usual, crf, scales.factors)
        if scales.way == "rule":
            flow = fields[0] * (1 / VECTOR_UNITS)
            return by_places(fields, scales.choose(flow, (current.shape[2], current.shape[3])))

        def cost(field: Tensor) -> Tensor:
            channel = Estimate(noise=False, decide=1.0)
            motion = self.code_motion(field, before, crf, size, channel)
            coded = self.code_predicted(x, crf, size, channel, before, motion)
            return channel.bits() + error_bits(x, coded.x_hat, crf)

        return cheapest(fields, cost)

    def code_motion(
        self,
        searched: Tensor | None,
        before: Memory,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
    ) -> Tensor:
        """Decoded motion field to the previous frame, (B, 2, h, w) whole quarter samples."""
        usual = before.fields[0] if before.fields else None
        return self.motion.code(searched, usual, crf, size, channel).float()

    def chain(self, before: Memory, motion: Tensor) -> list[Tensor]:
        """Compose fields: from the frame to each of the references that `before` remembers.

        Args:
            before: memory of the previous frame.
            motion: decoded field to it, (B, 2, h, w).
        """
        chain = [motion]
        for older in before.fields[: len(before.latents) - 1]:
            chain.append(compose_fields(chain[-1], older))
        return chain

    def remember(
        self,
        x_hat: Tensor,
        coded: CodedLatent,
        before: Memory | None,
        motion: Tensor | None,
        state: Tensor | None = None,
    ) -> Memory:
        """Make the memory of a frame from its picture, its latent and what was known before."""
        count = self.moving_config.context.stage.max_references
        picture = whole_picture(x_hat.float())
        newest = self.reference_latent(coded, picture)
        latents = (newest, *(before.latents if before else ()))[:count]
        fields = () if before is None or motion is None else (motion, *before.fields)
        return Memory(picture, latents, fields[: len(latents) - 1], coded.z_hat, state)

    def reference_latent(self, coded: CodedLatent, picture: Tensor) -> Tensor:
        """What later frames will look at: cosines of whole blocks, (B, M, h, w) on the grid.

        Args:
            coded: latent of the frame.
            picture: of the frame, whole samples; here its cosines, whatever it was decoded from.
        """
        del coded
        return self.cosines(picture)


def memory_of(references: tuple[Reference, ...]) -> Memory | None:
    """Give the memory that a P frame refers to; None for an I frame.

    Raises:
        ConfigError: other references than the frame before.
    """
    if [r.distance for r in references] not in ([], [-1]):
        found = [r.distance for r in references]
        raise ConfigError(f"references at {found}; a P frame has one, at -1")
    before = references[0].memory if references else None
    assert before is None or isinstance(before, Memory)
    return before
