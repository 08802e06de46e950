"""Targets asked for against what was reached, how full the buffer was, and how steady the quality.

Usage: python benchmarks/rate_control.py CLIP ... --rates 300 600 [--model dual-domain]
       [--ways one-pass live two-pass size psnr] [--psnr 36] [--buffer 1] [--look-ahead 8]
       [--seconds 60] [--no-x265] [--json F] [--plot F]

Clips are scaled and cropped to 416x240 and shown at 25 frames/s; with --seconds they are put one
after the other, again and again, until the time is full. Each way is tried at each rate: one pass,
one pass without look-ahead (live), a search (two-pass), and a search for the size that such a rate
means; a search for a PSNR is made once. Sizes are those of files and of the packets in them. In one
pass, pictures are decoded ones, frame by frame; of a search, PSNR is what the encoder reports.
x265 medium holds the same rate with the same buffer, in one pass; its intra period is ours, and so
is its look-ahead.
"""

import argparse
import itertools
import json
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av

import kinema
from kinema.bitstream.container import ContainerReader
from kinema.bitstream.framing import seal_packet
from kinema.bitstream.headers import SequenceHeader
from kinema.bitstream.limits import DEFAULT_LIMITS
from kinema.bitstream.packets import FramePacket, pack_frame
from kinema.codec.leaky_bucket import LeakyBucket
from kinema.codec.look_ahead import SourceFrame, foresee
from kinema.eval.processes import ffmpeg_command, import_extra
from kinema.video.frame import Frame
from kinema.video.quality import psnr_planes
from kinema.video.reading import open_video

WIDTH, HEIGHT, FRAME_RATE = 416, 240, 25
FIT = f"scale={WIDTH}:{HEIGHT}:force_original_aspect_ratio=increase,crop={WIDTH}:{HEIGHT}"
WAYS = ("one-pass", "live", "two-pass", "size", "psnr")
ONE_PASS = ("one-pass", "live")
MIN_SHOT = 8  # frames of a shot whose quality has a spread


@dataclass
class Run:
    """What came of one clip at one rate; lists have one value per frame."""

    clip: str
    codec: str
    way: str
    target_kbps: float
    buffer_s: float
    psnr_target_db: float | None = None
    size_bytes: int = 0
    seconds: float = 0.0  # of video
    shots: list[int] = field(default_factory=list)  # where they begin
    times_s: list[float] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)  # of packets
    qualities: list[float] = field(default_factory=list)  # crf
    psnr_db: list[float] = field(default_factory=list)  # a single mean, of a search

    def reached_kbps(self) -> float:
        """Of the whole file."""
        return 8 * self.size_bytes / self.seconds / 1000

    def error(self) -> float:
        """Part by which the rate is too high; decibels, where a PSNR was asked for."""
        if self.psnr_target_db is not None:
            return statistics.mean(self.psnr_db) - self.psnr_target_db
        return self.reached_kbps() / self.target_kbps - 1

    def fullness_s(self) -> list[float]:
        """Of the buffer after each frame, in seconds of the rate."""
        bucket, found = LeakyBucket(1000 * self.target_kbps, self.buffer_s), []
        for time_s, bits in zip(self.times_s, self.bits, strict=True):
            bucket.pour(time_s, bits)
            found.append(bucket.fullness / bucket.rate_bps)
        return found

    def spread_db(self) -> float:
        """Standard deviation of PSNR within shots, averaged over their frames."""
        bounds = itertools.pairwise([*self.shots, len(self.psnr_db)])
        shots = [self.psnr_db[a:b] for a, b in bounds if b - a >= MIN_SHOT]
        total = sum(len(shot) for shot in shots)
        return sum(len(shot) * statistics.pstdev(shot) for shot in shots) / max(total, 1)

    def row(self) -> str:
        """A line of the table."""
        asked, error = f"{self.target_kbps:g} kbit/s", f"{100 * self.error():+.2f} %"
        if self.way == "size":
            asked = f"{self.wanted_bytes()} bytes"
        if self.psnr_target_db is not None:
            asked, error = f"{self.psnr_target_db:g} dB", f"{self.error():+.3f} dB"
        held = "| |"
        if len(self.psnr_db) > 1:
            held = f"| {self.spread_db():.2f} | {max(self.fullness_s()):.2f} |"
        return (
            f"| {self.clip} | {self.codec} | {self.way} | {asked} | {error} "
            f"| {self.reached_kbps():.1f} | {self.size_bytes} "
            f"| {statistics.mean(self.psnr_db):.2f} {held}"
        )

    def wanted_bytes(self) -> int:
        """The size that the rate means."""
        return round(self.target_kbps * 1000 / 8 * self.seconds)


