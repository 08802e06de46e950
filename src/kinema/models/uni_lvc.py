"""Uni-LVC, `small`: one network for all-intra, low delay and random access.

    fields, one for each reference --- MotionCodec, expected from known motion --- fields
    pictures of references --- warp --- blend by reliability --- prediction
    latents, reference features --- adaptors --- alignment, far branch --- context (stream, coarse)
    x --- block transform --- y --- (-) --- LatentCodec(context) --- (+) --- y_hat
    y_hat, context, latents --- cross-attention adaptation --- refinement(prediction) --- x_hat

Without references a frame is one of the intra codec, bit by bit. One reference makes a P frame,
two, one before and one after, make a B frame. A reference has a level of reliability, that the
encoder chooses; at 0 it is as if it were not there.

Source: Uni-LVC (arXiv 2603.05756); docs/papers/uni_lvc.md says what is the same, different or
unread. The largest deviation: coded motion is the centre of the deformable neighbourhood.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from kinema.models.frames import CodedFrame, Reference
from kinema.models.lstvc import LstvcCodec, LstvcConfig, Prediction
from kinema.models.uni_motion import Known, View, code_views, known_of, reliable
from kinema.nn.exact import HIGH
from kinema.parts.channels import Channel
from kinema.parts.cross_adaptation import (
    AdaptationConfig,
    AdaptedGuide,
    PictureAdaptation,
    PriorAdaptation,
    Sources,
)
from kinema.parts.latent_codec import CodedLatent, LatentInput
from kinema.parts.planes import FRACTION_BITS
from kinema.parts.quadtree import by_quarter
from kinema.parts.reference_adaptor import ReferenceAdaptor, blend
from kinema.parts.reliability import rate
from kinema.parts.temporal import Context, TemporalPrior
from kinema.parts.warping import warp_picture


@dataclass(frozen=True, kw_only=True)
class UniLvcConfig(LstvcConfig):
    """Everything that decides the shape of the networks."""

    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)


class Seen(NamedTuple):
    """What references show of a frame before anything of it but motion is decoded.

    Attributes:
        warped: prediction of the picture, (B, 96, 2h, 2w) picture units.
        apart: half the difference of two predictions; None where there is one.
        coarse: latent of the prediction, (B, M, h, w) on the grid.
        stream: context, (B, P, h, w) on the grid.
        state: reference features, moved along and blended, (B, C, h, w) on the grid.
        sources: what can be asked further.
    """

    warped: Tensor
    apart: Tensor | None
    coarse: Tensor
    stream: Tensor
    state: Tensor
    sources: Sources


class UniLvcCodec(LstvcCodec):
    """I, P and B frames at any quality from one network.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    def __init__(self, config: UniLvcConfig) -> None:
        super().__init__(config)
        stage, latent = config.context.stage, config.intra.prior.latent_channels
        self.adaptor = ReferenceAdaptor(latent)
        self.adapt_prior = PriorAdaptation(config.adaptation, stage.stream_channels, latent)
        self.adapt_picture = PictureAdaptation(config.adaptation, stage, config.refinement_channels)

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
            references: none for an I frame; one for a P frame; for a B frame one before it, then
                one after it. Those of level 0 are left out.

        Returns:
            the pictures as the decoder knows them.

        Raises:
            ConfigError: other references.
        """
        references = reliable(references)
        if not references:
            coded = self.code_intra(x, crf, size, channel)
            x_hat = self.synthesise(coded, crf)
            past = self.remember(x_hat, coded, None, None)
            return CodedFrame(x_hat, coded.y_hat, Known(past, (), crf))
        views = code_views(self.motion, x, crf, size, channel, references)
        return self.code_seen(x, crf, size, channel, views)

    def rate_references(
        self, x: Tensor, crf: Tensor, size: tuple[int, int], references: tuple[Reference, ...]
    ) -> tuple[int, ...]:
        """Levels of reliability, 0 to 15, for the frame header; encoder only.

        Args:
            x: (B, 96, H/8, W/8) picture units.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            references: as for `code_frame`; their own levels do not matter.
        """
        del size
        pictures = [known_of(r).past.picture for r in references]
        steps = self.latent.steps.base(crf)
        return tuple(rate(x, pictures, crf, self.cosines.free, steps))

    def code_seen(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        views: Sequence[View],
    ) -> CodedFrame:
        """Carry what the prediction from all references misses."""
        views = sorted(views, key=_worth)
        seen = self.look_back(views, crf)
        prior = self.contextual.spatial
        assert isinstance(prior, TemporalPrior)
        context = Context(seen.stream, seen.coarse, views[0].past.z_hat)
        whole = Prediction(seen.warped, context)
        _, context, sizes = self.divide(x, crf, channel, whole)
        guide = AdaptedGuide(prior, context, is_centred=True, log_scale=self._scales(views, crf))

        def picture(coded: CodedLatent) -> Tensor:
            new = coded.y_hat - context.coarse
            more = self.adapt_picture(context.stream, new, seen.sources, seen.apart)
            added = self.cosines.inverse(new, sizes, FRACTION_BITS)
            return self.refinement(seen.warped + added, seen.warped, context.stream, crf, more)

        latent = None
        if x is not None:
            y = context.coarse + self.cosines.free(x - seen.warped, sizes)
            latent = LatentInput(y, self.worth(crf))
        coded = self.code_latent(x, crf, size, channel, (self.contextual, guide, picture), latent)
        x_hat = picture(coded)
        past = self.remember(x_hat, coded, views[0].past, views[0].motion, seen.state)
        motions = tuple((view.standing.distance, view.motion) for view in views)
        return CodedFrame(x_hat, coded.y_hat, Known(past, motions, crf))

    def look_back(self, views: Sequence[View], crf: Tensor) -> Seen:
        """Gather what references tell.

        Args:
            views: the most reliable, then the nearest one first.
            crf: quality of the frame, (B,).
        """
        levels = [view.standing.level for view in views]
        pictures = [warp_picture(view.past.picture, view.motion) for view in views]
        warped, apart, doubt = blend(pictures, levels), None, None
        if len(views) > 1:
            apart = (pictures[0] - pictures[1]) * (1 / 2)
            doubt = self.cosines(apart).abs().clamp(max=HIGH)
        coarse, sources = self.cosines(warped), self.sources(views, crf)
        before = [(v.past.state, v.past.latents[0], v.motion) for v in views]
        state = blend([self.long_term(*one) for one in before], levels)
        told = self.long_term.tell(state)
        stream = self.alignment(coarse, list(sources.latents), list(sources.fields), more=told)
        stream = self.adapt_prior(stream, sources, doubt)
        return Seen(warped, apart, coarse, stream, state, sources)

    def sources(self, views: Sequence[View], crf: Tensor) -> Sources:
        """Give adapted latents: of both references, or of one and of those it remembers."""
        latents = [self.adaptor(v.past.latents[0], v.standing, crf) for v in views]
        fields, levels = [v.motion for v in views], [v.standing.level for v in views]
        if len(views) == 1:
            past = views[0].past
            latents += [self.adaptor.fade(latent, levels[0]) for latent in past.latents[1:]]
            fields, levels = self.chain(past, fields[0]), levels * len(latents)
        return Sources(latents, fields, levels)

    def _scales(self, views: Sequence[View], crf: Tensor) -> Tensor | None:
        """What B frames add to log-scales, (B, M) by quarters; nothing for others."""
        return by_quarter(self.adapt_prior.log_scale(crf)) if len(views) > 1 else None


def _worth(view: View) -> tuple[int, int]:
    """Orders references: the most reliable first, then the nearest."""
    return -view.standing.level, abs(view.standing.distance)


def build_small() -> UniLvcCodec:
    """Build the configuration that ships."""
    return UniLvcCodec(UniLvcConfig())
