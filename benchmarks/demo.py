"""Encode, verify and decode a video in separate processes; compare with x264 and x265.

Usage: python benchmarks/demo.py [VIDEO]

Without VIDEO, a clip is made from a photograph. Everything is written to demo/.
"""

import hashlib
import json
import math
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from camera import write_camera_clip
from comparison import Picture, draw_comparison
from rich.console import Console
from rich.table import Table

from kinema.errors import KinemaError
from kinema.eval.anchor_runs import coded_bytes
from kinema.eval.clips import PreparedClip, prepare_clip
from kinema.eval.metrics import Scores, score_frames
from kinema.eval.processes import ffmpeg_command, run_measured
from kinema.video.frame import Frame
from kinema.video.reading import open_video

FOLDER = Path("demo")
SIZE, NUM_FRAMES = (416, 240), 48
MAX_SAMPLES = 8e6  # luma samples of a VIDEO that are coded: a demonstration takes a minute or two
CRF = "36"
KINEMA = (sys.executable, "-m", "kinema.cli")
OTHER_FRAMES = 12  # decoded as on that machine
OTHER_MACHINE = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
# All-intra, tuned for PSNR, without the encoder's name in the stream; quality by a real number.
ANCHORS = {
    "x265": ("libx265", "-x265-params", "keyint=1:info=0:pools=2:log-level=error:crf={}"),
    "x264": ("libx264", "-x264-params", "keyint=1:crf={}"),
}
CRF_PER_OCTAVE = 6.0  # of x264 and x265: this many steps halve the size, about
NUM_SEARCHES = 8  # encodings, at most, until the sizes are equal
TOLERANCE_OCTAVES = 0.003  # 0.2 %
console = Console()


@dataclass(frozen=True, kw_only=True)
class Row:
    """A codec's line in the table, and where its pictures are."""

    name: str
    size_bytes: int
    scores: Scores
    encode_fps: float
    decode_fps: float
    decoded: Path


def run_shown(*arguments: str, environment: dict[str, str] | None = None) -> float:
    """Run a kinema command in a process of its own; return its seconds."""
    shown = " ".join(f"{name}={value}" for name, value in (environment or {}).items())
    line = f"$ {shown} kinema {shlex.join(arguments)}".replace("$  ", "$ ")
    console.print(line, style="bold", soft_wrap=True, highlight=False)
    begin = time.perf_counter()
    done = subprocess.run([*KINEMA, *arguments], env=os.environ | (environment or {}), check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return time.perf_counter() - begin


def frames_of(path: Path, num_frames: int | None = None) -> Iterator[Frame]:
    with open_video(str(path), num_frames=num_frames, with_audio=False) as reader:
        yield from (item for item in reader if isinstance(item, Frame))


def add_tone(path: Path, target: Path, seconds: float) -> None:
    """Give a clip an audio track: a quiet tone of 440 Hz."""
    tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]
    command = ffmpeg_command("-i", str(path), *tone, "-c:v", "copy", "-c:a", "aac", str(target))
    run_measured(command, what="ffmpeg making the clip")


def own_clip() -> Path:
    clip, silent = FOLDER / "clip.mkv", FOLDER / "silent.mkv"
    console.print("Making a clip: a camera rides over a photograph ...")
    write_camera_clip(silent, SIZE, NUM_FRAMES)
    add_tone(silent, clip, NUM_FRAMES / 24)
    silent.unlink()
    return clip


def num_frames_for(video: Path) -> int:
    with open_video(str(video), with_audio=False) as reader:
        samples = reader.format.width * reader.format.height
    return max(1, min(NUM_FRAMES, int(MAX_SAMPLES / samples)))


def run_kinema(source: Path, clip: PreparedClip) -> Row:
    """Encode, verify, decode; decode a part once more as a machine of another kind would."""
    coded, decoded, other = (FOLDER / name for name in ("clip.kin", "decoded.mkv", "other.mkv"))
    num_frames = clip.info.num_frames
    limit = ("--frames", str(num_frames))
    encode_s = run_shown("encode", str(source), str(coded), "--crf", CRF, *limit, "--overwrite")
    run_shown("verify", str(coded))
    decode_s = run_shown("decode", str(coded), str(decoded), "--overwrite")
    part = ("--frames", str(min(num_frames, OTHER_FRAMES)), "--threads", "1")
    run_shown(*("decode", str(coded), str(other), *part, "--overwrite"), environment=OTHER_MACHINE)
    digests = [digest_of(path, OTHER_FRAMES) for path in (decoded, other)]
    if digests[0] != digests[1]:
        sys.exit(f"pictures differ: {digests[0]} here, {digests[1]} with other instructions")
    console.print(f"MD5 of the first pictures, both times: {digests[0]}\n", highlight=False)
    return Row(
        name="kinema",
        size_bytes=bytes_without_audio(coded),
        scores=score_frames(zip(clip.source_frames(), frames_of(decoded), strict=True)),
        encode_fps=num_frames / encode_s,
        decode_fps=num_frames / decode_s,
        decoded=decoded,
    )