HEAD = (
    "| clip | codec | way | target | error | kbit/s | bytes | PSNR, dB | in shot | peak, s |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def frames_of(source: str) -> Iterator[Frame]:
    """Pictures of a video."""
    with open_video(source, with_audio=False, note=lambda _: None) as video:
        yield from (item for item in video if isinstance(item, Frame))


def concatenate(clips: list[Path], folder: Path, name: str, seconds: float | None) -> Path:
    """One raw video of them all, as often as it takes to fill the time; once without one."""
    path = folder / f"{name}_{WIDTH}x{HEIGHT}_{FRAME_RATE}.yuv"
    parts = []
    for clip in clips:
        command = ["-i", str(clip), "-vf", FIT, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
        done = subprocess.run(ffmpeg_command(*command), check=True, capture_output=True)
        parts.append(done.stdout)
    whole = b"".join(parts)
    wanted = len(whole)
    if seconds is not None:
        wanted = round(seconds * FRAME_RATE) * WIDTH * HEIGHT * 3 // 2
    path.write_bytes((whole * -(-wanted // len(whole)))[:wanted])
    return path


def size_in_file(packet: FramePacket, header: SequenceHeader) -> int:
    """Bytes of a packet, from sync to checksum."""
    type_code, fields = pack_frame(packet.header, header)
    return len(seal_packet(type_code, fields + packet.payload, DEFAULT_LIMITS))


def goal_of(run: Run, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a way asks for, as arguments of `kinema.encode`."""
    if run.way == "size":
        return {"size_bytes": run.wanted_bytes()}
    if run.way == "psnr":
        return {"psnr_db": run.psnr_target_db}
    if run.way == "two-pass":
        return {"rate_kbps": run.target_kbps, "passes": 2}
    look_ahead = arguments.look_ahead if run.way == "one-pass" else 0
    held = {"passes": 1, "buffer_s": arguments.buffer, "look_ahead": look_ahead}
    return {"rate_kbps": run.target_kbps, **held}


def run_kinema(run: Run, source: str, arguments: argparse.Namespace, folder: Path) -> None:
    """Code with ours; fill in what came of it."""
    path = folder / "ours.kin"
    report = kinema.encode(
        source,
        path,
        **goal_of(run, arguments),
        model=arguments.loaded,
        with_audio=False,
        overwrite=True,
        threads=arguments.threads,
    )
    run.size_bytes, run.seconds = report.size_bytes, report.seconds
    if run.way not in ONE_PASS:
        run.psnr_db = [report.psnr_yuv_611]
        return
    with ContainerReader(path) as reader:
        packets = [packet for packet in reader.packets() if isinstance(packet, FramePacket)]
        header = reader.header
    run.bits = [8 * size_in_file(packet, header) for packet in packets]
    run.times_s = [float(packet.header.pts * header.time_base) for packet in packets]
    run.qualities = [packet.header.quality / 256 for packet in packets]
    with kinema.open(path, model=arguments.loaded, threads=arguments.threads) as decoded:
        pairs = zip(frames_of(source), decoded, strict=True)
        run.psnr_db = [psnr_planes(a, b).yuv_611 for a, b in pairs]


def run_x265(run: Run, source: str, arguments: argparse.Namespace, folder: Path) -> None:
    """Code with x265; fill in what came of it."""
    path = folder / "theirs.mkv"
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}"]
    raw += ["-r", str(FRAME_RATE), "-i", source]
    rate, size = run.target_kbps, run.target_kbps * arguments.buffer
    period = 1 if arguments.model == "intra" else 32
    parameters = f"keyint={period}:min-keyint=1:bframes=0:vbv-maxrate={rate:g}:vbv-bufsize={size:g}"
    parameters += f":rc-lookahead={min(arguments.look_ahead, period)}:info=0:log-level=error"
    command = ["-y", *raw, "-c:v", "libx265", "-preset", "medium", "-tune", "psnr"]
    command += ["-b:v", f"{rate:g}k"]
    command += ["-x265-params", parameters, "-fps_mode", "passthrough", str(path)]
    subprocess.run(ffmpeg_command(*command), check=True, capture_output=True)
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
        run.times_s = [float(packet.pts * packet.time_base) for packet in packets]
        run.bits = [8 * packet.size for packet in packets]
    frames = list(frames_of(source))
    run.seconds = run.times_s[-1] - run.times_s[0] + run.times_s[1] - run.times_s[0]
    run.size_bytes = sum(run.bits) // 8
    pairs = zip(frames, frames_of(str(path)), strict=True)
    run.psnr_db = [psnr_planes(a, b).yuv_611 for a, b in pairs]


def plot(runs: list[Run], path: Path) -> None:
    """Fullness of the buffer and PSNR over time, one column per clip and rate."""
    pyplot = import_extra("matplotlib.pyplot")
    runs = [run for run in runs if run.way in ONE_PASS]
    columns = list(dict.fromkeys((run.clip, run.target_kbps) for run in runs))
    size = (max(6, 4 * len(columns)), 6)
    figure, axes = pyplot.subplots(2, len(columns), figsize=size, squeeze=False, sharex="col")
    for index, column in enumerate(columns):
        upper, lower = axes[0][index], axes[1][index]
        for run in (run for run in runs if (run.clip, run.target_kbps) == column):
            label = f"{run.codec}, {run.way}"
            upper.plot(run.times_s, run.fullness_s(), label=label, linewidth=1)
            lower.plot(run.times_s, run.psnr_db, label=label, linewidth=1)
            upper.axhline(run.buffer_s, color="black", linestyle=":", linewidth=1)
        upper.set_title(f"{column[0]}, {column[1]:g} kbit/s")
        upper.set_ylim(0)
        lower.set_xlabel("time, s")
    axes[0][0].set_ylabel("fullness of the buffer, s")
    axes[1][0].set_ylabel("PSNR (6Y+U+V)/8, dB")
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--rates", nargs="+", type=float, default=[], help="kbit/s")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["one-pass"])
    parser.add_argument("--psnr", type=float, default=36.0, help="dB, for the way psnr")
    parser.add_argument("--model", default="intra")
    parser.add_argument("--buffer", type=float, default=1.0)
    parser.add_argument("--look-ahead", type=int, default=8)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-x265", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def make_runs(clip: Path, arguments: argparse.Namespace) -> Iterator[Run]:
    """What is to be measured of a clip, in order; x265 beside our one pass."""
    source = str(clip)
    seen = foresee(frames_of(source), with_scenes=True)
    cuts = [item.is_cut for item in seen if isinstance(item, SourceFrame)]
    shots = [index for index, is_cut in enumerate(cuts) if is_cut or not index]
    name, seconds = clip.stem.split("_416x")[0], len(cuts) / FRAME_RATE
    for way, rate in itertools.product(arguments.ways, [*arguments.rates, None]):
        if (way == "psnr") != (rate is None):
            continue
        psnr_db = arguments.psnr if way == "psnr" else None
        for codec in (arguments.model, "x265 medium"):
            if codec == arguments.model or (way == "one-pass" and not arguments.no_x265):
                run = Run(name, codec, way, rate or 0.0, arguments.buffer, psnr_db, shots=shots)
                run.seconds = seconds
                yield run


def main() -> None:
    """Measure, print a table, write JSON and a picture."""
    arguments, runs = parse(), []
    arguments.loaded = kinema.load_model(arguments.model)
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder, clips = Path(name), arguments.clips
        groups = {re.sub(r"_\d+x\d+.*", "", clip.stem): [clip] for clip in clips}
        if arguments.seconds:
            groups = {"joined": clips}
        for title, group in groups.items():
            clip = concatenate(group, folder, title, arguments.seconds)
            for run in make_runs(clip, arguments):
                measure = run_kinema if run.codec == arguments.model else run_x265
                measure(run, str(clip), arguments, folder)
                runs.append(run)
                print(run.row(), flush=True)
    for way in arguments.ways:
        ours = [run for run in runs if (run.codec, run.way) == (arguments.model, way)]
        errors = [abs(run.error()) for run in ours]
        unit, scale = ("dB", 1) if way == "psnr" else ("%", 100)
        mean, most = scale * statistics.mean(errors), scale * max(errors)
        print(f"{way}: mean error {mean:.3f} {unit}, largest {most:.3f} {unit}")
    print(f"{time.process_time():.0f} s of this process's time on the processor")
    if arguments.json:
        facts = [{**asdict(run), "fullness_s": run.fullness_s()} for run in runs]
        arguments.json.write_text(json.dumps(facts))
    if arguments.plot:
        plot(runs, arguments.plot)


if __name__ == "__main__":
    main()
