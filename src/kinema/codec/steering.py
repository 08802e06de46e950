"""Which crf holds a bitrate: slowly changed, from what frames have taken and what comes next.

    what is left of the rate, what frames will take --- crf --- (coding) --- bits
               `--- leaky bucket, balance, bit model <-----------------------'

The balance says how far the whole sequence is from its rate, and is paid back over a second or
two. The bucket must never overflow; a frame is not meant to fill it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from kinema.bitstream.headers import FrameType
from kinema.codec.bit_model import BitModel, crf_between
from kinema.codec.leaky_bucket import LeakyBucket
from kinema.codec.sights import Sight
from kinema.parts.quality import MAX_CRF

PAYBACK_S = 1.5  # over how long the balance is paid back; at most twice the buffer
SHARE = (0.3, 2.0)  # of its part of the rate: what the balance may leave or give to a frame
SLEW = 4.0  # crf per second, within a scene
CATCH_UP = 1.0  # and this part of what is missing, per second
NEW_S = 0.15  # how long a scene is new, and crf free
CAUTION = 0.85  # part of the room in the bucket that a frame is meant to take, at most
PERIODS_AHEAD = 64  # frames that are planned ahead, so that I frames are counted
USUAL_GAP = 0.2  # weight of the newest gap between two frames in what is usual
MAX_GAP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is known of frames about to be coded.

    Attributes:
        time_s: of the first one.
        kinds: types of the first one and of those planned after it, `PERIODS_AHEAD` in all.
        sights: of the first one and of those after it, as far as they have been seen.
        num_frames: how many get the same crf.
    """

    time_s: float
    kinds: Sequence[FrameType]
    sights: Sequence[Sight]
    num_frames: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a coded frame took: bits of its payload, and of all that the file holds of it."""

    time_s: float
    kind: FrameType
    sight: Sight
    crf: float
    payload_bits: int
    bits: int


class Steering:
    """Chooses crf; told of every frame.

    Attributes:
        bucket: as full as it is.
    """

    def __init__(self, bucket: LeakyBucket, num_samples: int, frame_s: float) -> None:
        """Begin a sequence.

        Args:
            bucket: empty.
            num_samples: of luma, in a frame.
            frame_s: how long a frame is shown, as a rule.
        """
        self.bucket = bucket
        self._model = BitModel(num_samples)
        self._payback_s = min(PAYBACK_S, 2 * bucket.buffer_s)
        self._frame_s = frame_s
        self._balance = 0.0  # bits beyond the rate; below 0: bits saved
        self._beside = 0.0  # bits of a frame beside its payload, lately
        self._crf: float | None = None  # of the newest frame of this scene
        self._scene_s = 0.0  # how long this scene has lasted
        self._since_i = 1  # frames from the newest I frame to the next frame
        self._last_s: float | None = None

    def begin_scene(self) -> None:
        """Choose afresh: with the next frame all may be different."""
        self._model.begin_scene()
        self._crf, self._scene_s = None, 0.0

    def choose(self, outlook: Outlook) -> float:
        """The crf of the next frames."""
        model = self._model
        sights = _same_scene(outlook.sights)
        i_share = outlook.kinds.count(FrameType.I) / len(outlook.kinds)
        mean = model.mean_bits(i_share, sights)
        extra = model.mean_bits(1.0, sights) / mean - 1  # of an I frame
        due = max(
            self._balance - extra * self._frame_bits * self._swing(outlook.kinds),
            self.bucket.level(outlook.time_s) - self.bucket.size / 2,
        )
        share = 1 - due / (self.bucket.rate_bps * self._payback_s)
        wanted = self._frame_bits * min(max(share, SHARE[0]), SHARE[1]) - self._beside
        crf = self._slowly(crf_between(mean, wanted), outlook.num_frames)
        room = CAUTION * self.bucket.room(outlook.time_s) / outlook.num_frames - self._beside
        least = crf_between(model.bits(outlook.kinds[0], sights[0], 0.0), room)
        return min(max(crf, least, 0.0), MAX_CRF)

    def reconsider(self, outlook: Outlook, tried: Sequence[Spent]) -> float:
        """Take what some frames took on trial; choose again."""
        for spent in tried:
            self._learn(spent)
        return self.choose(outlook)

    def accept(self, spent: Spent) -> None:
        """Take a frame for good."""
        gap_s = self._frame_s if self._last_s is None else max(spent.time_s - self._last_s, 0.0)
        self._frame_s += USUAL_GAP * (min(gap_s, MAX_GAP_S) - self._frame_s)
        self._last_s = spent.time_s
        self.bucket.pour(spent.time_s, spent.bits)
        self._balance += spent.bits - self.bucket.rate_bps * gap_s
        self._balance = max(self._balance, -self.bucket.size)
        self._beside = spent.bits - spent.payload_bits
        self._learn(spent)
        self._crf = spent.crf
        self._scene_s += gap_s
        self._since_i = 1 if spent.kind == FrameType.I else self._since_i + 1

    def _learn(self, spent: Spent) -> None:
        self._model.learn(spent.kind, spent.sight, spent.crf, spent.payload_bits, self._frame_s)

    @property
    def _frame_bits(self) -> float:
        """A frame's part of the rate."""
        return self.bucket.rate_bps * self._frame_s

    def _slowly(self, crf: float, num_frames: int) -> float:
        """Go towards a crf, not too far at once."""
        if self._crf is None or self._scene_s < NEW_S:
            return crf
        rate = SLEW + CATCH_UP * abs(crf - self._crf)
        most = min(rate * self._frame_s * num_frames, abs(crf - self._crf))
        return min(max(crf, self._crf - most), self._crf + most)

    def _swing(self, kinds: Sequence[FrameType]) -> float:
        """Where the balance stands between two I frames, if all is well: 0.5 to -0.5 of an extra.

        Each I frame takes so much more than its part, and the P frames after it pay for it.
        """
        if FrameType.I not in kinds or FrameType.P not in kinds:
            return 0.0
        until_i = kinds.index(FrameType.I)
        return until_i / (until_i + self._since_i) - 0.5


def _same_scene(sights: Sequence[Sight]) -> list[Sight]:
    """The sights up to the next scene cut."""
    return [sights[0], *itertools.takewhile(lambda sight: not sight.is_cut, sights[1:])]
