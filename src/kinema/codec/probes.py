"""A few frames of a video, coded at several qualities, foretell what the whole of it will cost.

Where frames refer to others, they are looked at in short runs, each of which begins with an intra
frame, and what P frames cost is averaged apart from what I frames cost.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from kinema.bitstream.headers import FrameType
from kinema.codec.batches import batch_length, in_batches
from kinema.codec.encoding import EncodeSettings, open_source
from kinema.codec.look_ahead import SourceFrame, foresee
from kinema.codec.order import plan_all
from kinema.codec.structure import SequencePlan, Structure
from kinema.codec.target import Outcome
from kinema.errors import VideoError
from kinema.video.frame import Frame, VideoFormat
from kinema.video.quality import psnr_planes

MAX_PROBES = 24  # frames, spread over the video; while reading, up to twice as many are kept
PROBE_SAMPLES = 1 << 25  # luma samples that they have together, at most: memory is bounded
MIN_PROBES = 4
MAX_RUN = 4  # frames
FILE_BYTES = 110  # of a file beside its packets, about
PACKET_BYTES = 16  # of a frame beside its payload, its place in the index included, about
AUDIO_PACKET_BYTES = 12


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass through a source tells."""

    frames: list[Frame]  # a few of them, in runs of equal length; the last one may be shorter
    num_frames: int  # of all
    cuts: list[int]  # display indices at which scenes begin, but for the first one
    seconds: float
    audio_bytes: int


class Probes:
    """Foretells the outcome of encoding a source."""

    def __init__(self, source: str, settings: EncodeSettings) -> None:
        """Read the whole source once.

        Raises:
            KinemaError: as `encode_file`, of the input.
        """
        settings = replace(settings, model=settings.load_model())
        plan = settings.open_encoder().plan
        run = plan.longest_run(MAX_RUN)
        if plan.structure.reorders and run > 1:
            run += 1  # and the frame that closes the group
        self._survey = survey(source, settings, run)
        self._counts = count_types(plan, self._survey.num_frames, self._survey.cuts)
        self._settings, self._run = replace(settings, intra_period=run), run
        self.outcome = cache(self._outcome)  # at a crf

    def _outcome(self, crf: float) -> Outcome:
        encoder = self._settings.open_encoder()
        counts: Counter[FrameType] = Counter()
        sizes, psnrs = dict.fromkeys(FrameType, 0), dict.fromkeys(FrameType, 0.0)
        for group in self._groups(encoder.plan.structure):
            if encoder.plan.structure.reorders:
                encoder.begin_scene()
            sources = {frame.pts: frame for frame in group}
            for coded in [*encoder.encode_batch(group, crf=crf), *encoder.finish()]:
                kind = coded.header.frame_type
                counts[kind] += 1
                sizes[kind] += len(coded.payload) + PACKET_BYTES
                psnrs[kind] += psnr_planes(sources[coded.frame.pts], coded.frame).yuv_611
        weights = {kind: self._counts[kind] / count for kind, count in counts.items()}
        return Outcome(
            video_bytes=FILE_BYTES + sum(sizes[k] * weight for k, weight in weights.items()),
            audio_bytes=self._survey.audio_bytes,
            seconds=self._survey.seconds,
            psnr_db=sum(psnrs[k] * w for k, w in weights.items()) / self._survey.num_frames,
        )

    def _groups(self, structure: Structure) -> Iterator[list[Frame]]:
        """Divide the frames: run by run where runs are scenes of their own."""
        height, width = self._survey.frames[0].y.shape
        length = self._run if structure.reorders else batch_length(width, height)
        return in_batches(self._survey.frames, Frame, length)


def count_types(plan: SequencePlan, num_frames: int, cuts: list[int]) -> Counter[FrameType]:
    """Count the frames of each type in a sequence with scene cuts at these display indices."""
    return Counter(each.frame_type for each in plan_all(plan, num_frames, tuple(cuts)))


def survey(source: str, settings: EncodeSettings, run: int = 1) -> Survey:
    """Keep every n-th run of frames; n doubles whenever twice the wanted number has come together.

    Args:
        source: as `open_source`.
        settings: what part of it is meant.
        run: frames of a run.
    """
    kept: list[list[Frame]] = []
    cuts: list[int] = []
    stride, count, audio_bytes = 1, 0, 0
    first_pts = end_pts = 0
    with open_source(source, settings, lambda _: None) as video:
        wanted = max(1, num_probes(video.format) // run)
        for source_item in foresee(video, with_scenes=settings.scene_cuts):
            if not isinstance(source_item, SourceFrame):
                audio_bytes += len(source_item.data) + AUDIO_PACKET_BYTES
                continue
            item = source_item.frame
            cuts += [count] if source_item.is_cut else []
            run_index, place = divmod(count, run)
            if run_index % stride == 0:
                kept += [[]] if place == 0 else []
                kept[-1].append(item)
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
    frames = [frame for frames in kept for frame in frames]
    return Survey(frames, count, cuts, seconds, audio_bytes)


def num_probes(video: VideoFormat) -> int:
    """How many frames of a size to look at."""
    return min(MAX_PROBES, max(MIN_PROBES, PROBE_SAMPLES // (video.width * video.height)))
