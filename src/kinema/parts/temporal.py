"""What earlier frames tell of a latent: an aligned context, and the prior that uses it.

    previous picture --- warp by field --- block transform --- coarse latent M@1/16
    coarse latent --- enter --- stage 1 (previous latent) --- stage 2 (up to three) --- context P
    h of the hyper-prior (+) context --- nets of the spatial prior, beside the coarse latent's own
    share in each mean --- distributions

Nothing of it touches symbols or picture: a frame is the same whatever its references are.

Source: dual-domain progressive temporal alignment (arXiv 2512.10450): pixel domain first, latent
domain second, several references in the last stage. Deviations: of the analysis, only its block
transform is applied to the warped picture, since the decoder must do so exactly and in real time;
the papers' layouts of adaptor and fusion are unread.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kinema.nn.blocks import GridBlock
from kinema.nn.exact import HIGH, LOW, Activation, GridConv, add_clipped
from kinema.parts.channels import Distribution
from kinema.parts.deformable import DeformableConfig, DeformableStage
from kinema.parts.priors import GRID_PER_SYMBOL, KNOTS, PriorConfig, SpatialPrior
from kinema.parts.quadtree import ORDER, by_quarter, coded_before, cut
from kinema.parts.quality import QualityTable


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """Widths and depth of the alignment."""

    stage: DeformableConfig = field(default_factory=DeformableConfig)
    num_stages: int = 2  # the first looks at one reference, the others at all
    has_pixel_branch: bool = True  # False: latent-only, whose decoder needs no picture


class Alignment(nn.Module):
    """From coarse latent and reference latents to the context."""

    def __init__(self, config: ContextConfig, latent_channels: int) -> None:
        super().__init__()
        self.enter = GridConv(latent_channels, config.stage.stream_channels, Activation.LINEAR)
        self.stages = nn.ModuleList(
            [DeformableStage(config.stage) for _ in range(config.num_stages)]
        )

    def forward(
        self,
        coarse: Tensor,
        latents: list[Tensor],
        fields: list[Tensor],
        more: Tensor | None = None,
        depth: int | None = None,
    ) -> Tensor:
        """Align progressively.

        Args:
            coarse: (B, M, h, w) on the grid.
            latents: of the references, nearest first, (B, M, h, w) on the grid.
            fields: from the frame to each reference, (B, 2, h, w), quarter luma samples.
            more: what else is known, (B, P, h, w) on the grid.
            depth: stages that count, for ablations; None: all.

        Returns:
            context, (B, P, h, w) on the grid.
        """
        entered = self.enter(coarse)
        stream = entered.clamp(LOW, HIGH) if more is None else add_clipped(more, entered)
        for index, stage in enumerate(list(self.stages)[:depth]):
            count = 1 if index == 0 else len(latents)
            stream, refined = stage(stream, latents[:count], fields[:count])
            fields = [*refined, *fields[count:]]
        return stream


class Context(NamedTuple):
    """What is known of a frame's latent from earlier frames.

    Attributes:
        stream: aligned features, (B, P, h, w) on the grid.
        coarse: latent of the warped previous picture, (B, M, h, w) on the grid.
        z_before: hyper-latent of the previous frame, (B, Z, ceil(h/4), ceil(w/4)) symbols.
    """

    stream: Tensor
    coarse: Tensor
    z_before: Tensor


class TemporalPrior(SpatialPrior):
    """The spatial prior of P frames: its nets also see a context.

    It starts as the spatial prior that it is copied from, mixed with the coarse latent channel by
    channel (`start_from`); what the nets make of the context starts as nothing.
    """

    def __init__(self, config: PriorConfig, stream_channels: int) -> None:
        super().__init__(config)
        latent, width = config.latent_channels, config.prior_channels
        self.fuse = GridConv(stream_channels, width, Activation.LINEAR, gain=0.0)
        self.mix_context = GridBlock(width)
        self.notice = nn.ModuleList(
            [GridConv(latent, width, Activation.LINEAR, gain=0.0) for _ in ORDER[1:]]
        )
        self.share = GridConv(latent, latent, Activation.LINEAR, depthwise=True, gain=0.0)
        self.hyper_share = GridConv(
            config.hyper_channels,
            config.hyper_channels,
            Activation.LINEAR,
            depthwise=True,
            gain=0.0,
        )
        self.hyper_log_scale = QualityTable(
            torch.zeros(KNOTS, config.hyper_channels), fraction_bits=6
        )
        for last in (self.mix_context.leave, self.mix_context.narrow):
            nn.init.zeros_(last.weight)

    @torch.no_grad()
    def start_from(self, spatial: SpatialPrior, share: Tensor, log_gain: Tensor) -> None:
        """Begin as a mixture: means are (1 - share) intra + share coarse.

        Args:
            spatial: the prior of intra frames.
            share: of the coarse latent, per channel, (M,), 0 to 1.
            log_gain: by how much the scales change, natural logarithm, (M,).
        """
        self.load_state_dict(spatial.state_dict(), strict=False)
        self.share.weight[:, 0, 1, 1] = share
        rows = by_quarter(torch.stack([1 - share, torch.ones_like(share)])).view(2, len(ORDER), -1)
        factor = rows.transpose(0, 1).flatten()  # quarter by quarter: its means, its log-scales
        for leave in self.leave:
            assert isinstance(leave, GridConv)
            leave.weight.mul_(factor[:, None, None, None])
            leave.bias.mul_(factor)
        self.log_scale.knots.add_(log_gain)

    @torch.no_grad()
    def trust(self) -> None:
        """Expect just the coarse latent: what the nets add to the means becomes nothing."""
        nn.init.zeros_(self.share.weight)
        nn.init.zeros_(self.share.bias)
        self.share.weight[:, 0, 1, 1] = 1
        for leave in self.leave:
            assert isinstance(leave, GridConv)
            for rows in (leave.weight, leave.bias):
                rows.view(len(ORDER), 2, -1, *rows.shape[1:])[:, 0] = 0


@dataclass(frozen=True)
class TemporalGuide:
    """A temporal prior and the context of one frame; what the latent codec asks.

    Attributes:
        is_centred: conditional coding: symbols say what is missing from the prediction. Else they
            are those of an intra frame, however unlikely they look from here.
        recast: tells a coarse latent of whole blocks in blocks of other sizes, if the latent has
            them.
    """

    prior: TemporalPrior
    context: Context
    is_centred: bool = False
    recast: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def is_binding(self) -> bool:
        """Whether a symbol that is sure goes without saying."""
        return self.is_centred

    def expect(self) -> Tensor:
        """The coarse latent's share."""
        return self.prior.share(self.context.coarse)

    def hyper_distribution(self, usual: Distribution, crf: Tensor) -> Distribution:
        """Expect the hyper-latent near that of the previous frame."""
        before = (self.context.z_before.float() * GRID_PER_SYMBOL).clamp(LOW, HIGH)
        moved = self.prior.hyper_share(before).to(usual.mean.dtype) / GRID_PER_SYMBOL
        narrower = self.prior.hyper_log_scale(crf)[:, :, None, None]
        return Distribution(usual.mean + moved, usual.log_scale + narrower, is_binding=False)

    def begin(self, features: Tensor) -> Tensor:
        """Add the context to the hyper-prior's features."""
        return self.prior.mix_context(add_clipped(features, self.prior.fuse(self.context.stream)))

    def divide(self, sizes: Tensor) -> "TemporalGuide":
        """Expect what blocks of these sizes, (B, h, w), have."""
        assert self.recast is not None
        coarse = self.recast(self.context.coarse, sizes)
        return replace(self, context=self.context._replace(coarse=coarse))

    def predict(
        self, index: int, features: Tensor, known: Tensor | None, crf: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of a step, as `SpatialPrior.predict`."""
        prior, coarse = self.prior, self.context.coarse
        if known is not None:
            channels, height, width = coarse.shape[1:]
            is_known = coded_before(channels, (height, width), index, coarse.device)
            missed = ((known - coarse) * is_known).clamp(LOW, HIGH)
            features = prior.look(index, features, known, prior.notice[index - 1](missed))
        mean, log_scale = prior.read_off(index, features, crf)
        with torch.autocast(coarse.device.type, enabled=False):  # bf16 would blur the prediction
            shared = prior.share(coarse)
        return mean + cut(shared, index), log_scale
