"""The leaky bucket: what a receiver must hold so that a constant rate plays without a break.

Frames pour their bits in, all at once; a constant rate leaks out. As long as nothing overflows,
any stretch of the sequence has at most rate * (its length + buffer) bits.
"""

from dataclasses import dataclass

from kinema.errors import ConfigError


@dataclass(slots=True)
class LeakyBucket:
    """How full a bucket is after each frame. Times are in seconds, amounts in bits.

    Attributes:
        rate_bps: what leaks, in bits per second.
        buffer_s: what fits, in seconds of the rate.
        fullness: after the newest frame.
        peak: the highest fullness so far.
    """

    rate_bps: float
    buffer_s: float
    fullness: float = 0.0
    peak: float = 0.0
    _time_s: float | None = None  # of the newest frame

    def __post_init__(self) -> None:
        for name, value in (("bitrate", self.rate_bps), ("buffer", self.buffer_s)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} {value:g}, expected a number above 0")

    @property
    def size(self) -> float:
        """What fits."""
        return self.rate_bps * self.buffer_s

    def level(self, time_s: float) -> float:
        """Fullness just before a frame at a time; times that run backwards stand still."""
        passed_s = 0.0 if self._time_s is None else max(time_s - self._time_s, 0.0)
        return max(self.fullness - self.rate_bps * passed_s, 0.0)

    def room(self, time_s: float) -> float:
        """How many bits a frame at a time may have; below 0 after an overflow."""
        return self.size - self.level(time_s)

    def pour(self, time_s: float, bits: float) -> None:
        """Take a frame."""
        self.fullness = self.level(time_s) + bits
        self.peak = max(self.peak, self.fullness)
        self._time_s = time_s if self._time_s is None else max(time_s, self._time_s)
