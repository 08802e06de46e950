"""Run an anchor on a clip: encode, count packets, decode, score; remembered on disk."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import av

from kinema.errors import VideoError
from kinema.eval.anchors import Anchor, encoder_arguments
from kinema.eval.clips import DecodedFile, PreparedClip
from kinema.eval.conditions import Conditions
from kinema.eval.metrics import Scores, score_frames, vmaf_of_frames
from kinema.eval.processes import ProcessCost, ffmpeg_command, ffmpeg_version, run_measured
from kinema.eval.results import ClipInfo, RatePoint, point_from
from kinema.video.frame import Frame

_CACHE_REVISION = 1  # raise it when counting or scoring changes


class AnchorCache:
    """Points measured before, one small JSON file each.

    The key is made of the md5 of the frames, the exact encoder arguments and the version of
    ffmpeg, so that nothing that would change a number can be missed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Use `folder`, else KINEMA_CACHE, else the user's cache directory."""
        base = os.environ.get("KINEMA_CACHE") or Path.home() / ".cache" / "kinema"
        self._folder = (folder or Path(base)) / "anchors"

    def load(self, key: str, extras: frozenset[str]) -> RatePoint | None:
        """Return the point if it is stored with every score in `extras`."""
        try:
            document = json.loads((self._folder / f"{key}.json").read_text())
            known = frozenset(document["extras"])
            return point_from(document["point"] | {"is_cached": True}) if extras <= known else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or written by something else: measure again

    def store(self, key: str, extras: frozenset[str], point: RatePoint) -> None:
        """Keep a point; a full or read-only disk is no reason to fail."""
        document = {"extras": sorted(extras), "point": asdict(point)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False) as partial:
                json.dump(document, partial)
            Path(partial.name).replace(self._folder / f"{key}.json")
        except OSError:
            return


def cache_key(info: ClipInfo, arguments: list[str]) -> str:
    """Return the name under which a point is stored."""
    parts = [_CACHE_REVISION, info.md5, info.width, info.height, str(info.frame_rate), arguments]
    text = json.dumps([*parts, ffmpeg_version()])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def run_anchor(
    clip: PreparedClip,
    anchor: Anchor,
    conditions: Conditions,
    quality: float,
    *,
    extras: frozenset[str],
    cache: AnchorCache | None,
) -> RatePoint:
    """Return one rate point of an anchor, measured now or found in `cache`.

    Args:
        clip: what to code.
        anchor: encoder and preset.
        conditions: delay class, intra period, threads.
        quality: QP or crf.
        extras: scores beside PSNR of the planes.
        cache: None measures always, and keeps nothing.

    Raises:
        VideoError: encoder or decoder failed, or gave another number of frames.
    """
    arguments = encoder_arguments(anchor, conditions, quality)
    key = cache_key(clip.info, arguments)
    known = cache.load(key, extras) if cache else None
    if known:
        return known
    with tempfile.TemporaryDirectory(dir=clip.y4m.parent) as folder:
        coded = Path(folder) / f"coded{anchor.traits.suffix}"
        inputs = ["-i", str(clip.even_y4m), "-fps_mode", "passthrough"]
        command = ffmpeg_command(*inputs, *arguments, str(coded))
        encode = run_measured(command, what=f"{anchor.name} encoder on {clip.info.name}")
        size_bytes = coded_bytes(coded, clip.info, with_headers=anchor.traits.has_separate_headers)
        decoded, decode = _decode(coded, clip, anchor, conditions)
        scores = score_decoded(clip, decoded, extras)
    point = rate_point(clip.info, quality, size_bytes, scores, (encode, decode))
    if cache:
        cache.store(key, extras, point)
    return point


def coded_bytes(coded: Path, info: ClipInfo, *, with_headers: bool) -> int:
    """Return the bytes of all coded packets, plus the parameter sets once if kept apart.

    Raises:
        VideoError: the number of packets is not the number of frames.
    """
    with av.open(str(coded)) as container:
        stream = container.streams.video[0]
        sizes = [packet.size for packet in container.demux(stream) if packet.size > 0]
        headers = stream.codec_context.extradata or b""
    if len(sizes) != info.num_frames:
        raise VideoError(
            f"{coded.name}: found {len(sizes)} packets, expected {info.num_frames} for {info.name}"
        )
    return sum(sizes) + (len(headers) if with_headers else 0)


def _decode(
    coded: Path, clip: PreparedClip, anchor: Anchor, conditions: Conditions
) -> tuple[DecodedFile, ProcessCost]:
    width, height = clip.even_size
    depth = anchor.traits.decoded_bit_depth
    decoded = DecodedFile(
        path=coded.with_suffix(".yuv"), width=width, height=height, bit_depth=depth
    )
    pixel_format = "yuv420p" if depth == 8 else f"yuv420p{depth}le"
    command = ffmpeg_command("-threads", str(conditions.num_threads), "-i", str(coded))
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixel_format]
    cost = run_measured(
        [*command, str(decoded.path)], what=f"{anchor.name} decoder on {clip.info.name}"
    )
    return decoded, cost


def score_decoded(clip: PreparedClip, decoded: DecodedFile, extras: frozenset[str]) -> Scores:
    """Return the scores of a decoded file against the clip, frame by frame.

    Raises:
        VideoError: the number of frames differs, or VMAF cannot be had.
    """

    def pairs() -> Iterator[tuple[Frame, Frame]]:
        return zip(clip.source_frames(), decoded.frames(clip.info), strict=True)

    scores = score_frames(pairs(), extras=extras)
    if "vmaf" in extras:
        scores = replace(scores, vmaf=vmaf_of_frames(pairs(), clip.info.frame_rate))
    return scores


def rate_point(
    info: ClipInfo,
    quality: float,
    size_bytes: int,
    scores: Scores,
    costs: tuple[ProcessCost, ProcessCost],
) -> RatePoint:
    """Return a freshly measured point; `costs` are those of encoder and decoder."""
    bits = 8 * size_bytes
    return RatePoint(
        quality=quality,
        size_bytes=size_bytes,
        bpp=bits / (info.width * info.height * info.num_frames),
        rate_kbps=float(bits * info.frame_rate / info.num_frames / 1000),
        scores=scores,
        encode=costs[0],
        decode=costs[1],
        is_cached=False,
    )
