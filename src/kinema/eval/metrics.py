"""Scores of decoded pictures against their source: PSNR, MS-SSIM and VMAF."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kinema.errors import ConfigError, VideoError
from kinema.eval.processes import ffmpeg_command, run_measured
from kinema.video.color import frame_to_rgb
from kinema.video.frame import ColorDescription, Frame
from kinema.video.quality import ms_ssim, psnr, psnr_planes

EXTRA_METRICS = ("psnr_rgb", "ms_ssim_y", "vmaf")
_BT709 = ColorDescription(matrix=1, primaries=1, transfer=1, chroma_location=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores per frame, averaged over the frames; None = not asked for, or not defined.

    Attributes:
        psnr_y, psnr_u, psnr_v: PSNR of a plane in dB, 100 = identical.
        psnr_yuv_611: (6Y + U + V) / 8 of each frame's PSNR.
        psnr_rgb: PSNR over R, G and B after conversion with BT.709.
        ms_ssim_y: MS-SSIM of luma, 0..1.
        vmaf: VMAF, 0..100.
    """

    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_yuv_611: float
    psnr_rgb: float | None = None
    ms_ssim_y: float | None = None
    vmaf: float | None = None

    def value(self, metric: str) -> float:
        """Return one score by name.

        Raises:
            ConfigError: it was not measured.
        """
        found = getattr(self, metric, None)
        if not isinstance(found, float):
            raise ConfigError(f"the score {metric} was not measured")
        return found


def score_frames(
    pairs: Iterable[tuple[Frame, Frame]], *, extras: frozenset[str] = frozenset()
) -> Scores:
    """Score (source, decoded) pairs of frames; VMAF is left out (see `vmaf_of_frames`).

    Raises:
        VideoError: there are no frames.
        ShapeError: two frames differ in size.
    """
    rows = [_score_pair(source, decoded, extras) for source, decoded in pairs]
    if not rows:
        raise VideoError("found no frames to score, expected at least 1")
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return Scores(**means)


def _score_pair(source: Frame, decoded: Frame, extras: frozenset[str]) -> dict[str, float]:
    planes = psnr_planes(source, decoded)
    row = {
        "psnr_y": planes.y,
        "psnr_u": planes.u,
        "psnr_v": planes.v,
        "psnr_yuv_611": planes.yuv_611,
    }
    if "psnr_rgb" in extras:
        row["psnr_rgb"] = psnr_rgb(source, decoded)
    if "ms_ssim_y" in extras:
        row["ms_ssim_y"] = ms_ssim(source.y, decoded.y)
    return row


def psnr_rgb(source: Frame, decoded: Frame) -> float:
    """Return the PSNR over R, G and B in dB: BT.709, limited range, rounded to 8 bits."""
    rgb, rgb_hat = (frame_to_rgb(frame, _BT709) for frame in (source, decoded))
    return psnr(rgb.reshape(rgb.shape[0], -1), rgb_hat.reshape(rgb.shape[0], -1))


def vmaf_of_frames(pairs: Iterable[tuple[Frame, Frame]], frame_rate: Fraction) -> float:
    """Return the mean VMAF (libvmaf's default model) of (source, decoded) pairs.

    Raises:
        VideoError: ffmpeg has no libvmaf or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, decoded, log = (Path(folder) / name for name in ("a.yuv", "b.yuv", "vmaf.json"))
        height, width = _write_pairs(pairs, source, decoded)
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}"]
        raw += ["-r", str(frame_rate)]
        graph = f"[0:v][1:v]libvmaf=log_fmt=json:log_path={log}"
        command = ffmpeg_command(*raw, "-i", str(decoded), *raw, "-i", str(source))
        run_measured([*command, "-lavfi", graph, "-f", "null", "-"], what="ffmpeg with libvmaf")
        return float(json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"])


def _write_pairs(
    pairs: Iterable[tuple[Frame, Frame]], source: Path, decoded: Path
) -> tuple[int, int]:
    """Write the planes of both sides; return the (height, width) of luma."""
    shape = (0, 0)
    with source.open("wb") as source_file, decoded.open("wb") as decoded_file:
        for first, second in pairs:
            _write_planes(first, source_file)
            _write_planes(second, decoded_file)
            shape = (first.y.shape[0], first.y.shape[1])
    return shape


def _write_planes(frame: Frame, target: BinaryIO) -> None:
    for plane in frame.planes:
        target.write(plane.tobytes())
