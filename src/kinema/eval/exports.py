"""Results for other programs: CSV, and the JSON layouts that CompressAI and DCVC plot."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from kinema.eval.conditions import ALL_INTRA
from kinema.eval.results import BenchResult, ClipInfo, Curve, RatePoint, write_json, write_table


def write_csv(result: BenchResult, path: Path) -> None:
    """Write one line per clip, codec and point.

    Raises:
        FileError: the path cannot be written.
    """
    rows = [_csv_row(result, curve, point) for curve in result.curves for point in curve.points]
    write_table(rows, path)


def _csv_row(result: BenchResult, curve: Curve, point: RatePoint) -> dict[str, object]:
    conditions = result.conditions
    return {
        "clip": curve.clip,
        "codec": curve.codec,
        "structure": conditions.structure,
        "intra_period": conditions.intra_period,
        "quality": point.quality,
        "size_bytes": point.size_bytes,
        "bpp": point.bpp,
        "rate_kbps": point.rate_kbps,
        **asdict(point.scores),
        "encode_s": point.encode.seconds,
        "decode_s": point.decode.seconds,
        "encode_peak_bytes": point.encode.peak_bytes,
        "decode_peak_bytes": point.decode.peak_bytes,
        "is_cached": point.is_cached,
    }


def export_layouts(result: BenchResult, folder: Path) -> None:
    """Write `compressai/<codec>.json`, `dcvc/<codec>.json` and `points.csv` into `folder`.

    Raises:
        FileError: a file cannot be written.
    """
    for codec in result.codecs:
        name = codec.replace(" ", "-").replace("/", "-") + ".json"
        write_json(to_compressai(result, codec), folder / "compressai" / name)
        write_json(to_dcvc(result, codec), folder / "dcvc" / name)
    write_csv(result, folder / "points.csv")


def to_compressai(result: BenchResult, codec: str) -> dict[str, Any]:
    """Return the layout of `compressai.utils.video.plot`: lists over rates, means over clips.

    "psnr-yuv" there is (4Y + U + V) / 6 and is filled with that; ours is "psnr-yuv-611".
    """
    points = list(zip(*(curve.points for curve in result.curves_of(codec)), strict=True))

    def means(value: Callable[[RatePoint], float | None]) -> list[float] | None:
        columns = [[value(point) for point in column] for column in points]
        known = [[v for v in column if v is not None] for column in columns]
        complete = all(len(k) == len(c) for k, c in zip(known, columns, strict=True))
        return [fmean(column) for column in known] if complete else None

    series = {
        "qp": means(lambda p: p.quality),
        "bitrate": means(lambda p: p.rate_kbps),
        "bpp": means(lambda p: p.bpp),
        "psnr-y": means(lambda p: p.scores.psnr_y),
        "psnr-u": means(lambda p: p.scores.psnr_u),
        "psnr-v": means(lambda p: p.scores.psnr_v),
        "psnr-yuv": means(lambda p: (4 * p.scores.psnr_y + p.scores.psnr_u + p.scores.psnr_v) / 6),
        "psnr-yuv-611": means(lambda p: p.scores.psnr_yuv_611),
        "psnr-rgb": means(lambda p: p.scores.psnr_rgb),
        "ms-ssim-y": means(lambda p: p.scores.ms_ssim_y),
        "vmaf": means(lambda p: p.scores.vmaf),
    }
    filled = {name: values for name, values in series.items() if values is not None}
    return {"name": codec, "description": result.conditions.description, "results": filled}


def to_dcvc(result: BenchResult, codec: str) -> dict[str, Any]:
    """Return the layout of DCVC's `compare_bd_rate.py`: data set, sequence, rate point.

    Figures of I or P frames alone are known in all-intra only; elsewhere they are 0, which that
    program takes as missing: call it with `--compare_frame_type all`.
    """
    clips = {clip.name: clip for clip in result.clips}
    sequences = {
        curve.clip: {
            f"{index:03d}": _dcvc_point(result, clips[curve.clip], point)
            for index, point in enumerate(curve.points)
        }
        for curve in result.curves_of(codec)
    }
    return {result.conditions.structure: sequences}


def _dcvc_point(result: BenchResult, clip: ClipInfo, point: RatePoint) -> dict[str, float]:
    period = result.conditions.intra_period
    num_intra = 1 if period == -1 else -(-clip.num_frames // period)
    is_all_intra = result.conditions.structure == ALL_INTRA
    scores = {
        "psnr": point.scores.value(result.conditions.quality_metric),
        "psnr_y": point.scores.psnr_y,
        "psnr_u": point.scores.psnr_u,
        "psnr_v": point.scores.psnr_v,
        "bpp": point.bpp,
    }
    if point.scores.ms_ssim_y is not None:
        scores["msssim_y"] = point.scores.ms_ssim_y
    return {
        "frame_pixel_num": clip.width * clip.height,
        "i_frame_num": num_intra,
        "p_frame_num": clip.num_frames - num_intra,
        "quality": point.quality,
        "test_time": point.encode.seconds + point.decode.seconds,
        "ave_encoding_time": point.encode.seconds / clip.num_frames,
        "ave_decoding_time": point.decode.seconds / clip.num_frames,
    } | {
        f"ave_{kind}_frame_{name}": value
        if kind == "all" or (kind == "i" and is_all_intra)
        else 0.0
        for kind in ("i", "p", "all")
        for name, value in scores.items()
    }
