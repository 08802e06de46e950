"""The dual-domain codec: one transform for all frames; earlier frames change bits, not pictures.

    x --- cosines, Analysis --- LatentCodec --- cosines back, Synthesis --- x_hat    every frame
                                  `--- guided by the spatial prior                   I frame
                                  `--- guided by TemporalPrior(context)              P frame
    field --- MotionCodec; previous picture, latents, fields --- context        P frame

Symbols and picture of a frame are those that it would have as an intra frame. So quality neither
drifts nor pulses, and an intra frame can stand anywhere.

Source: error-propagation-free codec with dual-domain progressive temporal alignment (arXiv
2512.10450), of which the abstract and summaries could be read. docs/papers/dual_domain.md says what
is the same, what is different and what the paper leaves open.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from kinema.models.frames import CodedFrame
from kinema.models.moving import Memory, MovingCodec, MovingConfig
from kinema.nn.exact import HIGH, LOW
from kinema.parts.channels import Channel
from kinema.parts.latent_codec import CodedLatent, LatentInput
from kinema.parts.motion_field import sample_cells
from kinema.parts.temporal import Context, TemporalGuide, TemporalPrior
from kinema.parts.warping import warp_picture


class Reach(NamedTuple):
    """How much of the temporal path counts: bits change, symbols and pictures do not.

    Nothing in a stream tells it: codecs use everything, ablations less.

    Attributes:
        stages: of the alignment; None: all.
        references: latents that stages after the first look at; None: all that are remembered.
        has_pixel_branch: whether the coarse latent is that of the warped picture; else it is the
            previous latent along the field. None: as configured.
    """

    stages: int | None = None
    references: int | None = None
    has_pixel_branch: bool | None = None


EVERYTHING = Reach()


class DualDomainCodec(MovingCodec):
    """I and P frames at any quality from one network.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    def __init__(self, config: MovingConfig) -> None:
        super().__init__(config)
        self.temporal = TemporalPrior(config.intra.prior, config.context.stage.stream_channels)

    def code_predicted(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        before: Memory,
        motion: Tensor,
    ) -> CodedFrame:
        """Carry P frames; symbols and pictures are those of I frames."""
        guide = self.guide(before, motion)

        def picture(coded: CodedLatent) -> Tensor:
            return self.synthesise(coded, crf)

        if x is None or channel.passes:
            coded = self.code_latent(x, crf, size, channel, (self.latent, guide, picture))
        else:
            coded = self.latent.code(self.settle(x, crf, size, channel), crf, size, channel, guide)
        x_hat = picture(coded)
        return CodedFrame(x_hat, coded.y_hat, self.remember(x_hat, coded, before, motion))

    def settle(
        self, x: Tensor, crf: Tensor, size: tuple[int, int], channel: Channel
    ) -> LatentInput:
        """Choose the symbols as for an I frame; encoder only."""
        with torch.no_grad():
            chosen = self.code_intra(x, crf, size, channel.rehearsal())
        y, z = chosen.y_hat.detach(), chosen.z_hat.detach()
        return LatentInput(y, None, z, sizes=chosen.sizes, offsets=chosen.offsets)

    def guide(self, before: Memory, motion: Tensor, reach: Reach = EVERYTHING) -> TemporalGuide:
        """Tell what earlier frames tell of the latent; arguments as `look_back`."""
        context = self.look_back(before, motion, reach)
        return TemporalGuide(self.temporal, context, recast=self.recast)

    def look_back(self, before: Memory, motion: Tensor, reach: Reach = EVERYTHING) -> Context:
        """Gather what earlier frames tell.

        Args:
            before: memory of the previous frame.
            motion: decoded field to it, (B, 2, h, w).
            reach: how much of it counts.
        """
        has_pixel_branch = reach.has_pixel_branch
        if has_pixel_branch is None:
            has_pixel_branch = self.moving_config.context.has_pixel_branch
        if has_pixel_branch:
            coarse = self.cosines(warp_picture(before.picture, motion))
        else:
            coarse = torch.round(sample_cells(before.latents[0], motion)).clamp(LOW, HIGH)
        latents = list(before.latents[: reach.references])
        fields = self.chain(before, motion)[: reach.references]
        stream = self.alignment(coarse, latents, fields, depth=reach.stages)
        return Context(stream, coarse, before.z_hat)

    def recast(self, coarse: Tensor, sizes: Tensor) -> Tensor:
        """Tell a latent of whole blocks, (B, M, h, w), in blocks of the given sizes, (B, h, w)."""
        return self.cosines(self.cosines.inverse(coarse), sizes)

    def reference_latent(self, coded: CodedLatent, picture: Tensor) -> Tensor:
        """Cosines of what blocks alone make: no net is needed for it."""
        del picture
        return self.cosines(self.cosines.on_grid(self.put_together(coded)))


def build_small() -> DualDomainCodec:
    """Build the configuration that ships."""
    return DualDomainCodec(MovingConfig())
