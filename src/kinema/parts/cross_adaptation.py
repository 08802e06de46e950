"""Cross-attention adaptation: streams take in what references tell, near and far; exact.

    stream --- near: samples around the ends of fields, attention over all of them - (+)
    stream --- far: polarity-aware linear attention to each reference --- leave --- (+) --- stream

It stands at two places: in the prior, where the alignment is its near branch, and behind the
decoded latent. Whatever it adds begins as nothing.

Source: Uni-LVC (arXiv 2603.05756), cross-attention adaptation. Deviations: the neighbourhood lies
around the ends of coded fields; keys and values come from latents; docs/papers/uni_lvc.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.exact import HIGH, LOW, Activation, GridConv, add_clipped
from kinema.parts.deformable import DeformableConfig, DeformableStage
from kinema.parts.planes import CHANNELS
from kinema.parts.polarity import HEAD_CHANNELS, PolarityAttention
from kinema.parts.quality import QualityTable
from kinema.parts.reference_adaptor import gain
from kinema.parts.temporal import TemporalGuide

KNOTS = 8


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """Which branches there are."""

    has_near: bool = True  # the deformable neighbourhood behind the decoded latent
    far_heads: int = 2  # of the linear branch, at both places; 0: there is none

    def __post_init__(self) -> None:
        if self.far_heads < 0:
            raise ConfigError(f"found {self.far_heads} heads; expected 0 or more")


class Sources(NamedTuple):
    """What can be asked.

    Attributes:
        latents: of the references, the most reliable first, (B, M, h, w) on the grid.
        fields: to each of them, (B, 2, h, w), quarter luma samples.
        levels: reliability of each, 1 to 15.
    """

    latents: Sequence[Tensor]
    fields: Sequence[Tensor]
    levels: Sequence[int]


class FarBranch(nn.Module):
    """Adds what references as wholes answer."""

    def __init__(self, stream_channels: int, latent_channels: int, heads: int) -> None:
        super().__init__()
        self.attend = PolarityAttention(stream_channels, latent_channels, heads)
        width = heads * HEAD_CHANNELS
        self.leave = GridConv(width, stream_channels, Activation.LINEAR, gain=0.0)

    def forward(self, stream: Tensor, sources: Sources) -> Tensor:
        """Update a stream (B, P, h, w) by each source, as far as its level says."""
        answers = [
            self.attend(stream, latent) * gain(level)
            for latent, level in zip(sources.latents, sources.levels, strict=True)
        ]
        found = self.attend.on_grid(torch.stack(answers).sum(0)).clamp(LOW, HIGH)
        return add_clipped(stream, self.leave(found))


class PriorAdaptation(nn.Module):
    """What the prior is told beside the alignment: by the far branch, and by doubt.

    Doubt is how far predictions from two references differ: where they do, neither is sure.
    """

    def __init__(
        self, config: AdaptationConfig, stream_channels: int, latent_channels: int
    ) -> None:
        super().__init__()
        shape = (stream_channels, latent_channels)
        self.far = FarBranch(*shape, config.far_heads) if config.far_heads else None
        self.doubt = GridConv(*shape[::-1], Activation.LINEAR, positive_input=True, gain=0.0)
        self.log_scale = QualityTable(torch.zeros(KNOTS, latent_channels), fraction_bits=6)

    def forward(self, stream: Tensor, sources: Sources, doubt: Tensor | None) -> Tensor:
        """Adapt the context.

        Args:
            stream: (B, P, h, w) on the grid.
            sources: what can be asked.
            doubt: latent of half the difference of two predictions, without signs, (B, M, h, w)
                on the grid; None where there is one prediction.
        """
        stream = stream if self.far is None else self.far(stream, sources)
        return stream if doubt is None else add_clipped(stream, self.doubt(doubt))


@dataclass(frozen=True)
class AdaptedGuide(TemporalGuide):
    """A temporal guide whose scales have another usual size.

    Attributes:
        log_scale: what is added to log-scales, (B, M) by quarters; None adds nothing.
    """

    log_scale: Tensor | None = None

    def predict(
        self, index: int, features: Tensor, known: Tensor | None, crf: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of a step, as `SpatialPrior.predict`."""
        mean, log_scale = super().predict(index, features, known, crf)
        if self.log_scale is not None:
            log_scale = log_scale + self.log_scale[:, :, None, None]
        return mean, log_scale


class PictureAdaptation(nn.Module):
    """What the refinement is told beside the context: asked with the decoded latent."""

    def __init__(self, config: AdaptationConfig, stage: DeformableConfig, width: int) -> None:
        super().__init__()
        stream, latent = stage.stream_channels, stage.latent_channels
        self.enter = GridConv(latent, stream, Activation.LINEAR, gain=0.3)
        self.near = DeformableStage(stage) if config.has_near else None
        self.far = FarBranch(stream, latent, config.far_heads) if config.far_heads else None
        self.up = GridConv(stream, 4 * width, Activation.LINEAR, gain=0.0)
        self.doubt = GridConv(CHANNELS, width, Activation.LINEAR, gain=0.0)

    def forward(
        self, stream: Tensor, added: Tensor, sources: Sources, apart: Tensor | None
    ) -> Tensor:
        """Ask references what the decoded latent leaves open.

        Args:
            stream: context, (B, P, h, w) on the grid.
            added: decoded latent minus the coarse one, (B, M, h, w).
            sources: what can be asked.
            apart: half the difference of two predictions, (B, 96, 2h, 2w); None where there is one.

        Returns:
            features for the refinement, (B, width, 2h, 2w).
        """
        stream = add_clipped(stream, self.enter(added.float().clamp(LOW, HIGH)))
        if self.near is not None:
            stream = self.near(stream, sources.latents, sources.fields).query
        if self.far is not None:
            stream = self.far(stream, sources)
        told = F.pixel_shuffle(self.up(stream), 2)
        return told if apart is None else told + self.doubt(apart.clamp(LOW, HIGH))
