"""The intra codec: every picture on its own. All other systems start from it.

    x --- cosines (+) Analysis --- y --- LatentCodec (hyper-prior, sizes, four steps) --- y_hat
    y_hat --- cosines back (+) Synthesis --- x_hat

Source: the intra codec of DCVC-RT (arXiv 2502.20762). Deviations: 4:2:0 planes instead of RGB,
blocks of cosines in several sizes beside the nets, symbols on a grid that no context moves,
everything that decodes in exact arithmetic. See ARCHITECTURE.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.models.frames import CodedFrame, Reference
from kinema.nn.blocks import one_by_one
from kinema.parts.block_cosines import MIN_GAIN, CosineTransform
from kinema.parts.block_sizes import BlockSizes
from kinema.parts.channels import Channel
from kinema.parts.chroma_offsets import plane_shares, share_weight
from kinema.parts.latent_codec import CodedLatent, Guide, LatentCodec, LatentInput
from kinema.parts.planes import CHROMA_WEIGHT, FRACTION_BITS, LUMA_WEIGHT, STEPS_PER_LEVEL
from kinema.parts.priors import KNOTS, PriorConfig
from kinema.parts.quality import MAX_CRF, rd_lambda
from kinema.parts.refinement import refine
from kinema.parts.transforms import Analysis, Synthesis, TransformConfig

FIRST_SHARE = 0.8  # of the error left by the nets, at crf 0; it falls to nothing ...
QUICK_END, THOROUGH_END = 28.0, 70.0  # ... at these crf: the synthesis takes a quarter of encoding
STRIDE = 16  # pictures are padded to multiples of this
SPREAD = 256.0  # standard deviation that each latent channel starts with


@dataclass(frozen=True, kw_only=True)
class IntraConfig:
    """Everything that decides the shape of the networks."""

    transform: TransformConfig = field(default_factory=TransformConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    def __post_init__(self) -> None:
        latent, expected = self.transform.latent_channels, self.prior.latent_channels
        if latent != expected:
            raise ConfigError(f"latent channels: {latent} in transforms, {expected} in the prior")


# A latent codec, what guides it, and how a picture is made of what it gives.
Way = tuple[LatentCodec, Guide, Callable[[CodedLatent], Tensor]]


class IntraCodec(nn.Module):
    """Intra frames at any quality from one network.

    Attributes:
        encoder_only: prefixes of the parameters that no decoder needs.
    """

    encoder_only: tuple[str, ...] = (
        "analysis.",
        "latent.hyper.enter.",
        "latent.hyper.first.",
        "latent.hyper.down.",
        "latent.hyper.second.",
        "latent.hyper.leave.",
    )

    def __init__(self, config: IntraConfig) -> None:
        super().__init__()
        self.config = config
        latent, features = config.prior.latent_channels, config.prior.prior_channels
        self.cosines = CosineTransform(latent)
        self.analysis = Analysis(config.transform)
        self.latent = LatentCodec(
            config.prior,
            initial_log_steps(latent),
            block_sizes=BlockSizes(features),
            has_offsets=True,
        )
        self.synthesis = Synthesis(config.transform)

    def code_frame(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        references: tuple[Reference, ...] = (),
    ) -> CodedFrame:
        """Carry a batch of pictures through `channel`.

        Args:
            x: (B, 96, H/8, W/8) picture units, or None when decoding.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.
            references: none; for other systems only.

        Returns:
            the pictures as the decoder knows them.

        Raises:
            ConfigError: there are references.
        """
        if references:
            raise ConfigError(f"{len(references)} references; the intra codec takes none")
        coded = self.code_intra(x, crf, size, channel)
        return CodedFrame(self.synthesise(coded, crf), coded.y_hat)

    def code_intra(
        self, x: Tensor | None, crf: Tensor, size: tuple[int, int], channel: Channel
    ) -> CodedLatent:
        """Carry the latents of pictures; arguments as `code_frame`."""

        def picture(coded: CodedLatent) -> Tensor:
            return self.synthesise(coded, crf)

        return self.code_latent(x, crf, size, channel, (self.latent, self.latent.spatial, picture))

    def code_latent(
        self,
        x: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        way: Way,
        latent: LatentInput | None = None,
    ) -> CodedLatent:
        """Carry the latents of pictures, refined in as many passes as the channel wants.

        Args:
            x: (B, 96, H/8, W/8) picture units, or None when decoding.
            crf: (B,) qualities, 0 to 63.
            size: (H/16, W/16).
            channel: where the symbols go to, or come from.
            way: latent codec, what guides it, and how a picture is made of what it gives.
            latent: of `x`, if it is not that of an intra frame.
        """
        codec, guide, picture = way
        if x is None:
            return codec.code(None, crf, size, channel, guide)
        if latent is None:
            end = THOROUGH_END if channel.passes else QUICK_END
            latent = self.analyse(x, crf, feedback_end=end if channel.is_final else 0.0)
        if channel.passes:
            weight = latent.weight
            assert weight is not None
            start = codec.code(latent, crf, size, channel.rehearsal(), guide)

            def attempt(tried: LatentInput, through: Channel) -> tuple[CodedLatent, Tensor]:
                coded = codec.code(tried, crf, size, through, guide)
                return coded, error_bits(x, picture(coded), crf, coded.offsets)

            if start.offsets is not None:
                weight = share_weight(weight, start.offsets)
            latent = refine(start, weight, channel.passes, attempt)
        return codec.code(latent, crf, size, channel, guide)

    def analyse(self, x: Tensor, crf: Tensor, *, feedback_end: float = 0.0) -> LatentInput:
        """g_a, and what errors of the latent cost; encoder only.

        What the two nets do not undo of each other is lost before any quantisation. So a share of
        it is added to the latent: from FIRST_SHARE at crf 0 to nothing at `feedback_end`.
        """
        y = self.cosines.free(x) + one_by_one(self.analysis, x, crf)
        if bool((crf < feedback_end).any()):
            share = (FIRST_SHARE * (1 - crf / feedback_end)).clamp(min=0)
            left = x - self.synthesise(y, crf)
            y = y + share[:, None, None, None] * self.cosines.free(left)
        return LatentInput(y, self.worth(crf), divided=self.cosines.divide(y))

    def synthesise(self, latent: CodedLatent | Tensor, crf: Tensor) -> Tensor:
        """g_s: the picture, (B, 96, H/8, W/8) picture units.

        Args:
            latent: as coded, or amplitudes of whole blocks, (B, M, H/16, W/16).
            crf: qualities, (B,).
        """
        rough = self.put_together(latent)
        whole = self.cosines.on_grid(rough)
        return self.synthesis(rough, whole, self.cosines(whole), crf)

    def put_together(self, latent: CodedLatent | Tensor) -> Tensor:
        """The picture that blocks alone make; as `synthesise`."""
        if isinstance(latent, Tensor):
            return self.cosines.inverse(latent, None, FRACTION_BITS)
        return self.cosines.inverse(latent.y_hat, latent.sizes, FRACTION_BITS)

    def worth(self, crf: Tensor) -> Tensor:
        """Bits that a squared error of each cosine costs, (B, M); encoder only."""
        return rd_lambda(crf)[:, None] * self.cosines.latent_weight()

    @torch.no_grad()
    def start_from_patches(self, patches: Tensor) -> None:
        """Begin as cosines alike in spread, with high-rate steps and their scales.

        Args:
            patches: (N, 384) folded 16x16 patches in picture units.
        """
        rows = self.cosines.rows[0].to(patches.device)
        spread = (patches.double() @ rows.T).square().mean(0).sqrt() / STEPS_PER_LEVEL
        weight = self.cosines.latent_weight().to(spread) * self.cosines.gain.to(spread).square()
        weight = (weight / LUMA_WEIGHT).sqrt()  # of a level's error
        spread = (spread * weight).clamp(min=0.1)
        gain = torch.exp2(torch.round(torch.log2(SPREAD / spread))).clamp(min=MIN_GAIN)
        self.cosines.gain.copy_(gain * weight)
        steps = initial_log_steps(len(gain)) + torch.log(gain).float()
        self.latent.steps.table.knots.copy_(steps)
        scales = torch.log(spread * gain).float() - steps
        self.latent.spatial.log_scale.knots.copy_(scales.clamp(min=-2.0) - 0.5)


def initial_log_steps(channels: int) -> Tensor:
    """Start from the high-rate optimum of an orthonormal transform, sqrt(6 / (lambda ln 2)).

    Returns:
        natural logarithms of steps in 8-bit levels, (knots, channels).
    """
    crf = torch.linspace(0, MAX_CRF, KNOTS)
    steps = torch.sqrt(6 / (rd_lambda(crf) * LUMA_WEIGHT * math.log(2)))
    return torch.log(steps)[:, None].expand(-1, channels).clone()


def error_bits(x: Tensor, x_hat: Tensor, crf: Tensor, offsets: Tensor | None = None) -> Tensor:
    """What the errors of pictures are worth, as in training: (B,) bits.

    Args:
        x: (B, 96, H/8, W/8).
        x_hat: likewise.
        crf: (B,).
        offsets: of chroma steps, (B, 2); None: errors of chroma planes count as usual.
    """
    error = ((x - x_hat) * (1 / STEPS_PER_LEVEL)).square().sum((2, 3))
    luma, *planes = (part.sum(1) for part in torch.split(error, [64, 16, 16], 1))
    chroma = torch.stack(planes, 1)
    if offsets is not None:
        chroma = chroma * plane_shares(offsets)
    return rd_lambda(crf) * (LUMA_WEIGHT * luma + 4 * CHROMA_WEIGHT * chroma.sum(1))


def build_small() -> IntraCodec:
    """Build the configuration that ships: 5.0 million parameters, real time on two cores."""
    return IntraCodec(IntraConfig())
