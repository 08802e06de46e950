"""One traversal of a motion field, from sparse vectors to dense ones, in exact arithmetic.

    previous field ----------------------.
    known vectors --- four neighbours --- expected vector, activity --- (+) mean, log-scale
                                      '-- net (learned correction) ------'   |
    field ----------------------------------------------------- [channel] ---'--- known vectors

Symbols are quarter luma samples. First come *anchors*, one vector of each square of 2**levels a
side. Every level then halves the distance in two steps: centres of squares from their corners, and
what lies between from two corners and two centres. So half of all vectors are expected from four
direct neighbours, and few from nothing but the previous field.

Source: motion coding of the dual-domain codec (arXiv 2512.10450), unread in detail. Deviations:
no hyper-prior, and coarse to fine instead of the four-step order of DCVC-DC (arXiv 2302.14402).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import ConfigError
from kinema.nn.blocks import GridBlock
from kinema.nn.exact import (
    HIGH,
    LOW,
    Activation,
    Arithmetic,
    GridConv,
    GridLayer,
    whole_tensor,
)
from kinema.parts.channels import Channel, Distribution
from kinema.parts.laplace import NUM_FRACTIONS
from kinema.parts.motion_field import FIELD_LIMIT
from kinema.parts.quality import QualityTable

KNOTS = 8
ANCHORS, CENTRES, BETWEEN = range(3)  # kinds of steps
STRAIGHT = ((-1, 0), (0, -1), (0, 1), (1, 0))  # neighbours by row and column
DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
GRID_PER_SYMBOL = 8.0  # a quarter sample enters nets as this many activation steps
GRID_PER_FLAG = 64.0
GRID_PER_CRF = 32.0
GRID_PER_NAT = 64.0  # log-scales, of nets and tables, count 1/64 nat
FEATURES = 29
LEAST_LOG_SCALE = -2.375  # tables below it leave symbols out; vectors must arrive as they are
THRESHOLDS = (0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32, 64)  # quarter samples
NUM_CLASSES = len(THRESHOLDS) + 2  # of activity; the last one for anchors without previous field


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """Size of the motion codec."""

    levels: int = 2  # 1 + 2 levels steps; anchors stand 2**levels vectors apart
    width: int = 32  # channels of each step's net

    def __post_init__(self) -> None:
        if self.levels < 1 or self.width < 1:
            raise ConfigError(f"found {self.levels} levels, width {self.width}; expected 1 or more")


class _Step(NamedTuple):
    """Some vectors of a lattice, every `stride`th of every `stride`th row, coded at once."""

    stride: int
    kind: int


class _Places(NamedTuple):
    """Who is who on a lattice."""

    known: Tensor  # 1 where vectors are known before the step, else 0; (1, 1, h, w) fp64
    coded: Tensor | None  # ascending positions by rows, columns, components; None if all


class _View(NamedTuple):
    """What is known around each place of a lattice, in quarter samples."""

    expected: Tensor  # vectors, multiples of 1/16, (B, 2, h, w) fp64
    activity: Tensor  # how much vectors differ around here, 0 or more, (B, 2, h, w) fp64
    features: Tensor  # whole numbers on the grid, (B, FEATURES - 2, h, w) fp32


class MotionCodec(GridLayer):
    """Codes a motion field through any channel. Untrained, it expects the mean of neighbours."""

    tensor_names = ("scales",)

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.steps = [_Step(2**config.levels, ANCHORS)]
        for level in reversed(range(config.levels)):
            self.steps += [_Step(2**level, CENTRES), _Step(2**level, BETWEEN)]
        width = config.width
        self.enter = nn.ModuleList([GridConv(FEATURES, width) for _ in self.steps])
        self.mix = nn.ModuleList([GridBlock(width) for _ in self.steps])
        self.leave = nn.ModuleList(
            [GridConv(width, 4, Activation.LINEAR, gain=0.0) for _ in self.steps]
        )
        self.scales = nn.Parameter(torch.stack([_first_scales(s.kind) for s in self.steps]))
        self.usual = QualityTable(torch.zeros(KNOTS, 2 * len(self.steps)), fraction_bits=6)

    def code(
        self,
        field: Tensor | None,
        previous: Tensor | None,
        crf: Tensor,
        size: tuple[int, int],
        channel: Channel,
    ) -> Tensor:
        """Carry a field through `channel`; it arrives unchanged.

        Args:
            field: (B, 2, h, w), whole numbers of quarter luma samples; None when decoding.
            previous: what the decoder knows of the motion before, likewise; None if nothing.
            crf: (B,) qualities.
            size: (h, w).
            channel: where the symbols go to, or come from.

        Returns:
            the field as the decoder knows it, (B, 2, h, w) fp32, up to FIELD_LIMIT.
        """
        known = torch.zeros(len(crf), 2, *size, dtype=torch.float64, device=crf.device)
        before = known.clone() if previous is None else previous.double()
        pictures = _describe_pictures(crf, is_first=previous is None)
        usual = self.usual(crf).double().unflatten(1, (-1, 2))[..., None, None]
        for index, (stride, kind) in enumerate(self.steps):
            lattice = (..., slice(None, None, stride), slice(None, None, stride))
            here = known[lattice]
            places = _find_places(kind, (here.shape[2], here.shape[3]), crf.device)
            if places.coded is not None and not len(places.coded):
                continue
            view = _look(kind, here, before[lattice], places.known)
            mean, log_scale = self._predict(index, view, pictures)
            log_scale = (log_scale + usual[:, index]).clamp(min=LEAST_LOG_SCALE)
            symbols = channel.carry(
                None if field is None else field[lattice],
                Distribution(mean, log_scale, places.coded),
            )
            known[lattice] += symbols.detach().clamp(-FIELD_LIMIT, FIELD_LIMIT)
        return known.float()

    def grid_tensors(self) -> dict[str, Tensor]:
        """Log-scale by step and class of activity: `scales` (steps, NUM_CLASSES) int16."""
        scales = torch.round(self.scales.detach() * GRID_PER_NAT)
        return {"scales": scales.clamp(-(2**15), 2**15 - 1).to(torch.int16)}

    def load_grid_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take whole-number log-scales and run frozen from now on.

        Raises:
            ConfigError: another type or shape.
        """
        scales = whole_tensor(tensors, "scales", torch.int16, self.scales.shape)
        self.scales = nn.Parameter(scales.float() / GRID_PER_NAT, requires_grad=False)
        self.arithmetic = Arithmetic.FROZEN

    def thaw(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Log-scales as training has them."""
        return {"scales": tensors["scales"] / GRID_PER_NAT}

    def _predict(self, index: int, view: _View, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean in quarter samples and log-scale in nats of step `index`: (B, 2, h, w) fp64."""
        wide = pictures.expand(-1, -1, *view.features.shape[2:])
        with torch.autocast(wide.device.type, enabled=False):
            f = self.enter[index](torch.cat([view.features, wide], 1))
            shift, log_scale = self.leave[index](self.mix[index](f)).double().chunk(2, 1)
        thresholds = torch.tensor(THRESHOLDS, dtype=torch.float64, device=wide.device)
        classes = torch.bucketize(view.activity, thresholds, right=True)
        if self.steps[index].kind == ANCHORS:
            has_previous = pictures[:, :1] > 0
            classes = torch.where(has_previous, classes, NUM_CLASSES - 1)
        scales = self.on_grid(self.scales[index].double() * GRID_PER_NAT)
        mean = view.expected + shift * (1 / NUM_FRACTIONS)
        return mean, (scales[classes] + log_scale) * (1 / GRID_PER_NAT)


def _first_scales(kind: int) -> Tensor:
    """Log-scales to begin with: a scale grows with the activity; (NUM_CLASSES,)."""
    middles = torch.tensor([0, *THRESHOLDS]) * 1.2
    base, slope, nothing = ((1.5, 1.5, 8.0), (0.6, 0.6, 1.0), (0.5, 0.5, 1.0))[kind]
    return torch.log(torch.cat([base + slope * middles, torch.tensor([nothing])]))


def _describe_pictures(crf: Tensor, *, is_first: bool) -> Tensor:
    """Features that are the same everywhere: is there a previous field, crf; (B, 2, 1, 1) fp32."""
    flag = torch.full_like(crf, 0.0 if is_first else GRID_PER_FLAG)
    return torch.stack([flag, torch.round(crf * GRID_PER_CRF)], 1)[:, :, None, None].float()


def _look(kind: int, known: Tensor, previous: Tensor, is_known: Tensor) -> _View:
    """Gather what the four neighbours of each place tell.

    Anchors know no vectors: they look at the previous field in their place.

    Args:
        kind: of the step.
        known: vectors, 0 where unknown, (B, 2, h, w) fp64.
        previous: vectors of the previous field, likewise.
        is_known: 1 or 0, (1, 1, h, w).
    """
    seen = previous if kind == ANCHORS else known
    around = _gather(torch.cat([seen, previous, is_known.expand_as(seen[:, :1])], 1), kind)
    vectors, old, weight = torch.split(around, [2, 2, 1], 2)
    count = weight.sum(0)
    divisor = count.clamp(min=1)
    mean = torch.where(count > 0, _to_sixteenths(vectors.sum(0) / divisor), previous)
    old_mean = torch.where(count > 0, _to_sixteenths((old * weight).sum(0) / divisor), previous)
    expected = previous if kind == ANCHORS else mean
    away = (vectors - expected) * weight
    apart = away - (old - old_mean) * weight
    spread = away.abs().sum(0) / divisor
    contrast = previous - old_mean
    activity = 1.5 * spread + 0.5 * spread.flip(1) + 0.5 * contrast.abs()
    surprise = (seen - mean) * is_known
    parts = [*away, *apart, contrast, previous - expected, spread, surprise, expected]
    features = torch.cat([*parts, count * (GRID_PER_FLAG / GRID_PER_SYMBOL / 4)], 1)
    features = torch.round(features * GRID_PER_SYMBOL).clamp(LOW, HIGH).float()
    return _View(expected, activity, features)


def _gather(values: Tensor, kind: int) -> Tensor:
    """The four neighbours of each place, zeros beyond the border: (4, B, C, h, w)."""
    height, width = values.shape[2:]
    padded = F.pad(values, (1, 1, 1, 1))
    places = DIAGONAL if kind == CENTRES else STRAIGHT
    return torch.stack(
        [padded[:, :, 1 + r : 1 + r + height, 1 + c : 1 + c + width] for r, c in places]
    )


def _to_sixteenths(vectors: Tensor) -> Tensor:
    return torch.round(vectors * NUM_FRACTIONS) * (1 / NUM_FRACTIONS)


@lru_cache(maxsize=32)
def _find_places(kind: int, size: tuple[int, int], device: torch.device) -> _Places:
    """Tell what is known and what is coded on a lattice of `size` (h, w); kept for next time."""
    with torch.inference_mode(mode=False):  # what is kept must also serve a training step
        row = torch.arange(size[0], device=device)[:, None] % 2
        column = torch.arange(size[1], device=device) % 2
        known = {ANCHORS: row >= 0, CENTRES: row + column == 0, BETWEEN: row == column}[kind]
        known = known.expand(size)
        coded = {CENTRES: row * column == 1, BETWEEN: row != column}.get(kind)
        if coded is not None:
            coded = coded[..., None].expand(-1, -1, 2).flatten().nonzero().squeeze(1)
        return _Places(known.double()[None, None], coded)
