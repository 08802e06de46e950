"""One traversal of a latent: hyper-latent first, then the latent in four steps.

The same lines run in training, encoding and decoding; only the channel differs (Estimate, Write,
Read). The grid of symbols is round(y / step), free of context.

    chroma offsets, if they follow from the picture --- [channel] --- (x) step map
    y --- hyper_analysis --- z --- [channel] --- hyper_synthesis --- h P@1/16 --- step map
    sizes of blocks, if y can be divided --- [channel] --- (+) h
    y/step --- step 1 --- [channel] --- step 2 --- [channel] --- ... --- symbols
               (mean, scale) from h and all symbols of earlier steps
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from kinema.nn.blocks import one_by_one
from kinema.nn.exact import HIGH, LOW, GridLayer
from kinema.parts.block_sizes import BlockSizes, insist, pick, price
from kinema.parts.channels import Channel, Distribution
from kinema.parts.chroma_offsets import (
    carry_offsets,
    choose_offsets,
    scale_shifts,
    share_weight,
    step_factors,
)
from kinema.parts.experts import QualityExperts
from kinema.parts.priors import HyperPrior, PriorConfig, SpatialPrior
from kinema.parts.quadtree import ORDER, by_quarter, cut, inside, put


class LatentInput(NamedTuple):
    """A latent that is to be coded.

    Attributes:
        y: amplitudes, (B, M, h, w).
        weight: bits that a squared error of them costs, (B, M), where symbols are to be chosen by
            rate and distortion; None rounds.
        z: hyper-latent, where it is known already.
        divided: amplitudes in each size of blocks, (S, B, M, h, w), where sizes are to be chosen.
        sizes: of blocks, (B, h, w), where they are known already.
        offsets: of chroma steps, (B, 2), where they are known already.
    """

    y: Tensor
    weight: Tensor | None = None
    z: Tensor | None = None
    divided: Tensor | None = None
    sizes: Tensor | None = None
    offsets: Tensor | None = None


class CodedLatent(NamedTuple):
    """A latent as the decoder knows it.

    Attributes:
        y_hat: amplitudes, (B, M, h, w).
        z_hat: symbols of the hyper-latent, (B, Z, ceil(h/4), ceil(w/4)).
        steps: of the quantiser, (B, M, h, w) amplitudes.
        shares: what each expert has to say about the steps, (B, E, h, w).
        sizes: of blocks, (B, h, w), if the codec carries them.
        offsets: of chroma steps, (B, 2), if the codec carries them.
    """

    y_hat: Tensor
    z_hat: Tensor
    steps: Tensor
    shares: Tensor
    sizes: Tensor | None = None
    offsets: Tensor | None = None


class Guide(Protocol):
    """What tells distributions: the spatial prior, or one that knows more than the frame.

    Attributes:
        is_binding: of the distributions of the latent; see `Distribution`.
        is_centred: symbols count from the mean; else from zero, and frames look alike whatever is
            known of them.
    """

    @property
    def is_binding(self) -> bool:
        """See above."""

    @property
    def is_centred(self) -> bool:
        """See above."""

    def expect(self) -> Tensor | float:
        """Tell what is expected of the latent before anything is decoded; for the encoder."""
        ...

    def hyper_distribution(self, usual: Distribution, crf: Tensor) -> Distribution:
        """Tell what is known of z, given what is known of any frame's."""
        ...

    def begin(self, features: Tensor) -> Tensor:
        """Add what else is known to the hyper-prior's features, (B, P, h, w)."""
        ...

    def divide(self, sizes: Tensor) -> "Guide":
        """Tell the same of a latent whose blocks have the given sizes, (B, h, w)."""
        ...

    def predict(
        self, index: int, features: Tensor, known: Tensor | None, crf: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of a step, as `SpatialPrior.predict`."""
        ...


class LatentCodec(GridLayer):
    """Codes a latent at a quality, through any channel."""

    def __init__(
        self,
        config: PriorConfig,
        log_steps: Tensor,
        prior: SpatialPrior | None = None,
        block_sizes: BlockSizes | None = None,
        *,
        hyper_rest: float = 0.0,
        has_offsets: bool = False,
    ) -> None:
        """Create the codec.

        Args:
            config: widths.
            log_steps: (knots, M), natural logarithm of the initial quantiser steps.
            prior: its own; None for a spatial prior.
            block_sizes: carries sizes of blocks; None if all have one, or are known before.
            hyper_rest: by how much, in steps, an encoder draws a hyper-latent towards its mean
                before it rounds (docs/LOG.md, "Hyper-latents that stay").
            has_offsets: carries chroma offsets; else every picture has the same steps.
        """
        super().__init__()
        self.num_channels = config.latent_channels
        self.steps = QualityExperts(log_steps, config.prior_channels, config.num_experts)
        self.hyper = HyperPrior(config)
        self.block_sizes = block_sizes
        self.hyper_rest = hyper_rest
        self.has_offsets = has_offsets
        self.spatial = prior or SpatialPrior(config)

    def code(
        self,
        latent: LatentInput | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        guide: Guide | None = None,
    ) -> CodedLatent:
        """Carry a latent through `channel`.

        Args:
            latent: what to code, or None when decoding.
            crf: (B,) qualities.
            size: (h, w).
            channel: where the symbols go to, or come from.
            guide: instead of the spatial prior; whole symbols that come in stay as they are, only
                their bits change.
        """
        guide = guide or self.spatial
        offsets = self._carry_offsets(latent, crf, channel, guide) if self.has_offsets else None
        z_hat = self._carry_hyper_latent(latent, crf, size, channel, guide)
        features = self.hyper.synthesis(z_hat, crf)[:, :, : size[0], : size[1]]
        steps, shares = self.steps(features, crf)
        features, sizes = guide.begin(features), None
        if self.block_sizes is not None:
            costs = None if latent is None else self._costs(latent, crf)
            sizes, features = self.block_sizes.code(costs, features, crf, channel)
            guide = guide.divide(sizes)
            if latent is not None and latent.divided is not None:
                latent = latent._replace(y=pick(latent.divided, sizes))
        shifts: Tensor | None = None
        if offsets is not None:
            steps = _scale(steps, step_factors(offsets, self.num_channels))
            shifts = by_quarter(scale_shifts(offsets, self.num_channels))[:, :, None, None]
            if latent is not None and latent.weight is not None:
                latent = latent._replace(weight=share_weight(latent.weight, offsets))
        y_hat: Tensor | None = None
        known: Tensor | None = None
        for index in range(len(ORDER)):
            mean, log_scale = guide.predict(index, features, known, crf)
            log_scale = log_scale if shifts is None else log_scale - shifts
            step = cut(steps, index, beyond=1.0)
            coded = _carry(latent, index, size, step, (mean, log_scale), guide, channel)
            y_hat = put(coded, index, size, y_hat)
            known = put(self.on_grid(coded).float().clamp(LOW, HIGH), index, size, known)
        assert y_hat is not None
        return CodedLatent(y_hat, z_hat, steps, shares, sizes, offsets)

    def _carry_offsets(
        self, latent: LatentInput | None, crf: Tensor, channel: Channel, guide: Guide
    ) -> Tensor:
        """Those that are known, or that what is left of the picture asks for."""
        offsets = None if latent is None else latent.offsets
        if latent is not None and offsets is None:
            left = _unexpected(latent, guide)
            offsets = choose_offsets(left, self.steps.base(crf), latent.weight)
        return carry_offsets(offsets, len(crf), channel)

    def _carry_hyper_latent(
        self,
        latent: LatentInput | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
        guide: Guide,
    ) -> Tensor:
        z_size = tuple(-(-n // 4) for n in size)
        z = None if latent is None else self._hyper_latent(latent, crf, guide)
        usual = guide.hyper_distribution(self.hyper.distribution(crf, z_size), crf)
        if self.hyper_rest and z is not None and channel.is_final:
            z = z - (z - usual.mean).clamp(-self.hyper_rest, self.hyper_rest)
        return channel.carry(z, usual)

    def _costs(self, latent: LatentInput, crf: Tensor) -> Tensor:
        """Of each size of each block; whole blocks where nothing tells more."""
        if latent.divided is not None and latent.weight is not None:
            return price(latent.divided, self.steps.base(crf), latent.weight)
        count, _, height, width = latent.y.shape
        whole = torch.zeros(count, height, width, dtype=torch.long, device=latent.y.device)
        return insist(whole if latent.sizes is None else latent.sizes)

    def _hyper_latent(self, latent: LatentInput, crf: Tensor, guide: Guide) -> Tensor:
        if latent.z is not None:
            return latent.z
        s = _unexpected(latent, guide) / self.steps.base(crf)[:, :, None, None]
        return one_by_one(self.hyper.analysis, s)


def _unexpected(latent: LatentInput, guide: Guide) -> Tensor:
    """What is left to be coded."""
    return latent.y - guide.expect() if guide.is_centred else latent.y


def _scale(steps: Tensor, factors: Tensor) -> Tensor:
    """Multiply steps (B, M, h, w) by factors (B, M); what is the same everywhere stays so."""
    factors = factors.to(steps.dtype)[:, :, None, None]
    if steps.stride(2) == steps.stride(3) == 0:
        return (steps[:, :, :1, :1] * factors).expand_as(steps)
    return steps * factors


def _carry(  # noqa: PLR0913  # what one step of the traversal knows
    latent: LatentInput | None,
    index: int,
    size: tuple[int, int],
    step: Tensor,
    predicted: tuple[Tensor, Tensor],
    guide: Guide,
    channel: Channel,
) -> Tensor:
    """Carry what step `index` codes; amplitudes, (B, M, ceil(h/2), ceil(w/2)).

    Steps and means are whole numbers on their grids, so that amplitudes are; divisions are
    correctly rounded, and so the same everywhere once steps are fp64.
    """
    mean, log_scale = predicted[0].to(step.dtype), predicted[1]
    places = inside(mean.shape[1], size, index, mean.device)
    y = None if latent is None else cut(latent.y, index)
    weight = None if latent is None else latent.weight
    cost = None if weight is None else by_quarter(weight)[:, :, None, None] * step.square()
    if not guide.is_centred:
        known = Distribution(mean / step, log_scale, places, cost, guide.is_binding)
        return channel.carry(None if y is None else y / step, known) * step
    known = Distribution(torch.zeros_like(mean), log_scale, places, cost, guide.is_binding)
    symbols = channel.carry(None if y is None else (y - mean) / step, known)
    return _still(symbols) * step + mean


def _still(symbols: Tensor) -> Tensor:
    """Where nothing is added to a mean, what was to be coded has no gradient, but the mean has."""
    return torch.where(symbols.detach().abs() < 0.5, symbols.detach(), symbols)
