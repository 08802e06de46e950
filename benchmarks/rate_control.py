"""Bitrates asked for against bitrates reached, how full the buffer was, and how steady the quality.

Usage: python benchmarks/rate_control.py CLIP ... --rates 300 600 [--model dual-domain]
       [--passes 1] [--buffer 1] [--look-ahead 8] [--seconds 60] [--no-x265] [--json F] [--plot F]

With --seconds the clips, scaled and cropped to 416x240 at 25 frames/s, are put one after the other,
again and again, until the time is full. Sizes are those of files and of the packets in them;
pictures are decoded ones. x265 medium holds the same rate with the same buffer, in one pass; its
intra period is ours, and so is its look-ahead.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

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
MIN_SHOT = 8  # frames of a shot whose quality has a spread


@dataclass
class Run:
    """What came of one clip at one rate; lists have one value per frame."""

    clip: str
    codec: str
    target_kbps: float
    buffer_s: float
    size_bytes: int = 0
    seconds: float = 0.0  # of video
    shots: list[int] = field(default_factory=list)  # where they begin
    times_s: list[float] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)  # of packets
    qualities: list[float] = field(default_factory=list)  # crf
    psnr_db: list[float] = field(default_factory=list)

    def reached_kbps(self) -> float:
        """Of the whole file."""
        return 8 * self.size_bytes / self.seconds / 1000

    def error(self) -> float:
        """Part by which the rate is too high."""
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
        return (
            f"| {self.clip} | {self.codec} | {self.target_kbps:g} | {self.reached_kbps():.1f} "
            f"| {100 * self.error():+.1f} % | {self.size_bytes} "
            f"| {statistics.mean(self.psnr_db):.2f} | {self.spread_db():.2f} "
            f"| {max(self.fullness_s()):.2f} |"
        )


HEAD = (
    "| clip | codec | target, kbit/s | reached | error | bytes | PSNR, dB | in shot | peak, s |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def frames_of(source: str) -> Iterator[Frame]:
    """Pictures of a video."""
    with open_video(source, with_audio=False, note=lambda _: None) as video:
        yield from (item for item in video if isinstance(item, Frame))


def concatenate(clips: list[Path], folder: Path, seconds: float) -> Path:
    """One raw video of them all, as often as it takes."""
    path = folder / f"all_{WIDTH}x{HEIGHT}_{FRAME_RATE}.yuv"
    frame_bytes = WIDTH * HEIGHT * 3 // 2
    wanted = round(seconds * FRAME_RATE) * frame_bytes
    parts = []
    for clip in clips:
        command = ["-i", str(clip), "-vf", FIT, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
        done = subprocess.run(ffmpeg_command(*command), check=True, capture_output=True)
        parts.append(done.stdout)
    whole = b"".join(parts)
    path.write_bytes((whole * (wanted // len(whole) + 1))[:wanted])
    return path


def size_in_file(packet: FramePacket, header: SequenceHeader) -> int:
    """Bytes of a packet, from sync to checksum."""
    type_code, fields = pack_frame(packet.header, header)
    return len(seal_packet(type_code, fields + packet.payload, DEFAULT_LIMITS))


def run_kinema(run: Run, source: str, arguments: argparse.Namespace, folder: Path) -> None:
    """Code with ours; fill in what came of it."""
    path = folder / "ours.kin"
    one_pass = arguments.passes == 1
    report = kinema.encode(
        source,
        path,
        rate_kbps=run.target_kbps,
        passes=arguments.passes,
        buffer_s=arguments.buffer if one_pass else None,
        look_ahead=arguments.look_ahead if one_pass else None,
        model=arguments.model,
        with_audio=False,
        overwrite=True,
        threads=arguments.threads,
    )
    run.size_bytes, run.seconds = report.video_bytes, report.seconds
    with ContainerReader(path) as reader:
        packets = [packet for packet in reader.packets() if isinstance(packet, FramePacket)]
        header = reader.header
    run.bits = [8 * size_in_file(packet, header) for packet in packets]
    run.times_s = [float(packet.header.pts * header.time_base) for packet in packets]
    run.qualities = [packet.header.quality / 256 for packet in packets]
    with kinema.open(path, threads=arguments.threads) as decoded:
        pairs = zip(frames_of(source), decoded, strict=True)
        run.psnr_db = [psnr_planes(a, b).yuv_611 for a, b in pairs]


def run_x265(run: Run, source: str, arguments: argparse.Namespace, folder: Path) -> None:
    """Code with x265; fill in what came of it."""
    path = folder / "theirs.mkv"
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}"]
    raw += ["-r", str(FRAME_RATE)]
    rate, size = run.target_kbps, run.target_kbps * arguments.buffer
    period = 32 if arguments.model == "dual-domain" else 1
    parameters = f"keyint={period}:min-keyint=1:bframes=0:vbv-maxrate={rate:g}:vbv-bufsize={size:g}"
    parameters += f":rc-lookahead={min(arguments.look_ahead, period)}:log-level=error"
    command = ["-y", *(raw if source.endswith(".yuv") else []), "-i", source, "-an"]
    command += ["-c:v", "libx265", "-preset", "medium", "-tune", "psnr", "-b:v", f"{rate:g}k"]
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
    columns = list(dict.fromkeys((run.clip, run.target_kbps) for run in runs))
    size = (max(6, 4 * len(columns)), 6)
    figure, axes = pyplot.subplots(2, len(columns), figsize=size, squeeze=False, sharex="col")
    for index, column in enumerate(columns):
        upper, lower = axes[0][index], axes[1][index]
        for run in (run for run in runs if (run.clip, run.target_kbps) == column):
            upper.plot(run.times_s, run.fullness_s(), label=run.codec, linewidth=1)
            lower.plot(run.times_s, run.psnr_db, label=run.codec, linewidth=1)
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
    parser.add_argument("--rates", nargs="+", type=float, required=True, help="kbit/s")
    parser.add_argument("--model", default="intra")
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--buffer", type=float, default=1.0)
    parser.add_argument("--look-ahead", type=int, default=8)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-x265", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write JSON and a picture."""
    arguments, runs = parse(), []
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = arguments.clips
        if arguments.seconds:
            clips = [concatenate(clips, folder, arguments.seconds)]
        for clip, rate in itertools.product(clips, arguments.rates):
            seen = foresee(frames_of(str(clip)), with_scenes=True)
            cuts = [item.is_cut for item in seen if isinstance(item, SourceFrame)]
            shots = [index for index, is_cut in enumerate(cuts) if is_cut or not index]
            for codec in ("kinema", *([] if arguments.no_x265 else ["x265"])):
                label = f"{arguments.model}" if codec == "kinema" else "x265 medium"
                run = Run(clip.stem.split("_416x")[0], label, rate, arguments.buffer, shots=shots)
                (run_kinema if codec == "kinema" else run_x265)(run, str(clip), arguments, folder)
                runs.append(run)
                print(run.row(), flush=True)
    errors = [abs(run.error()) for run in runs if not run.codec.startswith("x265")]
    print(f"\nmean error {100 * statistics.mean(errors):.2f} %")
    if arguments.json:
        facts = [{**asdict(run), "fullness_s": run.fullness_s()} for run in runs]
        arguments.json.write_text(json.dumps(facts))
    if arguments.plot:
        plot(runs, arguments.plot)


if __name__ == "__main__":
    main()
