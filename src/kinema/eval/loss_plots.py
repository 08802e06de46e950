"""Losses as a figure fit for a paper: quality against rate of loss, and frame by frame."""

from pathlib import Path
from typing import Any

from kinema.eval.loss_patterns import BURSTS, INDEPENDENT
from kinema.eval.loss_results import LossResult, LossRun
from kinema.eval.plots import ANCHOR_COLORS, MODEL_COLORS, STYLE, save_figure
from kinema.eval.processes import import_extra

_PANEL_INCHES = (2.35, 1.75)
_LOOK_PERCENT = 5.0  # the rate whose frames are shown one by one, or the closest that was run
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plot_losses(result: LossResult, path: Path) -> None:
    """Draw all clips into `path` (.png, .pdf or .svg), a column per refresh, three rows per clip.

    Rows: mean PSNR against the rate of independent losses; against the rate of losses in bursts;
    PSNR of every frame of one journey, with ticks below for the packets that it lost. Thin dotted
    lines belong to anchors whose wrong pictures are not shown.

    Raises:
        ConfigError: matplotlib is missing, or knows no such files.
        FileError: the path cannot be written.
    """
    matplotlib = import_extra("matplotlib")
    figure_module = import_extra("matplotlib.figure")
    columns, rows = len(result.refreshes), 3 * len(result.clips)
    size = (max(3.6, columns * _PANEL_INCHES[0]), rows * _PANEL_INCHES[1] + 0.7)
    with matplotlib.rc_context(STYLE):
        figure = figure_module.Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey="row")
        for index, clip in enumerate(result.clips):
            for column, refresh in enumerate(result.refreshes):
                three = panels[3 * index : 3 * index + 3, column]
                _draw_clip(three, result, clip.name, refresh)
        for panel in panels[:, 0]:
            panel.set_ylabel("PSNR-YUV 6:1:1 (dB)")
        _add_legend(figure, panels, len(result.sent))
        save_figure(figure, path)


def _draw_clip(panels: Any, result: LossResult, clip: str, refresh: int) -> None:  # noqa: ANN401  # matplotlib is optional
    """Fill the three panels of a clip and a refresh."""
    for panel, kind in zip(panels, (INDEPENDENT, BURSTS), strict=False):
        _draw_means(panel, result, result.runs_of(clip, kind, refresh))
        panel.set_xlabel(f"packets lost (%), {kind}")
    panels[0].set_title(f"{clip}, refresh {refresh}", loc="left", fontweight="bold")
    runs = result.runs_of(clip, INDEPENDENT, refresh)
    percent = min({run.percent for run in runs}, key=lambda p: abs(p - _LOOK_PERCENT))
    _draw_frames(panels[2], result, tuple(run for run in runs if run.percent == percent))
    panels[2].set_xlabel(f"frame, {percent:g} % independent losses")


def _draw_means(panel: Any, result: LossResult, runs: tuple[LossRun, ...]) -> None:  # noqa: ANN401  # matplotlib is optional
    ticker = import_extra("matplotlib.ticker")
    for codec in dict.fromkeys(run.sent.codec for run in runs):
        own = sorted((r for r in runs if r.sent.codec == codec), key=lambda r: r.percent)
        start = sum(own[0].sent.psnr) / len(own[0].sent.psnr)
        rates, look = [0.0, *(run.percent for run in own)], _look(result, codec)
        panel.plot(rates, [start, *(run.psnr for run in own)], **look)
        if any(run.num_wrong for run in own):
            dotted = look | {"linestyle": ":", "linewidth": 0.8, "label": None, "marker": ""}
            panel.plot(rates, [start, *(run.psnr_frozen for run in own)], **dotted)
    panel.xaxis.set_major_locator(ticker.MultipleLocator(5))
    panel.grid(visible=True)
    panel.set_axisbelow(True)


def _draw_frames(panel: Any, result: LossResult, runs: tuple[LossRun, ...]) -> None:  # noqa: ANN401  # matplotlib is optional
    """Draw the journey that loses most packets among those that lose no more than the average."""
    if not runs:
        return
    mean = runs[0].num_lost / len(runs[0].journeys)
    counts = [len(journey.lost) for journey in runs[0].journeys]
    number = max(range(len(counts)), key=lambda j: (counts[j] <= mean + 1, counts[j]))
    for run in runs:
        look = _look(result, run.sent.codec) | {"marker": ""}
        panel.plot(run.journeys[number].psnr, **look)
    across = panel.get_xaxis_transform()
    for packet in runs[0].journeys[number].lost:
        panel.plot([packet, packet], [0, 0.06], color="#444444", transform=across, linewidth=1.0)
    panel.grid(visible=True)
    panel.set_axisbelow(True)


def _look(result: LossResult, codec: str) -> dict[str, Any]:
    """Return line properties of a codec: the same in every panel."""
    is_anchor = {sent.codec: sent.is_anchor for sent in result.sent}
    rank = [c for c in is_anchor if is_anchor[c] == is_anchor[codec]].index(codec)
    palette = ANCHOR_COLORS if is_anchor[codec] else MODEL_COLORS
    return {
        "color": palette[rank % len(palette)],
        "linestyle": "--" if is_anchor[codec] else "-",
        "linewidth": 1.0 if is_anchor[codec] else 1.5,
        "marker": _MARKERS[list(is_anchor).index(codec) % len(_MARKERS)],
        "markersize": 3.0,
        "label": codec,
    }


def _add_legend(figure: Any, panels: Any, num_lines: int) -> None:  # noqa: ANN401  # matplotlib is optional
    handles, labels = panels[0, 0].get_legend_handles_labels()
    columns = min(4, num_lines)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)
