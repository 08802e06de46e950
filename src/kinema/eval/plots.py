"""Rate-distortion curves as small multiples, one panel per clip, fit for a paper."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinema.errors import ConfigError, FileError
from kinema.eval.processes import import_extra
from kinema.eval.results import BenchResult, Curve

# Okabe and Ito's palette: told apart with every common kind of colour blindness, and in print.
MODEL_COLORS = ("#D55E00", "#CC79A7", "#E69F00", "#F0E442")
ANCHOR_COLORS = ("#0072B2", "#000000", "#009E73", "#56B4E9", "#7F7F7F")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_METRIC_LABELS = {
    "psnr_yuv_611": "PSNR-YUV 6:1:1 (dB)",
    "psnr_rgb": "PSNR-RGB (dB)",
    "psnr_y": "PSNR-Y (dB)",
    "ms_ssim_y": "MS-SSIM-Y",
    "vmaf": "VMAF",
}
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "#D0D0D0",
}
_PANEL_INCHES = (2.35, 1.95)
_MAX_COLUMNS = 3
_MIN_WIDTH_INCHES = 4.5  # of a figure: the line that tells its conditions
_LABEL_INCHES = 1.7  # of the legend: a line and a name


def plot_result(result: BenchResult, path: Path, *, metric: str | None = None) -> None:
    """Draw the curves of all clips into `path` (.png, .pdf or .svg).

    Our models are solid, anchors dashed; rates are on a logarithmic axis; one legend for all.

    Args:
        result: what `run_bench` returned.
        path: the file to write.
        metric: the score to draw; None = the one BD-rate was computed on.

    Raises:
        ConfigError: matplotlib is missing, or the score was not measured.
        FileError: the path cannot be written.
    """
    metric = metric or result.conditions.quality_metric
    matplotlib = import_extra("matplotlib")
    figure_module = import_extra("matplotlib.figure")
    columns = min(_MAX_COLUMNS, math.ceil(math.sqrt(len(result.clips))))
    rows = math.ceil(len(result.clips) / columns)
    width = max(columns * _PANEL_INCHES[0], _MIN_WIDTH_INCHES)
    height = rows * _PANEL_INCHES[1] + 0.75
    with matplotlib.rc_context(STYLE):
        figure = figure_module.Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for panel, clip in zip(panels, result.clips, strict=False):
            curves = [curve for curve in result.curves if curve.clip == clip.name]
            _draw_panel(panel, curves, metric, _looks(result))
            panel.set_title(clip.name, loc="left", fontweight="bold")
        _finish(figure, panels, result, metric)
        save_figure(figure, path)


def _looks(result: BenchResult) -> dict[str, dict[str, Any]]:
    """Return line properties per codec: the same in every panel."""
    looks: dict[str, dict[str, Any]] = {}
    is_anchor = {curve.codec: curve.is_anchor for curve in result.curves}
    for index, codec in enumerate(result.codecs):
        anchors_before = sum(is_anchor[other] for other in result.codecs[:index])
        palette = ANCHOR_COLORS if is_anchor[codec] else MODEL_COLORS
        rank = anchors_before if is_anchor[codec] else index - anchors_before
        looks[codec] = {
            "color": palette[rank % len(palette)],
            "linestyle": "--" if is_anchor[codec] else "-",
            "linewidth": 1.0 if is_anchor[codec] else 1.5,
            "marker": _MARKERS[index % len(_MARKERS)],
            "markersize": 3.0,
            "zorder": 2 if is_anchor[codec] else 3,
            "label": codec,
        }
    return looks


def _draw_panel(
    panel: Any,  # noqa: ANN401  # matplotlib is optional
    curves: Sequence[Curve],
    metric: str,
    looks: Mapping[str, Mapping[str, Any]],
) -> None:
    ticker = import_extra("matplotlib.ticker")
    for curve in curves:
        points = sorted((p.bpp, p.scores.value(metric)) for p in curve.points)
        panel.plot(*zip(*points, strict=True), **looks[curve.codec])
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(ticker.LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(ticker.NullLocator())
    panel.yaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    panel.grid(visible=True)
    panel.set_axisbelow(True)


def _finish(figure: Any, panels: Sequence[Any], result: BenchResult, metric: str) -> None:  # noqa: ANN401  # matplotlib is optional
    for panel in panels[len(result.clips) :]:
        panel.set_axis_off()
    figure.supxlabel("bits per pixel", fontsize=8)
    figure.supylabel(_METRIC_LABELS.get(metric, metric), fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(len(labels), max(1, int(figure.get_figwidth() / _LABEL_INCHES))),
        frameon=False,
        title=result.conditions.description,
        title_fontsize=7,
    )


def save_figure(figure: Any, path: Path) -> None:  # noqa: ANN401  # matplotlib is optional
    """Write a figure.

    Raises:
        ConfigError: matplotlib does not know such files.
        FileError: the path cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=200)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"cannot draw {path}: {error}") from error
