"""Targets other than crf: bitrate, size and PSNR, by search over the continuous quality."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kinema.codec.encoder import Encoder, batch_length
from kinema.codec.encoding import (
    EncodeReport,
    EncodeSettings,
    Progress,
    encode_file,
    no_progress,
)
from kinema.errors import ConfigError
from kinema.models.registry import load_model
from kinema.parts.quality import CRF_UNITS, MAX_CRF
from kinema.video.frame import Frame, Note, log_note
from kinema.video.quality import psnr_planes
from kinema.video.reading import open_video

NUM_PROBES = 24  # frames, spread over the video, that the search looks at
SEARCH_STEPS = 9  # halvings of the range of crf: to an eighth
MAX_PASSES = 4  # whole encodings until the target is met
SIZE_TOLERANCE = 0.02  # a size may stay below its target by this part, and never exceeds it
PSNR_TOLERANCE_DB = 0.05
CRF_PER_NAT = 13.0  # crf steps that change the size by a factor of e, about
CRF_PER_DB = 2.6  # crf steps that change PSNR by 1 dB, about


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to reach: one of the three.

    Attributes:
        rate_kbps: kilobits per second of video.
        size_bytes: of the whole file, audio included.
        psnr_db: (6 Y + U + V) / 8, averaged over frames.
    """

    rate_kbps: float | None = None
    size_bytes: int | None = None
    psnr_db: float | None = None


def encode_to_target(
    source: str,
    path: Path,
    settings: EncodeSettings,
    target: Target,
    *,
    progress: Progress = no_progress,
    note: Note = log_note,
) -> EncodeReport:
    """Search the crf that meets `target`, and encode with it.

    A few frames give a first guess; whole encodings then correct it.

    Raises:
        ConfigError: the target is not positive, the source cannot be read twice, or even the
            largest crf (smallest, for PSNR) misses the target.
    """
    values = [v for v in (target.rate_kbps, target.size_bytes, target.psnr_db) if v is not None]
    if len(values) != 1 or values[0] <= 0:
        raise ConfigError("a target must be one of bitrate, size and PSNR, above 0")
    if source == "-":
        raise ConfigError("a target needs a file that can be read more than once, not '-'")
    settings.check()
    if path.exists() and not settings.overwrite:
        settings = replace(settings, overwrite=False)
    crf = _first_guess(source, settings, target)
    low, high = 0.0, MAX_CRF
    report = encode_file(source, path, replace(settings, crf=crf), progress=progress, note=note)
    for _ in range(MAX_PASSES - 1):
        excess = _excess_crf(report, target)
        if excess is None:
            return report
        low, high = (crf, high) if excess > 0 else (low, crf)
        guess = min(max(crf + excess, low), high)
        guess = round(guess * CRF_UNITS) / CRF_UNITS
        if guess == crf:
            break
        crf = guess
        again = replace(settings, crf=crf, overwrite=True)
        report = encode_file(source, path, again, progress=progress, note=lambda _: None)
    return report


def _excess_crf(report: EncodeReport, target: Target) -> float | None:
    """By how much crf should rise; None if the target is met."""
    import math

    if target.psnr_db is not None:
        error = report.psnr_yuv_611 - target.psnr_db
        return None if abs(error) <= PSNR_TOLERANCE_DB else error * CRF_PER_DB
    ratio = _size(report) / _wanted_bytes(report, target)
    if 1 - SIZE_TOLERANCE <= ratio <= 1:
        return None
    return math.log(ratio / (1 - SIZE_TOLERANCE / 3)) * CRF_PER_NAT


def _size(report: EncodeReport) -> float:
    return float(report.video_bytes)


def _wanted_bytes(report: EncodeReport, target: Target) -> float:
    """Bytes of video that the target leaves room for."""
    if target.rate_kbps is not None:
        return target.rate_kbps * 1000 / 8 * report.seconds
    audio = report.size_bytes - report.video_bytes
    room = float(target.size_bytes or 0) - audio
    if room <= 0:
        raise ConfigError(f"target size {target.size_bytes}: audio alone takes {audio} bytes")
    return room


def _first_guess(source: str, settings: EncodeSettings, target: Target) -> float:
    """Halve the range of crf, coding a few frames each time."""
    probes, num_frames, seconds = _probes(source, settings)
    encoder = Encoder(load_model(settings.model), threads=settings.threads, device=settings.device)

    def is_too_large(crf: float) -> bool:
        size, psnr = _measure(encoder, probes, crf)
        if target.psnr_db is not None:
            return psnr > target.psnr_db
        wanted = target.size_bytes or (target.rate_kbps or 0.0) * 1000 / 8 * seconds
        return size / len(probes) * num_frames > wanted

    return bisect(is_too_large)


def bisect(is_too_large: Callable[[float], bool]) -> float:
    """Find where a falling quantity crosses its target: a crf from 0 to 63."""
    low, high = 0.0, MAX_CRF
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_large(middle) else (low, middle)
    return round(high * CRF_UNITS) / CRF_UNITS


def _probes(source: str, settings: EncodeSettings) -> tuple[list[Frame], int, float]:
    """Frames spread over the video, their number in all, and the duration in seconds.

    Keeps every n-th frame and doubles n whenever twice the wanted number has come together.
    """
    kept: list[Frame] = []
    stride, count = 1, 0
    with open_video(
        source,
        start_s=settings.start_s,
        num_frames=settings.num_frames,
        with_audio=False,
        note=lambda _: None,
    ) as video:
        for item in video:
            if not isinstance(item, Frame):
                continue
            if count % stride == 0:
                kept.append(item)
            if len(kept) >= 2 * NUM_PROBES:
                kept, stride = kept[::2], stride * 2
            count += 1
        seconds = float(count / video.format.frame_rate)
    return kept, count, seconds


def _measure(encoder: Encoder, frames: list[Frame], crf: float) -> tuple[int, float]:
    """Bytes of payload, and mean PSNR (6:1:1), of frames at a quality."""
    height, width = frames[0].y.shape
    length = batch_length(width, height)
    size, psnr = 0, 0.0
    for start in range(0, len(frames), length):
        group = frames[start : start + length]
        for frame, coded in zip(group, encoder.encode_batch(group, crf=crf), strict=True):
            size += len(coded.payload)
            psnr += psnr_planes(frame, coded.frame).yuv_611
    return size, psnr / len(frames)
