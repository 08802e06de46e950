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

import torch
from torch import Tensor

from kinema.models.frames import CodedFrame
from kinema.models.moving import Memory, MovingCodec, MovingConfig
from kinema.nn.exact import HIGH, LOW
from kinema.parts.channels import Channel
from kinema.parts.latent_codec import CodedLatent, LatentInput
from kinema.parts.motion_field import sample_cells
from kinema.parts.temporal import BlockTransform, Context, TemporalGuide, TemporalPrior
from kinema.parts.warping import warp_picture


class DualDomainCodec(MovingCodec):
    """I and P frames at any quality from one network.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    def __init__(self, config: MovingConfig) -> None:
        super().__init__(config)
        self.coarse = BlockTransform(config.intra.prior.latent_channels)
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
        guide = TemporalGuide(self.temporal, self.look_back(before, motion))

        def picture(coded: CodedLatent) -> Tensor:
            return self.synthesis(coded.y_hat, crf)

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
        return LatentInput(chosen.y_hat.detach(), None, chosen.z_hat.detach())

    def look_back(self, before: Memory, motion: Tensor) -> Context:
        """Gather what earlier frames tell.

        Args:
            before: memory of the previous frame.
            motion: decoded field to it, (B, 2, h, w).
        """
        if self.moving_config.context.has_pixel_branch:
            coarse = self.coarse(warp_picture(before.picture, motion))
        else:
            coarse = torch.round(sample_cells(before.latents[0], motion)).clamp(LOW, HIGH)
        stream = self.alignment(coarse, list(before.latents), self.chain(before, motion))
        return Context(stream, coarse, before.z_hat)


def build_small() -> DualDomainCodec:
    """Build the configuration that ships."""
    return DualDomainCodec(MovingConfig())
