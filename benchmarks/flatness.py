"""PSNR of every frame after a single intra frame: does quality drift?

Usage: python benchmarks/flatness.py CLIP... [--crf 30] [--frames 96] [--json FILE] [--plot FILE]

Codes each clip in low delay with one intra frame, with a model and with an anchor at the whole QP
of the closest mean PSNR (fixed QP), decodes both, and fits a line to the PSNR of the frames by
least squares. The slope is its rise over the clip in dB. Content changes PSNR too, so each codec
is also held against itself, all-intra at the same setting: the slope of the difference is drift.
"""

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np

from kinema.eval.anchors import Anchor, encoder_arguments
from kinema.eval.clips import PreparedClip, prepare_clip
from kinema.eval.conditions import Conditions
from kinema.eval.loss_results import Sent
from kinema.eval.loss_runs import Sender
from kinema.eval.loss_streams import AnchorStream, ModelStream, Stream
from kinema.eval.model_runs import ModelRunner
from kinema.eval.plots import ANCHOR_COLORS, MODEL_COLORS, STYLE, save_figure
from kinema.eval.processes import ffmpeg_command, ffmpeg_version, import_extra, run_measured
from kinema.eval.reports import format_table
from kinema.eval.results import write_json

ONLY_FIRST = {True: -1, False: 0}  # no further intra frames, in the words of anchors and of ours


@dataclass(frozen=True, slots=True)
class AllIntraAnchor(AnchorStream):
    """The anchor with nothing but intra frames, at the same preset and QP."""

    def encode(self, clip: PreparedClip, target: Path, _: int, quality: float) -> int:
        arguments = encoder_arguments(
            self.anchor, Conditions(num_threads=self.num_threads), quality
        )
        inputs = ["-i", str(clip.even_y4m), "-fps_mode", "passthrough"]
        run_measured(ffmpeg_command(*inputs, *arguments, str(target)), what=self.name)
        return target.stat().st_size


@dataclass(frozen=True)
class Line:
    """One codec on one clip.

    Attributes:
        sent: PSNR of every frame, one intra frame.
        intra_psnr: the same of the codec all-intra, in dB.
        is_same: the pictures are those of all-intra, bit by bit.
    """

    sent: Sent
    intra_psnr: tuple[float, ...]
    is_same: bool

    def figures(self) -> dict[str, object]:
        drift = [a - b for a, b in zip(self.sent.psnr, self.intra_psnr, strict=True)]
        return {
            "clip": self.sent.clip,
            "codec": self.sent.codec,
            "quality": self.sent.quality,
            "frames": len(self.sent.psnr),
            "rate_kbps": self.sent.rate_kbps,
            "psnr": fmean(self.sent.psnr),
            "psnr_deviation": pstdev(self.sent.psnr),
            "slope_db": slope(self.sent.psnr),
            "slope_without_first_db": slope(self.sent.psnr[1:]),
            "drift_db": slope(drift),
            "drift_without_first_db": slope(drift[1:]),
            "is_same_as_all_intra": self.is_same,
        }


def slope(values: "tuple[float, ...] | list[float]") -> float:
    """Rise of the line of least squares from the first frame to the last one, in dB."""
    if len(values) < 2:
        return math.nan
    places = np.arange(len(values))
    return float(np.polyfit(places, values, 1)[0] * (len(values) - 1))


def measure(
    clip: PreparedClip, pair: tuple[Stream, Stream], psnr: float | None, crf: float
) -> Line:
    """Code a clip with one intra frame and all-intra; an anchor at the QP closest to `psnr`."""
    stream, intra = pair
    sender = Sender(stream, clip, ONLY_FIRST[stream.is_anchor])
    quality = crf if psnr is None else sender.search(psnr)
    with tempfile.TemporaryDirectory(dir=clip.y4m.parent) as folder:
        coded = Path(folder) / f"coded{stream.suffix}"
        frames, sent = sender.code(quality, coded)
        others, other = Sender(intra, clip, 1).code(quality, coded)
    is_same = all(
        np.array_equal(a, b)
        for frame, twin in zip(frames, others, strict=True)
        for a, b in zip(frame.planes, twin.planes, strict=True)
    )
    return Line(sent, other.psnr, is_same)


def draw(lines: list[Line], path: Path) -> None:
    """One panel per clip: PSNR of every frame, with the fitted lines."""
    matplotlib, figure_module = import_extra("matplotlib"), import_extra("matplotlib.figure")
    clips = list(dict.fromkeys(line.sent.clip for line in lines))
    with matplotlib.rc_context(STYLE):
        figure = figure_module.Figure(figsize=(5.2, 2.0 * len(clips) + 0.4), layout="constrained")
        panels = figure.subplots(len(clips), 1, squeeze=False)[:, 0]
        for panel, clip in zip(panels, clips, strict=True):
            for line in (line for line in lines if line.sent.clip == clip):
                sent = line.sent
                color = ANCHOR_COLORS[0] if sent.is_anchor else MODEL_COLORS[0]
                drift = line.figures()["drift_db"]
                label = f"{sent.codec}: slope {slope(sent.psnr):+.2f} dB, drift {drift:+.2f} dB"
                panel.plot(sent.psnr, color=color, linewidth=1.2, label=label)
                panel.plot(line.intra_psnr, color=color, linewidth=0.7, linestyle=":")
            panel.set_title(clip, loc="left", fontweight="bold")
            panel.set_ylabel("PSNR-YUV 6:1:1 (dB)")
            panel.grid(visible=True)
            panel.legend(frameon=False, fontsize=7)
        panels[-1].set_xlabel("frame; dotted: the same codec, all-intra")
        save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="dual-domain")
    parser.add_argument("--anchor", default="x265-placebo")
    parser.add_argument("--crf", type=float, default=30.0)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    runner, anchor = ModelRunner(model=options.model), Anchor.from_name(options.anchor)
    ours = [ModelStream(runner, name, options.threads) for name in ("low-delay", "all-intra")]
    theirs = [kind(anchor, options.threads) for kind in (AnchorStream, AllIntraAnchor)]
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in options.clips:
            clip = prepare_clip(path, Path(folder), options.frames)
            lines.append(measure(clip, tuple(ours), None, options.crf))
            psnr = fmean(lines[-1].sent.psnr)
            lines.append(measure(clip, tuple(theirs), psnr, options.crf))
    report(lines, options)


def report(lines: list[Line], options: argparse.Namespace) -> None:
    rows = [line.figures() for line in lines]
    cells = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    print(format_table([list(rows[0]), *cells]))
    if options.json:
        whole = [
            row | {"psnr_per_frame": line.sent.psnr, "intra_psnr_per_frame": line.intra_psnr}
            for row, line in zip(rows, lines, strict=True)
        ]
        conditions = {"ffmpeg": ffmpeg_version(), "intra_period": -1, "structure": "low-delay"}
        write_json(conditions | {"lines": whole}, options.json)
    if options.plot:
        draw(lines, options.plot)


if __name__ == "__main__":
    main()
