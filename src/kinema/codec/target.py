"""What an encoding is to reach instead of a crf, and how far from it an outcome is."""

import math
from dataclasses import dataclass

from kinema.errors import ConfigError

SIZE_TOLERANCE = 0.01  # a size may stay below its target by this part, and never exceeds it
PSNR_TOLERANCE_DB = 0.05
CRF_PER_NAT = 16.5  # crf steps that change the size by a factor of e, about
CRF_PER_DB = 2.6  # crf steps that change PSNR by 1 dB, about

FACTORS = {"k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "G": 1e9}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of coding a video, or is to be expected of it."""

    video_bytes: float  # of the file without audio packets
    audio_bytes: float
    seconds: float  # duration of the video
    psnr_db: float  # (6 Y + U + V) / 8, averaged over frames


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to reach: one of the three. In two passes, rate and size are met from below.

    Attributes:
        rate_kbps: kilobits per second of video.
        size_bytes: of the whole file, audio included.
        psnr_db: (6 Y + U + V) / 8, averaged over frames.
        passes: 1: a bitrate is held while coding, with a buffer. 2: whole encodings, two or more,
            until the target is met. None: as `num_passes` says.
        buffer_s: size of the buffer in seconds, in one pass only; None for the usual one.
        look_ahead: frames that are seen before one is coded, in one pass only; None: as usual.
    """

    rate_kbps: float | None = None
    size_bytes: int | None = None
    psnr_db: float | None = None
    passes: int | None = None
    buffer_s: float | None = None
    look_ahead: int | None = None

    def check(self) -> None:
        """Refuse what is no target.

        Raises:
            ConfigError: it is not one of the three, above 0.
        """
        values = (self.rate_kbps, self.size_bytes, self.psnr_db)
        given = [value for value in values if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise ConfigError("a target must be one of bitrate, size and PSNR, above 0")
        if self.passes not in (None, 1, 2):
            raise ConfigError(f"{self.passes} passes, expected 1 or 2")
        if self.rate_kbps is None and (self.passes == 1 or self._has_buffer):
            raise ConfigError("a single pass, a buffer and a look-ahead go with a bitrate only")
        if self.passes == 2 and self._has_buffer:
            raise ConfigError("a buffer and a look-ahead are for one pass, not for two")

    @property
    def _has_buffer(self) -> bool:
        return self.buffer_s is not None or self.look_ahead is not None

    def num_passes(self, source: str) -> int:
        """Tell how a target is met that passed `check`: 1 pass, or 2 and more.

        Args:
            source: "-" for standard input, of which a bitrate is held in one pass.
        """
        if self.passes is not None:
            return self.passes
        is_live = source == "-" and self.rate_kbps is not None
        return 1 if is_live or self._has_buffer else 2

    @property
    def tolerance(self) -> float:
        """How large the excess of an outcome may be, up or down, in crf."""
        if self.psnr_db is not None:
            return PSNR_TOLERANCE_DB * CRF_PER_DB
        return -math.log(1 - SIZE_TOLERANCE / 2) * CRF_PER_NAT

    def excess(self, outcome: Outcome) -> float:
        """By how much crf should rise, about, to meet the target; for sizes, its middle.

        Raises:
            ConfigError: audio alone is larger than the target.
        """
        if self.psnr_db is not None:
            return (outcome.psnr_db - self.psnr_db) * CRF_PER_DB
        if self.rate_kbps is not None:
            wanted = self.rate_kbps * 1000 / 8 * outcome.seconds
        else:
            wanted = (self.size_bytes or 0) - outcome.audio_bytes
        if wanted <= 0:
            audio = f"{outcome.audio_bytes:.0f} bytes"
            raise ConfigError(f"{self.describe(self.size_bytes or 0)}: audio alone takes {audio}")
        ratio = outcome.video_bytes / wanted
        return math.log(ratio / (1 - SIZE_TOLERANCE / 2)) * CRF_PER_NAT

    def describe(self, value: float | None = None) -> str:
        """Name the target, or another value of its kind, with its unit."""
        if self.psnr_db is not None:
            return f"PSNR {self.psnr_db if value is None else value:.2f} dB"
        if self.rate_kbps is not None:
            return f"bitrate {self.rate_kbps if value is None else value:.1f} kbit/s"
        return f"size {self.size_bytes if value is None else round(value)} bytes"

    def value(self, outcome: Outcome) -> float:
        """What the target is about, of an outcome."""
        if self.psnr_db is not None:
            return outcome.psnr_db
        if self.rate_kbps is not None:
            return 8 * outcome.video_bytes / outcome.seconds / 1000
        return outcome.video_bytes + outcome.audio_bytes

    def unreachable(self, best: Outcome, worst: Outcome) -> ConfigError:
        """The error to raise, given what the ends of the range of crf lead to."""
        low, high = sorted((self.value(best), self.value(worst)))
        return ConfigError(
            f"target {self.describe()} cannot be reached: crf 0 to 63 span "
            f"{self.describe(low)} to {self.describe(high)}"
        )


def parse_amount(text: str, name: str) -> float:
    """Read a number with an optional k, M or G.

    Raises:
        ConfigError: it is none, or below 0.
    """
    factor = FACTORS.get(text[-1:], 1.0)
    try:
        value = float(text[:-1] if factor != 1.0 else text) * factor
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise ConfigError(f"{name} {text!r} is not a number such as 300k or 2.5M")
    return value
