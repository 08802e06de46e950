"""What the decoder expects of a latent: hyper-prior and spatial prior, in exact arithmetic.

Scales are logarithms, so that no exponential is needed: the nets give table indices. Means are
amplitudes, so that what is learned at one quality holds at another.

Source: hyper-prior, Balle et al. (arXiv 1802.01436); four-step order, DCVC-DC (arXiv 2302.14402),
section 3.3. Deviation: hyper-latents are Laplacian with a mean and scale per channel and quality.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.blocks import FreeBlock, GridBlock
from kinema.nn.exact import (
    HIGH,
    LOW,
    Activation,
    Arithmetic,
    GridConv,
    GridLayer,
    add_clipped,
    whole_tensor,
)
from kinema.parts.channels import Distribution
from kinema.parts.quadtree import (
    NUM_QUARTERS,
    ORDER,
    by_quarter,
    check_channels,
    cut_all_channels,
)
from kinema.parts.quality import QualityTable

KNOTS = 8
PHASE_UNIT = 64.0
GRID_PER_NAT = 64.0  # a net's unit of log-scale: 1/64 nat
GRID_PER_SYMBOL = 64.0  # hyper-latent symbols enter the net 64 times larger


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Widths of the entropy model."""

    latent_channels: int = 384  # M
    hyper_channels: int = 64  # Z
    prior_channels: int = 192  # P, even
    num_experts: int = 1  # E, of the quantiser steps; 1 is one step per channel and quality