def digest_of(path: Path, num_frames: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for frame in islice(frames_of(path), num_frames):
        for plane in frame.planes:
            digest.update(plane.tobytes())
    return digest.hexdigest()


def bytes_without_audio(coded: Path) -> int:
    """Size of a .kin file as it would be without its audio packets."""
    command = [*KINEMA, "info", str(coded), "--json"]
    facts = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return int(facts["size_bytes"] - facts["audio_bytes"])


def run_anchor(name: str, clip: PreparedClip, wanted_bytes: int) -> Row:
    """Search the crf at which an anchor spends as many bytes, and decode that."""
    coder, option, parameters = ANCHORS[name]
    coded = FOLDER / f"{coder}.nut"
    inputs = ("-i", str(clip.even_y4m), "-c:v", coder, "-preset", "medium", "-tune", "psnr")
    bare = () if coder == "libx265" else ("-bsf:v", "filter_units=remove_types=6")
    low, high, guess, best = 0.0, 51.0, 28.0, (math.inf, 28.0)
    for index in range(NUM_SEARCHES + 1):
        crf = best[1] if index == NUM_SEARCHES else guess
        arguments = (option, parameters.format(f"{crf:.3f}"), *bare, str(coded))
        encode = run_measured(ffmpeg_command(*inputs, *arguments), what=name)
        size_bytes = coded_bytes(coded, clip.info, with_headers=True)
        octaves = math.log2(size_bytes / wanted_bytes)
        best = min(best, (abs(octaves), crf))
        if abs(octaves) < TOLERANCE_OCTAVES:
            break
        low, high = (crf, high) if octaves > 0 else (low, crf)
        guess = crf + octaves * CRF_PER_OCTAVE
        if not low < guess < high:
            guess = (low + high) / 2
    decoded = coded.with_suffix(".y4m")
    decode = run_measured(ffmpeg_command("-i", str(coded), str(decoded)), what=name)
    return Row(
        name=name,
        size_bytes=size_bytes,
        scores=score_frames(zip(clip.source_frames(), cropped(decoded, clip), strict=True)),
        encode_fps=clip.info.num_frames / encode.seconds,
        decode_fps=clip.info.num_frames / decode.seconds,
        decoded=decoded,
    )


def cropped(path: Path, clip: PreparedClip) -> Iterator[Frame]:
    """Decoded frames without what was added to make the size even."""
    width, height = clip.info.width, clip.info.height
    for frame in frames_of(path):
        yield Frame(frame.y[:height, :width], frame.u, frame.v, frame.pts)


def print_table(rows: list[Row], clip: PreparedClip) -> None:
    info = clip.info
    table = Table(
        title=f"{info.width}x{info.height}, {info.num_frames} frames, all intra, equal bytes, "
        "x264 and x265 medium",
        caption="bpp: bits per luma sample. PSNR in dB of 4:2:0 planes; 6:1:1: (6Y + U + V) / 8. "
        "Speed file to file, start of the program included.",
    )
    table.add_column("codec")
    for name in ("bytes", "bpp", "Y", "U", "V", "6:1:1", "enc fps", "dec fps"):
        table.add_column(name, justify="right")
    for row in rows:
        bpp = 8 * row.size_bytes / (info.width * info.height * info.num_frames)
        s = row.scores
        decibels = (s.psnr_y, s.psnr_u, s.psnr_v, s.psnr_yuv_611)
        speeds = (row.encode_fps, row.decode_fps)
        cells = [f"{bpp:.3f}", *(f"{x:.2f}" for x in decibels), *(f"{x:.1f}" for x in speeds)]
        table.add_row(row.name, f"{row.size_bytes:,}", *cells)
    console.print(table)


def comparison_of(rows: list[Row], clip: PreparedClip, color: Path) -> list[Picture]:
    """One frame of the source and of every codec, with what it cost."""
    with open_video(str(color), with_audio=False) as reader:
        description = reader.format.color
    index = clip.info.num_frames * 3 // 4
    source = next(islice(clip.source_frames(), index, None))
    note = f"frame {index}; dB: PSNR 6:1:1 of this frame"
    pictures = [Picture("original", note, source, description)]
    for row in rows:
        frame = next(islice(cropped(row.decoded, clip), index, None))
        scores = score_frames([(source, frame)])
        note = f"on average {row.size_bytes / clip.info.num_frames / 1000:.2f} kB per frame"
        note += f", {scores.psnr_yuv_611:.2f} dB"
        pictures.append(Picture(row.name, note, frame, description))
    return pictures


def main() -> None:
    begin = time.perf_counter()
    # Threads that wait in a loop for each other starve where other programs run, too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    FOLDER.mkdir(exist_ok=True)
    video = Path(sys.argv[1]) if len(sys.argv) > 1 else own_clip()
    workspace = FOLDER / "source"
    workspace.mkdir(exist_ok=True)
    clip = prepare_clip(video, workspace, num_frames_for(video))
    rows = [run_kinema(video, clip)]
    rows += [run_anchor(name, clip, rows[0].size_bytes) for name in ANCHORS]
    print_table(rows, clip)
    target = FOLDER / "comparison.png"
    draw_comparison(comparison_of(rows, clip, video), target)
    console.print(f"Side by side: {target}. Took {time.perf_counter() - begin:.0f} s.")


if __name__ == "__main__":
    try:
        main()
    except KinemaError as error:
        sys.exit(f"demo: {error}")
