"""Whole files from Python: what the commands do, as functions."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from kinema.codec.copying import EditReport
from kinema.codec.cutting import CutSettings, cut_file
from kinema.codec.decoding import DecodeReport, decode_file, verify_file
from kinema.codec.encode_report import EncodeReport
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.codec.joining import concat_files
from kinema.codec.rate_control import encode_to_target
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.codec.target import Target
from kinema.models.registry import LoadedModel

StrPath = str | os.PathLike[str]


class EncodeOptions(TypedDict, total=False):
    """Fields of `kinema.codec.encoding.EncodeSettings`."""

    crf: float
    model: str | LoadedModel
    structure: str | None
    intra_period: int | None
    refresh: int
    scene_cuts: bool
    start_s: float
    num_frames: int | None
    with_audio: bool
    device: str
    threads: int | None
    overwrite: bool
    workers: int | None
    ray: str | None
    resume: bool


class DecodeOptions(TypedDict, total=False):
    """Fields of `kinema.codec.decoding.DecodeSettings`."""

    start_s: float
    num_frames: int | None
    device: str
    threads: int | None
    overwrite: bool


class WorkOptions(DecodeOptions, total=False):
    """And who does the work."""

    workers: int | None
    ray: str | None


def encode(  # noqa: PLR0913  # by name, all but the first two
    source: StrPath,
    target: StrPath,
    *,
    rate_kbps: float | None = None,
    size_bytes: int | None = None,
    psnr_db: float | None = None,
    passes: int | None = None,
    buffer_s: float | None = None,
    look_ahead: int | None = None,
    **options: Unpack[EncodeOptions],
) -> EncodeReport:
    """Encode a video file to a `.kin` file.

    Args:
        source: any video that FFmpeg reads, Y4M, raw YUV or PNG files.
        target: the `.kin` file; appears complete or not at all.
        rate_kbps: bitrate of the video to reach, in kilobits per second, instead of `crf`.
        size_bytes: size of the file to reach.
        psnr_db: (6 Y + U + V) / 8 to reach, in dB.
        passes: 1 holds a bitrate while coding, 2 meets any target by search; see `Target`.
        buffer_s: seconds of the bitrate that a player's buffer holds, in one pass.
        look_ahead: frames that are seen before one is coded, in one pass.
        **options: fields of `EncodeSettings`: crf, model, structure, start_s, overwrite, ...

    Raises:
        KinemaError: bad settings, unreadable input, or a target that cannot be written.
    """
    settings = EncodeSettings(**options)
    goal = Target(
        rate_kbps=rate_kbps,
        size_bytes=size_bytes,
        psnr_db=psnr_db,
        passes=passes,
        buffer_s=buffer_s,
        look_ahead=look_ahead,
    )
    if goal == Target():
        return encode_file(os.fspath(source), Path(target), settings)
    return encode_to_target(os.fspath(source), Path(target), settings, goal)


def decode(
    source: StrPath,
    target: StrPath,
    *,
    model: LoadedModel | None = None,
    **options: Unpack[WorkOptions],
) -> DecodeReport:
    """Decode a `.kin` file to .mp4, .mkv, .y4m, .yuv or PNG files; see `decode_file`."""
    return decode_file(Path(source), os.fspath(target), DecodeSettings(**options), model=model)


def verify(source: StrPath, *, model: LoadedModel | None = None) -> DecodeReport:
    """Decode everything, compare every picture with its hash, write nothing."""
    return verify_file(Path(source), model=model)


def cut(
    source: StrPath,
    target: StrPath,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    exact: bool = False,
    overwrite: bool = False,
) -> EditReport:
    """Copy a stretch of a `.kin` file to another one, without coding anew; see `cut_file`.

    Args:
        source: the `.kin` file.
        target: the one to be made.
        start_s: where to begin, in seconds after the first frame: at the intra frame at or before
            the frame that is shown then.
        end_s: where to end; a frame stays whole; None: after the last frame.
        exact: refuse a start that is not at an intra frame.
        overwrite: whether an existing target may be replaced.

    Raises:
        KinemaError: times that cannot be, damage, or a target that cannot be written.
    """
    settings = CutSettings(start_s=start_s, end_s=end_s, exact=exact, overwrite=overwrite)
    return cut_file(Path(source), Path(target), settings)


def concat(sources: Sequence[StrPath], target: StrPath, *, overwrite: bool = False) -> EditReport:
    """Put `.kin` files one after the other, without coding anew; see `concat_files`."""
    return concat_files([Path(source) for source in sources], Path(target), overwrite=overwrite)


def open(
    source: StrPath, *, model: LoadedModel | None = None, **options: Unpack[DecodeOptions]
) -> KinReader:
    """Open a `.kin` file to iterate over its frames or to seek; close it, or use `with`."""
    return KinReader(source, settings=DecodeSettings(**options), model=model)
