"""Cross-attention adaptation in its full width, in ordinary floating point: for GPUs.

    reference features --- ReferenceAdaptor (+) direction, distance, quality --- R_k
    X, R_k --- offsets, coarse and fine --- 3x3 neighbourhood --- attention over all R_k ---.
    X, R_k --- polarity-aware linear attention --- gate --- each times alpha_k --------------|
    X (+) fusion, begins as nothing (+) mixer -----------------------------------------------'

Source: Uni-LVC (arXiv 2603.05756), whose layout is unread; PolaFormer (ICLR 2025) for the linear
branch, without its path for values that are not aligned; docs/papers/uni_lvc.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.blocks import WsiluBlock
from kinema.parts.quality import MAX_CRF

NEIGHBOURS = tuple(product((-1, 0, 1), repeat=2))  # (dy, dx), cells
COARSE_REACH, FINE_REACH = 8.0, 2.0  # cells of offsets
COARSE = 4  # cells of the fine grid on a side of a coarse one
MOST_POWER = 4.0  # above 1
NUM_FACTS = 3  # direction, log2 of the distance, quality
POOLED = 8  # cells on a side of what the classifier sees


@dataclass(frozen=True, kw_only=True)
class PaperAdaptationConfig:
    """Widths of one place."""

    channels: int = 368  # of what is adapted
    reference_channels: int = 256
    width: int = 192  # of the attention, all heads together
    heads: int = 6  # as many groups of offsets

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ConfigError(
                f"width {self.width} for {self.heads} heads: expected a multiple of two"
            )


class PaperAdaptor(nn.Module):
    """Reference features as keys and values see them, with facts about the reference."""

    def __init__(self, feature_channels: int, channels: int) -> None:
        super().__init__()
        self.block = WsiluBlock(feature_channels, channels)
        self.embed = nn.Linear(NUM_FACTS, channels)

    def forward(self, features: Tensor, distance: int, crf: Tensor) -> Tensor:
        """Adapt features (B, F, h, w) of a reference at `distance`, coded at `crf` (B,)."""
        return self.block(features) + self.embed(_facts(distance, crf))[:, :, None, None]


class Neighbourhood(nn.Module):
    """Deformable neighbourhood: 3x3 samples around a learned place, in every reference."""

    def __init__(self, config: PaperAdaptationConfig) -> None:
        super().__init__()
        self.heads, both = config.heads, config.channels + config.reference_channels
        self.ask = nn.Conv2d(config.channels, config.width, 1)
        self.offer = nn.Conv2d(config.reference_channels, 2 * config.width, 1)
        self.coarse = nn.Sequential(
            nn.Conv2d(both, config.width, COARSE, stride=COARSE),
            nn.SiLU(),
            nn.Conv2d(config.width, 2 * self.heads, 3, padding=1),
        )
        self.fine = nn.Sequential(
            nn.Conv2d(both, config.width, 1),
            nn.SiLU(),
            nn.Conv2d(config.width, 2 * self.heads, 3, padding=1),
        )
        self.position = nn.Parameter(torch.zeros(self.heads, len(NEIGHBOURS)))

    def forward(self, x: Tensor, references: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """Answer: (B, width, h, w)."""
        q = self._split(self.ask(x))  # (B, heads, d, h, w)
        logits, values = [], []
        for reference in references:
            keys, own = (self._split(t) for t in self.offer(reference).chunk(2, 1))
            offsets = self.offsets(x, reference)
            for index, (down, right) in enumerate(NEIGHBOURS):
                shift = offsets + offsets.new_tensor((right, down))[:, None, None]
                sampled = _fetch(torch.cat([keys, own], 2), shift)
                key, value = sampled.chunk(2, 2)
                bias = self.position[:, index, None, None]
                logits.append((q * key).sum(2) / math.sqrt(q.shape[2]) + bias)
                values.append(value)
        share = torch.stack(logits).softmax(0)
        weight = torch.stack(list(alphas)).repeat_interleave(len(NEIGHBOURS), 0)
        share = share * weight[:, :, None, None, None]
        return _sum_products(share, values).flatten(1, 2)

    def offsets(self, x: Tensor, reference: Tensor) -> Tensor:
        """Where each head looks: (B, heads, 2, h, w), cells to the right and down."""
        height, width = x.shape[-2:]
        both = torch.cat([x, reference], 1)
        padded = F.pad(both, (0, -width % COARSE, 0, -height % COARSE), mode="replicate")
        far = F.interpolate(COARSE_REACH * torch.tanh(self.coarse(padded)), scale_factor=COARSE)
        near = FINE_REACH * torch.tanh(self.fine(both))
        return self._split(far[..., :height, :width] + near)

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), self.heads, -1, *x.shape[2:])


class PolarityLinear(nn.Module):
    """Linear attention that keeps signs apart, over all cells of a reference."""

    def __init__(self, config: PaperAdaptationConfig) -> None:
        super().__init__()
        self.heads, width = config.heads, config.width
        self.ask = nn.Conv2d(config.channels, 2 * width, 1)  # and the gate
        self.offer = nn.Conv2d(config.reference_channels, 2 * width, 1)
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.scale = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.power = nn.Parameter(torch.zeros(1, self.heads, 1, width // self.heads))

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Answer: (B, width, h, w)."""
        asked, gate = self.ask(x).chunk(2, 1)
        keys, values = self.offer(reference).chunk(2, 1)
        size, kind = x.shape[-2:], x.dtype
        with torch.autocast(x.device.type, enabled=False):  # powers up to 5 overflow fp16
            scale = F.softplus(self.scale.float())
            q, opposite = self._signed(asked.float() / scale)
            k, _ = self._signed((keys + self.place(keys)).float() / scale)
            v = self._rows(values.float())
            first, second = v.chunk(2, -1)
            found = torch.cat([_linear(q, k, first), _linear(opposite, k, second)], -1)
        found = found.to(kind).transpose(2, 3).flatten(1, 2).reshape(len(x), -1, *size)
        return found * gate

    def _signed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Powers of positive and negative parts, and of both changed over: (B, heads, n, 2 d)."""
        power = 1 + MOST_POWER * torch.sigmoid(self.power.float())
        rows = self._rows(x)
        plus, minus = (F.relu(s * rows).clamp(min=1e-6) ** power for s in (1, -1))
        return torch.cat([plus, minus], -1), torch.cat([minus, plus], -1)

    def _rows(self, x: Tensor) -> Tensor:
        count, channels = x.shape[:2]
        return x.reshape(count, self.heads, channels // self.heads, -1).transpose(2, 3)


class PaperAdaptation(nn.Module):
    """One place: both branches and a mixer as updates of X; the fusion begins as nothing."""

    def __init__(self, config: PaperAdaptationConfig) -> None:
        super().__init__()
        self.near, self.far = Neighbourhood(config), PolarityLinear(config)
        self.fuse = nn.Conv2d(2 * config.width, config.channels, 1)
        self.mixer = WsiluBlock(config.channels, config.channels)
        for layer in (self.fuse, self.mixer.leave, self.mixer.narrow):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, references: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        """Adapt.

        Args:
            x: (B, C, h, w).
            references: adapted features, (B, R, h, w) each.
            alphas: reliability of each, (B,), 0 to 1.
        """
        answers = [self.far(x, reference) for reference in references]
        far = torch.stack(
            [a * w[:, None, None, None] for a, w in zip(answers, alphas, strict=True)]
        )
        near = self.near(x, references, alphas)
        return self.mixer(x + self.fuse(torch.cat([near, far.sum(0)], 1)))


class ReliabilityClassifier(nn.Module):
    """How far a reference can be relied upon, from how it resembles the frame; encoder only."""

    def __init__(self, channels: int, reference_channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.match = nn.Conv2d(reference_channels, channels, 1)
        self.judge = nn.Sequential(
            nn.Linear(4 * POOLED**2 + NUM_FACTS, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        )

    def forward(self, x: Tensor, reference: Tensor, distance: int, crf: Tensor) -> Tensor:
        """Tell the logarithm of the odds that a reference is worth having: (B,)."""
        matched = self.match(reference)
        apart = (x - matched).abs().mean(1, keepdim=True)
        alike = F.cosine_similarity(x, matched, 1)[:, None]
        both = torch.cat([apart, alike], 1)
        pooled = [
            pool(both, POOLED).flatten(1) for pool in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
        ]
        length = torch.full_like(crf, math.log2(abs(distance)))
        facts = torch.stack(
            [torch.full_like(crf, math.copysign(1.0, distance)), length, crf / 63], 1
        )
        return self.judge(torch.cat([*pooled, facts], 1)).squeeze(1)


def _facts(distance: int, crf: Tensor) -> Tensor:
    """Direction, logarithm of the distance, quality of a reference: (B, NUM_FACTS)."""
    sign = torch.full_like(crf, math.copysign(1.0, distance))
    length = torch.full_like(crf, math.log2(abs(distance)))
    return torch.stack([sign, length, crf / MAX_CRF], 1)


def _sum_products(share: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Sum of values (B, heads, d, h, w), each times its share (n, B, heads, h, w)."""
    total = share[0][:, :, None] * values[0]
    for own, value in zip(share[1:], values[1:], strict=True):
        total = total + own[:, :, None] * value
    return total


def _linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Means of values by linear attention: (B, heads, n, d)."""
    count = k.shape[2]
    weight = (q * k.mean(2, keepdim=True)).sum(-1, keepdim=True)
    return torch.matmul(q, torch.matmul(k.transpose(2, 3) / count, v)) / (weight + 1e-6)


def _fetch(features: Tensor, shift: Tensor) -> Tensor:
    """Sample each head's features (B, heads, d, h, w) at cells moved by `shift`, bilinearly."""
    batch, heads, _, height, width = features.shape
    rows, columns = (
        torch.arange(n, device=shift.device, dtype=shift.dtype) for n in (height, width)
    )
    place = torch.stack([shift[:, :, 0] + columns, shift[:, :, 1] + rows[:, None]], -1)
    limit = place.new_tensor((max(width - 1, 1), max(height - 1, 1)))
    grid = (place / limit * 2 - 1).flatten(0, 1)
    sampled = F.grid_sample(features.flatten(0, 1), grid, padding_mode="border", align_corners=True)
    return sampled.reshape(batch, heads, *sampled.shape[1:])
