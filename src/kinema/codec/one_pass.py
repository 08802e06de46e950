"""A bitrate held in one pass: frames are coded as they come, and again where one is too large."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kinema.bitstream.headers import FrameHeader
from kinema.codec.bit_model import crf_between
from kinema.codec.encoder import CodedPicture, Encoder, EncoderState
from kinema.codec.leaky_bucket import LeakyBucket
from kinema.codec.look_ahead import SourceFrame
from kinema.codec.steering import PERIODS_AHEAD, Outlook, Spent, Steering
from kinema.errors import ConfigError
from kinema.parts.quality import MAX_CRF
from kinema.video.frame import VideoFormat

DEFAULT_BUFFER_S = 1.0
DEFAULT_LOOK_AHEAD = 8  # frames
MAX_LOOK_AHEAD = 250
TRIAL_ERROR = 1.0  # crf by which the first frame of a scene may be off
INDEX_BYTES = 3  # of a frame, in the index at the end of the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A bitrate to hold.

    Attributes:
        rate_bps: bits per second.
        buffer_s: size of the bucket, in seconds of the rate.
        look_ahead: frames of the source that are seen before one is coded; 0 for no delay.
    """

    rate_bps: float
    buffer_s: float = DEFAULT_BUFFER_S
    look_ahead: int = DEFAULT_LOOK_AHEAD

    def check(self) -> None:
        """Refuse what cannot be held.

        Raises:
            ConfigError: rate or buffer are not above 0; the look-ahead is below 0 or too long.
        """
        LeakyBucket(self.rate_bps, self.buffer_s)
        if not 0 <= self.look_ahead <= MAX_LOOK_AHEAD:
            raise ConfigError(f"look-ahead {self.look_ahead}, expected 0 to {MAX_LOOK_AHEAD}")


class OnePass:
    """Codes frames so that a bitrate is held.

    Attributes:
        bucket: whose fullness never exceeds its size, unless even crf 63 is too much.
        overflows: display indices of the frames that were too much.
    """

    def __init__(
        self,
        encoder: Encoder,
        pace: Pace,
        video: VideoFormat,
        frame_size: Callable[[FrameHeader, bytes], int],
    ) -> None:
        """Begin a sequence.

        Args:
            encoder: fresh.
            pace: what to hold.
            video: whose frames will come.
            frame_size: bytes of a frame in the file.
        """
        self.bucket = LeakyBucket(pace.rate_bps, pace.buffer_s)
        self.overflows: list[int] = []
        self._steering = Steering(
            self.bucket, video.width * video.height, 1 / float(video.frame_rate)
        )
        self._encoder, self._frame_size = encoder, frame_size
        self._time_base = video.time_base

    def code(self, sources: Sequence[SourceFrame]) -> list[CodedPicture]:
        """Code the next frames: at once if all fit, and no scene begins among them.

        Args:
            sources: with sights.

        Raises:
            KinemaError: as `Encoder.encode_batch`.
        """
        state = self._encoder.state
        if len(sources) > 1 and state.order.next_index and not any(s.is_cut for s in sources):
            crf = self._steering.choose(self._outlook(sources[0], len(sources)))
            coded = self._encoder.encode_batch([s.frame for s in sources], crf=crf)
            spent = [self._spent(*pair) for pair in zip(sources, coded, strict=True)]
            if sum(s.bits for s in spent) <= self.bucket.room(spent[0].time_s):
                for each in spent:
                    self._steering.accept(each)
                return coded
            self._encoder.state = state
        return [self._code_one(source) for source in sources]

    def _code_one(self, source: SourceFrame) -> CodedPicture:
        is_first = source.is_cut or not self._encoder.state.order.next_index
        if is_first:
            self._steering.begin_scene()
            self._encoder.begin_scene()
        state, outlook = self._encoder.state, self._outlook(source)
        crf = self._steering.choose(outlook)
        coded = self._encoder.encode(source.frame, crf=crf)
        if is_first:
            better = self._steering.reconsider(outlook, self._try_scene(source, coded, crf))
            if abs(better - crf) > TRIAL_ERROR:
                self._encoder.state = state
                coded = self._encoder.encode(source.frame, crf=better)
        coded = self._until_it_fits(source, coded, state)
        spent = self._spent(source, coded)
        if spent.bits > self.bucket.room(spent.time_s):
            self.overflows.append(coded.header.display_index)
        self._steering.accept(spent)
        return coded

    def _try_scene(self, source: SourceFrame, coded: CodedPicture, crf: float) -> list[Spent]:
        """What the first frame of a scene took, and what the next one takes if it is a P frame."""
        tried, state = [self._spent(source, coded)], self._encoder.state
        after = source.after
        if after and not after.is_cut and self._encoder.next_plan().references:
            tried.append(self._spent(after, self._encoder.encode(after.frame, crf=crf)))
            self._encoder.state = state
        return tried

    def _until_it_fits(
        self, source: SourceFrame, coded: CodedPicture, state: EncoderState
    ) -> CodedPicture:
        """Code a frame again, coarser, as often as it takes; the last time at crf 63.

        Args:
            source: the frame.
            coded: what came of it so far.
            state: of the encoder before it.
        """
        for is_last in (False, False, True):
            spent = self._spent(source, coded)
            room = self.bucket.room(spent.time_s)
            if spent.bits <= room or spent.crf == MAX_CRF:
                break
            crf = min(spent.crf + 1 + 1.5 * crf_between(spent.bits, room), MAX_CRF)
            self._encoder.state = state
            coded = self._encoder.encode(source.frame, crf=MAX_CRF if is_last else crf)
        return coded

    def _outlook(self, source: SourceFrame, num_frames: int = 1) -> Outlook:
        return Outlook(
            time_s=self._time_s(source),
            kinds=[self._encoder.next_plan(i).frame_type for i in range(PERIODS_AHEAD)],
            sights=source.sights,
            num_frames=num_frames,
        )

    def _spent(self, source: SourceFrame, coded: CodedPicture) -> Spent:
        in_file = self._frame_size(coded.header, coded.payload) + INDEX_BYTES
        return Spent(
            time_s=self._time_s(source),
            kind=coded.header.frame_type,
            sight=source.sights[0],
            crf=coded.crf,
            payload_bits=8 * len(coded.payload),
            bits=8 * in_file,
        )

    def _time_s(self, source: SourceFrame) -> float:
        return float(source.frame.pts * self._time_base)
