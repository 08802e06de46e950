"""CAMA, `small`: LSTVC's conditional coding, with features that are propagated and aligned.

    features of the frame before --- FeatureContexts(field) --- contexts @1/32, @1/16, @1/8
    @1/16 --- tell --- (+) state --- alignment --- context: entropy, refinement
    @1/8 --- show --- (+) refinement --- x_hat, features of this frame

Everything beside the features is that of LSTVC, under the same names; all that is added begins as
zero. So with parameters of LSTVC it codes as LSTVC does, to the last bit, and learns on from there.

Source: CAMA (arXiv 2512.12936), of which the abstract and summaries could be read, on the base of
DCVC-TCM (arXiv 2111.13850); docs/papers/cama.md says what is the same, different or unstated.
"""

from dataclasses import dataclass, field

from torch import Tensor

from kinema.models.frames import CodedFrame
from kinema.models.lstvc import LstvcCodec, LstvcConfig
from kinema.models.moving import Memory
from kinema.nn.exact import Activation, GridConv
from kinema.parts.channels import Channel
from kinema.parts.feature_alignment import FeatureConfig, FeatureContexts


@dataclass(frozen=True, kw_only=True)
class CamaConfig(LstvcConfig):
    """Everything that decides the shape of the networks."""

    features: FeatureConfig = field(default_factory=FeatureConfig)


class CamaCodec(LstvcCodec):
    """I and P frames at any quality from one network."""

    def __init__(self, config: CamaConfig) -> None:
        super().__init__(config)
        _, middle, fine = config.features.widths
        stream, width = config.context.stage.stream_channels, config.refinement_channels
        self.features = FeatureContexts(config.features, width)
        self.tell = GridConv(middle, stream, Activation.LINEAR, gain=0.0)
        self.show = GridConv(fine, width, Activation.LINEAR, gain=0.0)

    def code_predicted(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        before: Memory,
        motion: Tensor,
    ) -> CodedFrame:
        """Carry P frames: what the warped picture misses, given aligned features."""
        state = self.long_term(before.state, before.latents[0], motion)
        _, middle, fine = self.features(before.features, before.picture, motion)
        seen = self.predict(before, motion, self.long_term.tell(state) + self.tell(middle))
        seen = self.divide(x, crf, channel, seen)
        shown = self.show(fine)

        def look(rough: Tensor) -> Tensor:
            return self.refinement.look(rough, seen.warped, seen.context.stream, crf, shown)

        def refine(rough: Tensor) -> Tensor:
            return rough + self.refinement.head(look(rough))

        coded, rough = self.code_missing(x, crf, size, channel, seen, refine)
        f = look(rough)
        x_hat = rough + self.refinement.head(f)
        memory = self.remember(x_hat, coded, before, motion, state)
        return CodedFrame(x_hat, coded.y_hat, memory._replace(features=self.features.keep(f)))


def build_small() -> CamaCodec:
    """Build the configuration that ships."""
    return CamaCodec(CamaConfig())
