"""How many bits a frame will take at a quality: foretold from its sight, learned while coding."""

import math
from collections.abc import Iterable

from kinema.bitstream.headers import FrameType
from kinema.codec.sights import Sight
from kinema.codec.target import CRF_PER_NAT
from kinema.parts.quality import MAX_CRF

BITS_PER_DETAIL = 0.24  # bits that a sample takes at crf 0, for each unit of detail, about
P_PART, P_CHANGE_PART = 0.35, 0.5  # of the bits of an I frame: of a still one; added by change
USUAL_CHANGE = 0.6  # times the detail, where a frame has none before it to compare with
MEMORY_S = 0.7  # how long what has been learned counts, in seconds
I_WEIGHT = 0.5  # of the newest I frame, at least


class BitModel:
    """Bits = factor * what the sight tells * e ** (-crf / 16.5), a factor for each frame type."""

    def __init__(self, num_samples: int) -> None:
        """Begin with what is usual.

        Args:
            num_samples: of luma, in a frame.
        """
        self._logs = dict.fromkeys(FrameType, math.log(BITS_PER_DETAIL * num_samples))
        self._seen = dict.fromkeys(FrameType, 0)  # frames of this scene

    def begin_scene(self) -> None:
        """Trust what comes more than what has been."""
        self._seen = dict.fromkeys(FrameType, 0)

    def learn(
        self, kind: FrameType, sight: Sight, crf: float, bits: float, duration_s: float
    ) -> None:
        """Take what a frame took, and for how long it is shown."""
        self._seen[kind] += 1
        lasting = I_WEIGHT if kind == FrameType.I else 1 - math.exp(-duration_s / MEMORY_S)
        weight = max(1 / self._seen[kind], lasting)
        found = math.log(max(bits, 1.0)) + crf / CRF_PER_NAT - _log_outlook(kind, sight)
        self._logs[kind] += weight * (found - self._logs[kind])

    def bits(self, kind: FrameType, sight: Sight, crf: float) -> float:
        """What a frame will take."""
        return math.exp(self._logs[kind] + _log_outlook(kind, sight) - crf / CRF_PER_NAT)

    def mean_bits(self, i_share: float, sights: Iterable[Sight], crf: float = 0.0) -> float:
        """What frames such as these will take on average, if this part of them is intra."""
        shares = ((FrameType.I, i_share), (FrameType.P, 1 - i_share))
        means = [sum(part * self.bits(k, sight, crf) for k, part in shares) for sight in sights]
        return sum(means) / len(means)


def crf_between(bits: float, wanted: float) -> float:
    """How much crf must rise for a frame of so many bits to take those that are wanted."""
    return CRF_PER_NAT * math.log(bits / wanted) if wanted > 0 else MAX_CRF


def _log_outlook(kind: FrameType, sight: Sight) -> float:
    """Logarithm of what a frame takes, beside others of its type, judging by its sight."""
    detail = sight.detail + 0.1  # never nothing
    if kind == FrameType.I:
        return math.log(detail)
    part = USUAL_CHANGE if sight.change is None else min(sight.change / detail, 1.0)
    return math.log(detail * (P_PART + P_CHANGE_PART * part))