class HyperPrior(GridLayer):
    """h_a, h_s and the distribution of the hyper-latent z at 1/64.

    h_a is ordinary floating point and the encoder's alone; the rest is exact.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        width, hyper = config.prior_channels, config.hyper_channels
        self.enter = nn.Conv2d(config.latent_channels, width, 1)
        self.first = FreeBlock(width)
        self.down = nn.Conv2d(width, width, 2, stride=2)
        self.second = FreeBlock(width)
        self.leave = nn.Conv2d(width, hyper, 2, stride=2)
        self.mean = QualityTable(torch.zeros(KNOTS, hyper), fraction_bits=6)
        self.log_scale = QualityTable(torch.zeros(KNOTS, hyper), fraction_bits=6)
        self.up_first = GridConv(hyper, width * 2, Activation.LINEAR)
        self.mix_first = GridBlock(width // 2)
        self.up_second = GridConv(width // 2, width * 4, Activation.LINEAR)
        self.quality = QualityTable(torch.zeros(KNOTS, width), unit=64.0)
        self.mix_second = GridBlock(width)

    def analysis(self, s: Tensor) -> Tensor:
        """h_a: latent in steps (B, M, h, w) -> z (B, Z, ceil(h/4), ceil(w/4)); encoder only."""
        height, width = s.shape[-2:]
        s = F.pad(s, (0, -width % 4, 0, -height % 4), mode="replicate")
        f = self.first(self.enter(torch.asinh(s).float()))
        return 2.0 * self.leave(self.second(self.down(f))).float()

    def distribution(self, crf: Tensor, size: tuple[int, ...]) -> Distribution:
        """Tell what is known of z, of spatial `size`, at the qualities `crf` (B,).

        Mean and scale are the same at every position.
        """
        mean = self.mean(crf)[:, :, None, None].expand(-1, -1, *size)
        log_scale = self.log_scale(crf)[:, :, None, None].expand(-1, -1, *size)
        return Distribution(mean, log_scale)

    def synthesis(self, z_hat: Tensor, crf: Tensor) -> Tensor:
        """h_s: symbols of z (B, Z, h, w) -> features (B, P, 4h, 4w) on the grid."""
        f = (z_hat.float() * GRID_PER_SYMBOL).clamp(LOW, HIGH)
        f = F.pixel_shuffle(self.up_first(f), 2).clamp(LOW, HIGH)
        f = F.pixel_shuffle(self.up_second(self.mix_first(f)), 2)
        f = add_clipped(self.quality(crf)[:, :, None, None].to(f.dtype).expand_as(f).clone(), f)
        return self.mix_second(f)


class SpatialPrior(GridLayer):
    """Mean and scale of the latent, in four steps; each knows the symbols of those before it."""

    tensor_names = ("phase",)
    is_binding, is_centred = True, False

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        latent, width = config.latent_channels, config.prior_channels
        check_channels(latent)
        self.enter = nn.ModuleList(
            [GridConv(latent + width, width, Activation.LINEAR) for _ in ORDER[1:]]
        )
        self.phase = nn.ParameterList([nn.Parameter(torch.zeros(width, 2, 2)) for _ in ORDER[1:]])
        self.mix = nn.ModuleList([GridBlock(width) for _ in ORDER[1:]])
        self.leave = nn.ModuleList(
            [
                GridConv(
                    NUM_QUARTERS * width,
                    latent * 2,
                    Activation.LINEAR,
                    groups=NUM_QUARTERS,
                    gain=0.1,
                )
                for _ in ORDER
            ]
        )
        self.log_scale = QualityTable(torch.zeros(KNOTS, latent), fraction_bits=6)

    def expect(self) -> float:
        """Nothing is expected."""
        return 0.0

    def hyper_distribution(self, usual: Distribution, crf: Tensor) -> Distribution:
        """Nothing more is known of z than of any frame's."""
        del crf
        return usual

    def begin(self, features: Tensor) -> Tensor:
        """Nothing more is known than the hyper-prior's features."""
        return features

    def divide(self, sizes: Tensor) -> "SpatialPrior":
        """Nothing depends on sizes but what the features say of them."""
        del sizes
        return self

    def predict(
        self, index: int, features: Tensor, known: Tensor | None, crf: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Distribution for step `index`.

        Args:
            index: step, 0 to 3.
            features: h, (B, P, h, w).
            known: amplitudes of earlier steps on the grid, zero elsewhere; None in step 0.
            crf: (B,).

        Returns:
            mean in amplitudes, log-scale in nats, of what the step codes (`quadtree.cut`); both
            (B, M, ceil(h/2), ceil(w/2)).
        """
        f = features if known is None else self.look(index, features, known)
        return self.read_off(index, f, crf)

    def look(
        self, index: int, features: Tensor, known: Tensor, more: Tensor | None = None
    ) -> Tensor:
        """Join features, known amplitudes and what `more` adds before step `index`, 1 to 3.

        Returns:
            (B, P, h, w) on the grid.
        """
        f = self.enter[index - 1](torch.cat([known.to(features.dtype), features], 1))
        f = f if more is None else f + more
        return self.mix[index - 1](add_clipped(self._tile(index - 1, f), f))

    def read_off(self, index: int, f: Tensor, crf: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of step `index`, as `predict` gives them, from features."""
        both = self.leave[index](cut_all_channels(f, index)).float()
        halves = [quarter.chunk(2, 1) for quarter in both.chunk(NUM_QUARTERS, 1)]
        mean, log_scale = (torch.cat(parts, 1) for parts in zip(*halves, strict=True))
        usual = by_quarter(self.log_scale(crf))[:, :, None, None]
        return mean, log_scale / GRID_PER_NAT + usual

    def grid_tensors(self) -> dict[str, Tensor]:
        """Offsets by place in the 2x2 cell: `phase` (3, P, 2, 2) int16."""
        phase = torch.stack([torch.round(p.detach() * PHASE_UNIT) for p in self.phase])
        return {"phase": phase.clamp(-(2**15), 2**15 - 1).to(torch.int16)}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number offsets and run frozen from now on.

        Raises:
            ConfigError: another type or shape.
        """
        shape = torch.Size((len(self.phase), *self.phase[0].shape))
        phase = whole_tensor(tensors, "phase", torch.int16, shape).float() / PHASE_UNIT
        self.phase = nn.ParameterList([nn.Parameter(p, requires_grad=False) for p in phase])
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """One list of offsets per step."""
        return {f"phase.{i}": phase / PHASE_UNIT for i, phase in enumerate(tensors["phase"])}

    def _tile(self, index: int, like: Tensor) -> Tensor:
        phase = self.on_grid(self.phase[index] * PHASE_UNIT)
        height, width = like.shape[-2:]
        tile = phase.repeat(1, -(-height // 2), -(-width // 2))[:, :height, :width]
        return tile.to(like.dtype).expand_as(like)
