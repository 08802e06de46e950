"""A few frames of a video, coded at several qualities, foretell what the whole of it will cost."""

from dataclasses import dataclass
from functools import cache

from kinema.codec.batches import batch_length, in_batches
from kinema.codec.encoder import Encoder
from kinema.codec.encoding import EncodeSettings, open_source
from kinema.codec.target import Outcome
from kinema.errors import VideoError
from kinema.video.frame import Frame, VideoFormat
from kinema.video.quality import psnr_planes

MAX_PROBES = 24  # frames, spread over the video; while reading, up to twice as many are kept
PROBE_SAMPLES = 1 << 25  # luma samples that they have together, at most: memory is bounded
MIN_PROBES = 4
FILE_BYTES = 110  # of a file beside its packets, about
PACKET_BYTES = 16  # of a frame beside its payload, its place in the index included, about
AUDIO_PACKET_BYTES = 12


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass through a source tells."""

    frames: list[Frame]  # a few of them
    num_frames: int  # of all
    seconds: float
    audio_bytes: int


class Probes:
    """Foretells the outcome of encoding a source."""

    def __init__(self, source: str, settings: EncodeSettings) -> None:
        """Read the whole source once.

        Raises:
            KinemaError: as `encode_file`, of the input.
        """
        self._survey = survey(source, settings)
        model = settings.load_model()
        self._encoder = Encoder(model, threads=settings.threads, device=settings.device)
        self.outcome = cache(self._outcome)  # at a crf

    def _outcome(self, crf: float) -> Outcome:
        frames = self._survey.frames
        height, width = frames[0].y.shape
        size, psnr = 0, 0.0
        for group in in_batches(frames, Frame, batch_length(width, height)):
            for frame, coded in zip(group, self._encoder.encode_batch(group, crf=crf), strict=True):
                size += len(coded.payload) + PACKET_BYTES
                psnr += psnr_planes(frame, coded.frame).yuv_611
        return Outcome(
            video_bytes=FILE_BYTES + size / len(frames) * self._survey.num_frames,
            audio_bytes=self._survey.audio_bytes,
            seconds=self._survey.seconds,
            psnr_db=psnr / len(frames),
        )


def survey(source: str, settings: EncodeSettings) -> Survey:
    """Keep every n-th frame; n doubles whenever twice the wanted number has come together."""
    kept: list[Frame] = []
    stride, count, audio_bytes = 1, 0, 0
    first_pts = end_pts = 0
    with open_source(source, settings, lambda _: None) as video:
        wanted = num_probes(video.format)
        for item in video:
            if not isinstance(item, Frame):
                audio_bytes += len(item.data) + AUDIO_PACKET_BYTES
                continue
            if count % stride == 0:
                kept.append(item)
            if len(kept) >= 2 * wanted:
                kept, stride = kept[::2], stride * 2
            first_pts = item.pts if not count else first_pts
            end_pts = item.pts + item.duration
            count += 1
        seconds = float((end_pts - first_pts) * video.format.time_base)
        if seconds <= 0:
            seconds = float(count / video.format.frame_rate)
    if not kept:
        raise VideoError(f"{source}: no picture to encode")
    return Survey(kept, count, seconds, audio_bytes)


def num_probes(video: VideoFormat) -> int:
    """How many frames of a size to look at."""
    return min(MAX_PROBES, max(MIN_PROBES, PROBE_SAMPLES // (video.width * video.height)))
