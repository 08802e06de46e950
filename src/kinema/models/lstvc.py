"""LSTVC, `small`: conditional coding with long- and short-range temporal information.

    field --- MotionCodec                                   state --- LongTermPrior --- state
    previous picture, latents, state --- alignment --- context (stream, coarse latent)
    x --- cosines --- y --- (-) prediction --- LatentCodec --- (+) prediction --- y_hat
    y_hat - coarse latent --- cosines back --- (+) warped picture --- x_linear
    x_linear --- ContextualRefinement(warped picture, context) --- x_hat

I frames are those of the intra codec. Symbols of a P frame say what is missing from the prediction
that the temporal prior makes of its latent, step by step. Where nothing is known better than the
previous picture, that is what stays, to the last bit: what was once paid for is not lost again.

Source: LSTVC (docs/papers/lstvc.md names its sections and what is the same, different or unstated).
"""

from dataclasses import dataclass

from torch import Tensor

from kinema.models.frames import CodedFrame
from kinema.models.intra import initial_log_steps
from kinema.models.moving import Memory, MovingCodec, MovingConfig
from kinema.parts.block_cosines import CosineTransform
from kinema.parts.block_sizes import BlockSizes, price
from kinema.parts.channels import Channel
from kinema.parts.compensation import ContextualRefinement, LongTermPrior
from kinema.parts.latent_codec import CodedLatent, LatentCodec, LatentInput
from kinema.parts.quality import rd_lambda
from kinema.parts.temporal import Context, TemporalGuide, TemporalPrior
from kinema.parts.warping import warp_picture


@dataclass(frozen=True, kw_only=True)
class LstvcConfig(MovingConfig):
    """Everything that decides the shape of the networks."""

    state_channels: int = 64  # of the temporal prior
    refinement_channels: int = 128
    refinement_blocks: int = 3


class LstvcCodec(MovingCodec):
    """I and P frames at any quality from one network.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    encoder_only = (
        *MovingCodec.encoder_only,
        "contextual.hyper.enter.",
        "contextual.hyper.first.",
        "contextual.hyper.down.",
        "contextual.hyper.second.",
        "contextual.hyper.leave.",
    )

    def __init__(self, config: LstvcConfig) -> None:
        super().__init__(config)
        prior, stream = config.intra.prior, config.context.stage.stream_channels
        steps = initial_log_steps(prior.latent_channels)
        self.cosines = CosineTransform(prior.latent_channels)
        self.block_sizes = BlockSizes(stream)
        self.contextual = LatentCodec(prior, steps, TemporalPrior(prior, stream))
        self.long_term = LongTermPrior(prior.latent_channels, config.state_channels, stream)
        self.refinement = ContextualRefinement(
            stream, config.refinement_channels, config.refinement_blocks
        )

    def code_predicted(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        before: Memory,
        motion: Tensor,
    ) -> CodedFrame:
        """Carry P frames: what the warped picture misses."""
        state = self.long_term(before.state, before.latents[0], motion)
        warped = warp_picture(before.picture, motion)
        told = self.long_term.tell(state)
        whole, chain = self.cosines(warped), self.chain(before, motion)
        stream = self.alignment(whole, list(before.latents), chain, more=told)
        missed = None if x is None else x - warped
        sizes, stream = self.block_sizes.code(self._prices(missed, crf), stream, crf, channel)
        coarse = self.cosines(warped, sizes)
        prior = self.contextual.spatial
        assert isinstance(prior, TemporalPrior)
        guide = TemporalGuide(prior, Context(stream, coarse, before.z_hat), is_centred=True)

        def picture(coded: CodedLatent) -> Tensor:
            added = self.cosines.inverse(coded.y_hat - coarse, sizes)
            return self.refinement(warped + added, warped, stream, crf)

        latent = None
        if missed is not None:
            latent = LatentInput(coarse + self.cosines.free(missed, sizes), self._worth(crf))
        coded = self.code_latent(x, crf, size, channel, (self.contextual, guide, picture), latent)
        x_hat = picture(coded)
        return CodedFrame(x_hat, coded.y_hat, self.remember(x_hat, coded, before, motion, state))

    def _prices(self, missed: Tensor | None, crf: Tensor) -> Tensor | None:
        """What blocks of each size would cost; encoder only."""
        if missed is None:
            return None
        return price(self.cosines, missed, self.contextual.steps.base(crf), self._worth(crf))

    def _worth(self, crf: Tensor) -> Tensor:
        """Bits that a squared error of each cosine costs, (B, M); encoder only."""
        return rd_lambda(crf)[:, None] * self.cosines.latent_weight()

    def reference_latent(self, coded: CodedLatent, picture: Tensor) -> Tensor:
        """Cosines of the picture, whatever latent it was decoded from."""
        del coded
        return self.cosines(picture)


def build_small() -> LstvcCodec:
    """Build the configuration that ships."""
    return LstvcCodec(LstvcConfig())
