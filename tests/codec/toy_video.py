"""A toy system with P frames, so that the codec room can be tested without a trained one.

    I frame: the mean of every 8x8 block, coded as it is
    P frame: the same symbols, expected where the frame before had them

Loaded by path. What it remembers of a frame is a value of its own kind, and it refuses references
that a codec must not give.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from kinema.models.frames import CodedFrame
from kinema.models.registry import LoadedModel
from kinema.models.weights import FrozenModel
from kinema.parts.channels import Distribution
from kinema.parts.coding import build_tables

NUMBER = 60_000  # in the bitstream; no system that ships has it
PLANES = (64, 16, 16)  # channels of x that belong to Y, U and V
INTRA_SCALE, INTER_SCALES = 3.0, (1.0, 1.25, 1.5)  # logarithms


@dataclass(frozen=True)
class ToyMemory:
    """What a frame leaves behind: its latent, and how many frames ago the last I frame was."""

    y_hat: torch.Tensor
    age: int


class ToyVideo(nn.Module):
    """Flat blocks; remembers every call in `calls`: (pictures, references)."""

    encoder_only = ("contrast",)

    def __init__(self):
        super().__init__()
        self.contrast = nn.Parameter(torch.ones(()), requires_grad=False)
        self.calls = []

    def code_frame(self, x, crf, size, channel, references=()):
        self.calls.append((len(crf), tuple(reference.distance for reference in references)))
        step = _step(crf)[:, None, None, None]
        shape = (len(crf), len(PLANES), 2 * size[0], 2 * size[1])
        mean = torch.zeros(shape, dtype=torch.float64, device=crf.device)
        log_scale, age = torch.full_like(mean, INTRA_SCALE), 0
        if references:
            (reference,) = references
            assert len(crf) == 1
            assert reference.distance == -1
            assert isinstance(reference.memory, ToyMemory)
            age = reference.memory.age + 1
            mean = reference.memory.y_hat / step
            log_scale = torch.full_like(mean, INTER_SCALES[age % len(INTER_SCALES)])
        s = None if x is None else self._means(x) / step
        y_hat = channel.carry(s, Distribution(mean, log_scale)) * step
        parts = zip(y_hat.split(1, 1), PLANES, strict=True)
        x_hat = torch.cat([part.expand(-1, count, -1, -1) for part, count in parts], 1)
        return CodedFrame(x_hat.float(), y_hat, ToyMemory(y_hat, age))

    def _means(self, x):
        parts = x.double().split(PLANES, 1)
        return torch.cat([part.mean(1, keepdim=True) for part in parts], 1) * self.contrast


def _step(crf):
    """2 ** (crf / 8), linear between powers of two: exact, whatever the machine."""
    octave = torch.floor(crf.double() / 8)
    return (1 + crf.double() / 8 - octave) * torch.exp2(octave)


@cache
def _tables():
    return build_tables()


def load_toy(structures=("low-delay", "all-intra")):
    """The toy, ready to code."""
    frozen = FrozenModel(ToyVideo(), _tables(), b"toyvideo")
    return LoadedModel(name="toy", number=NUMBER, frozen=frozen, structures=structures)


class ToyAccess(ToyVideo):
    """The same with B frames: expected half-way between its references, as levels weigh them."""

    def code_frame(self, x, crf, size, channel, references=()):
        self.calls.append((len(crf), tuple(reference.distance for reference in references)))
        assert len(references) <= 2
        assert [reference.distance > 0 for reference in references] == [False, True][
            : len(references)
        ]
        step = _step(crf)[:, None, None, None]
        shape = (len(crf), len(PLANES), 2 * size[0], 2 * size[1])
        mean = torch.zeros(shape, dtype=torch.float64, device=crf.device)
        log_scale = torch.full_like(mean, INTRA_SCALE)
        trusted = [reference for reference in references if reference.level]
        if trusted:
            assert len(crf) == 1
            mean = sum(r.memory.y_hat * r.level for r in trusted) / sum(r.level for r in trusted)
            mean, log_scale = mean / step, torch.full_like(mean, INTER_SCALES[0])
        s = None if x is None else self._means(x) / step
        y_hat = channel.carry(s, Distribution(mean, log_scale)) * step
        parts = zip(y_hat.split(1, 1), PLANES, strict=True)
        x_hat = torch.cat([part.expand(-1, count, -1, -1) for part, count in parts], 1)
        return CodedFrame(x_hat.float(), y_hat, ToyMemory(y_hat, 0))


class ToyLevels(ToyAccess):
    """The same, and it relies more on near references; on one that is too far, not at all."""

    def rate_references(self, x, crf, size, references):
        assert x.shape[0] == len(crf) == 1
        return tuple(max(0, 15 - abs(reference.distance)) for reference in references)


def load_access(*, with_levels=False):
    """The toy with B frames, ready to code."""
    network = ToyLevels() if with_levels else ToyAccess()
    frozen = FrozenModel(network, _tables(), b"toyacces")
    structures = ("low-delay", "all-intra", "random-access")
    return LoadedModel(name="toy", number=NUMBER + 1, frozen=frozen, structures=structures)
