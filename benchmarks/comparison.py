"""Draw pictures side by side, with two details enlarged."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinema.video.color import frame_to_rgb
from kinema.video.frame import ColorDescription, Frame

ZOOM = 4  # a detail is this part of the picture, each way
COLORS = ("#ffd166", "#06d6a0")


@dataclass(frozen=True)
class Picture:
    """One codec's picture and what is written above it."""

    name: str
    note: str
    frame: Frame
    color: ColorDescription


def details_of(luma: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Choose two places rich in detail, apart from each other: (left, top, width, height)."""
    height, width = luma.shape
    box_height, box_width = height // ZOOM, width // ZOOM
    smooth = luma.astype(np.float32)
    slope = np.abs(np.diff(smooth, axis=0))[:, 1:] + np.abs(np.diff(smooth, axis=1))[1:]
    total = np.pad(np.minimum(slope, 40).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    tops = np.arange(0, height - box_height, max(1, box_height // 8))
    lefts = np.arange(0, width - box_width, max(1, box_width // 8))
    top, left = np.meshgrid(tops, lefts, indexing="ij")
    score = total[top + box_height, left + box_width] - total[top, left + box_width]
    score += total[top, left] - total[top + box_height, left]
    boxes = []
    for _ in COLORS:
        best = np.unravel_index(score.argmax(), score.shape)
        y, x = int(top[best]), int(left[best])
        boxes.append((x, y, box_width, box_height))
        score[(abs(top - y) < 2 * box_height) & (abs(left - x) < 1.5 * box_width)] = -1
    return boxes


def draw_comparison(pictures: list[Picture], target: Path) -> None:
    """Write a PNG: whole pictures above, two enlarged details of each below."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Rectangle

    boxes = details_of(pictures[0].frame.y)
    height, width = pictures[0].frame.y.shape
    column = 4.2  # inches
    rows = 1 + len(boxes)
    figure, panels = plt.subplots(
        rows,
        len(pictures),
        figsize=(column * len(pictures), rows * column * height / width + 0.6),
        squeeze=False,
        gridspec_kw={"wspace": 0.02, "hspace": 0.03},
    )
    for panel in panels.flat:
        panel.set_axis_off()
    for place, picture in enumerate(pictures):
        rgb = frame_to_rgb(picture.frame, picture.color)
        whole = panels[0, place]
        whole.imshow(rgb, interpolation="lanczos")
        whole.set_title(f"{picture.name}\n{picture.note}", fontsize=12)
        for row, (box, color) in enumerate(zip(boxes, COLORS, strict=True), 1):
            x, y, w, h = box
            whole.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=color, linewidth=1.5))
            detail = panels[row, place]
            detail.imshow(rgb[y : y + h, x : x + w], interpolation="nearest")
            frame = Rectangle((-0.5, -0.5), w, h, fill=False, edgecolor=color, linewidth=4)
            detail.add_patch(frame)
    figure.subplots_adjust(
        left=0.004, right=0.996, bottom=0.005, top=1 - 0.6 / figure.get_figheight()
    )
    figure.savefig(target, dpi=110)
    plt.close(figure)
