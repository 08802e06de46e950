"""The dual-domain codec: one transform for all frames; earlier frames change bits, not pictures.

    x --- Analysis --- y --- LatentCodec --- y_hat --- Synthesis --- x_hat     every frame
                               `--- guided by the spatial prior                 I frame
                               `--- guided by TemporalPrior(context)            P frame
    field --- MotionCodec; previous picture, latents, fields --- context        P frame

Symbols and picture of a frame are those that it would have as an intra frame. So quality neither
drifts nor pulses, and an intra frame can stand anywhere.

Source: error-propagation-free codec with dual-domain progressive temporal alignment (arXiv
2512.10450), of which the abstract and summaries could be read. docs/papers/dual_domain.md says what
is the same, what is different and what the paper leaves open.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from kinema.errors import ConfigError
from kinema.models.frames import CodedFrame, Reference
from kinema.models.intra import IntraCodec, IntraConfig
from kinema.nn.exact import HIGH, LOW
from kinema.parts.channels import Channel
from kinema.parts.latent_codec import CodedLatent, LatentInput
from kinema.parts.motion_codec import MotionCodec, MotionConfig
from kinema.parts.motion_field import compose_fields, sample_cells, warp_picture, whole_picture
from kinema.parts.motion_search import estimate_field
from kinema.parts.planes import unpack_planes
from kinema.parts.temporal import (
    Alignment,
    BlockTransform,
    Context,
    ContextConfig,
    TemporalGuide,
    TemporalPrior,
)


@dataclass(frozen=True, kw_only=True)
class DualDomainConfig:
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
    """

    picture: Tensor
    latents: tuple[Tensor, ...]
    fields: tuple[Tensor, ...]
    z_hat: Tensor


class DualDomainCodec(IntraCodec):
    """I and P frames at any quality from one network.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    def __init__(self, config: DualDomainConfig) -> None:
        super().__init__(config.intra)
        prior = config.intra.prior
        self.context_config = config.context
        self.motion = MotionCodec(config.motion)
        self.coarse = BlockTransform(prior.latent_channels)
        self.alignment = Alignment(config.context, prior.latent_channels)
        self.temporal = TemporalPrior(prior, config.context.stage.stream_channels)

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
        if [r.distance for r in references] not in ([], [-1]):
            found = [r.distance for r in references]
            raise ConfigError(f"references at {found}; a P frame has one, at -1")
        before = references[0].memory if references else None
        assert before is None or isinstance(before, Memory)
        latent = None if x is None else self.analyse(x, crf, is_final=channel.is_final)
        fields: tuple[Tensor, ...] = ()
        if before is None:
            coded = self.latent.code(latent, crf, size, channel)
        else:
            if latent is not None:
                latent = self.settle(latent, crf, size, channel)
            motion = self._code_motion(x, before, crf, size, channel)
            guide = TemporalGuide(self.temporal, self.look_back(before, motion))
            coded = self.latent.code(latent, crf, size, channel, guide)
            fields = (motion, *before.fields)
        x_hat = self.synthesis(coded.y_hat, crf)
        return CodedFrame(x_hat, coded.y_hat, self._remember(x_hat, coded, before, fields))

    def settle(
        self, latent: LatentInput, crf: Tensor, size: tuple[int, int], channel: Channel
    ) -> LatentInput:
        """Choose the symbols as for an I frame; encoder only."""
        with torch.no_grad():
            chosen = self.latent.code(latent, crf, size, channel.rehearsal())
        return LatentInput(chosen.y_hat.detach(), None, chosen.z_hat.detach())

    def look_back(self, before: Memory, motion: Tensor) -> Context:
        """Gather what earlier frames tell.

        Args:
            before: memory of the previous frame.
            motion: decoded field to it, (B, 2, h, w).
        """
        chain = [motion]
        for older in before.fields[: len(before.latents) - 1]:
            chain.append(compose_fields(chain[-1], older))
        if self.context_config.has_pixel_branch:
            coarse = self.coarse(warp_picture(before.picture, motion))
        else:
            coarse = torch.round(sample_cells(before.latents[0], motion)).clamp(LOW, HIGH)
        stream = self.alignment(coarse, list(before.latents), chain)
        return Context(stream, coarse, before.z_hat)

    def _code_motion(
        self,
        x: Tensor | None,
        before: Memory,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
    ) -> Tensor:
        """Decoded motion field to the previous frame, (B, 2, h, w) whole quarter samples."""
        usual = before.fields[0] if before.fields else None
        searched = None
        if x is not None:
            with torch.no_grad():
                current, reference = (unpack_planes(p.float())[0] for p in (x, before.picture))
                searched = estimate_field(current, reference, usual, crf)
        return self.motion.code(searched, usual, crf, size, channel).float()

    def _remember(
        self,
        x_hat: Tensor,
        coded: CodedLatent,
        before: Memory | None,
        fields: tuple[Tensor, ...],
    ) -> Memory:
        count = self.context_config.stage.max_references
        newest = self.latent.on_grid(coded.y_hat).float().clamp(LOW, HIGH)
        latents = (newest, *(before.latents if before else ()))[:count]
        picture = whole_picture(x_hat.float())
        return Memory(picture, latents, fields[: len(latents) - 1], coded.z_hat)


def build_small() -> DualDomainCodec:
    """Build the configuration that ships."""
    return DualDomainCodec(DualDomainConfig())
