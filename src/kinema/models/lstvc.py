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

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from kinema.models.frames import CodedFrame
from kinema.models.intra import initial_log_steps
from kinema.models.moving import Memory, MovingCodec, MovingConfig
from kinema.parts.block_sizes import BlockSizes, price
from kinema.parts.channels import Channel
from kinema.parts.compensation import ContextualRefinement, LongTermPrior
from kinema.parts.latent_codec import CodedLatent, LatentCodec, LatentInput
from kinema.parts.planes import FRACTION_BITS
from kinema.parts.temporal import Context, TemporalGuide, TemporalPrior
from kinema.parts.warping import warp_picture

HYPER_REST = 0.2  # of a step; see LatentCodec


@dataclass(frozen=True, kw_only=True)
class LstvcConfig(MovingConfig):
    """Everything that decides the shape of the networks."""

    state_channels: int = 64  # of the temporal prior
    refinement_channels: int = 128
    refinement_blocks: int = 3


class Prediction(NamedTuple):
    """What is known of a P frame before its latent.

    Attributes:
        warped: (B, 96, H/8, W/8) picture units.
        context: with the coarse latent in the sizes below.
        sizes: of transform blocks, (B, h, w); None before they are decoded: all 16x16.
    """

    warped: Tensor
    context: Context
    sizes: Tensor | None = None


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
        self.block_sizes = BlockSizes(stream)
        told = TemporalPrior(prior, stream)
        self.contextual = LatentCodec(prior, steps, told, hyper_rest=HYPER_REST, has_offsets=True)
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
        seen = self.predict(before, motion, self.long_term.tell(state))
        seen = self.divide(x, crf, channel, seen)

        def refine(rough: Tensor) -> Tensor:
            return self.refinement(rough, seen.warped, seen.context.stream, crf)

        coded, rough = self.code_missing(x, crf, size, channel, seen, refine)
        x_hat = refine(rough)
        return CodedFrame(x_hat, coded.y_hat, self.remember(x_hat, coded, before, motion, state))

    def predict(self, before: Memory, motion: Tensor, told: Tensor) -> Prediction:
        """Gather what earlier frames tell.

        Args:
            before: memory of the previous frame.
            motion: decoded field to it, (B, 2, h, w).
            told: what states carried on tell the context, (B, P, h, w).
        """
        warped = warp_picture(before.picture, motion)
        coarse = self.cosines(warped)
        stream = self.alignment(coarse, list(before.latents), self.chain(before, motion), more=told)
        return Prediction(warped, Context(stream, coarse, before.z_hat))

    def divide(
        self, x: Tensor | None, crf: Tensor, channel: Channel, seen: Prediction
    ) -> Prediction:
        """Carry the sizes of transform blocks; from here on the prediction knows them.

        Args:
            x: (B, 96, H/8, W/8) picture units, or None when decoding.
            crf: (B,) qualities, 0 to 63.
            channel: where the symbols go to, or come from.
            seen: what earlier frames tell; its coarse latent is that of whole blocks.
        """
        costs = None
        if x is not None:
            steps = self.contextual.steps.base(crf)
            missed = self.cosines.divide(self.cosines.free(x - seen.warped))
            costs = price(missed, steps, self.worth(crf))
        sizes, stream = self.block_sizes.code(costs, seen.context.stream, crf, channel)
        coarse = self.cosines(seen.warped, sizes)
        return Prediction(seen.warped, seen.context._replace(stream=stream, coarse=coarse), sizes)

    def code_missing(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        seen: Prediction,
        refine: Callable[[Tensor], Tensor],
    ) -> tuple[CodedLatent, Tensor]:
        """Carry the latent of what the warped picture misses.

        Args:
            x: (B, 96, H/8, W/8) picture units, or None when decoding.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.
            seen: what earlier frames tell.
            refine: from a picture before to one after refinement.

        Returns:
            the latent, and the picture before refinement.
        """
        prior, coarse = self.contextual.spatial, seen.context.coarse
        assert isinstance(prior, TemporalPrior)
        guide = TemporalGuide(prior, seen.context, is_centred=True)

        def rough(coded: CodedLatent) -> Tensor:
            added = self.cosines.inverse(coded.y_hat - coarse, seen.sizes, FRACTION_BITS)
            return seen.warped + added

        def picture(coded: CodedLatent) -> Tensor:
            return refine(rough(coded))

        latent = None
        if x is not None:
            missed = self.cosines.free(x - seen.warped, seen.sizes)
            latent = LatentInput(coarse + missed, self.worth(crf))
        coded = self.code_latent(x, crf, size, channel, (self.contextual, guide, picture), latent)
        return coded, rough(coded)


def build_small() -> LstvcCodec:
    """Build the configuration that ships."""
    return LstvcCodec(LstvcConfig())
