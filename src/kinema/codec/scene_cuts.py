"""Scene cuts, found in the source alone: pictures that nothing before them resembles.

Small copies of the luma planes are compared, all in whole numbers: what is decided does not depend
on models, threads or machines. A global change of brightness or contrast counts as nothing, so a
fade is no cut; a shift of the whole picture neither, so a pan is none. A frame is compared with a
few before it and those with a few after it, so a flash of up to `LOOK_AHEAD` frames is none. And
a cut stands out from the changes around it, so noise and wild motion have none.
"""

import itertools
from collections import deque

import numpy as np
from numpy.typing import NDArray

from kinema.video.frame import Frame, Plane

LOOK_AHEAD = 2  # frames after one that are seen before it is decided on
LOOK_BACK = LOOK_AHEAD + 1  # frames before it: a flash, and one from before the flash
ROWS, COLUMNS = 32, 56  # of a small copy, at most; 30x52 cells of 8x8 samples for 416x240
GREY_LEVEL = 16  # units of a cell
NOISE = (4 * GREY_LEVEL) ** 2  # variance of a picture that says nothing
CUT_CHANGE = 0.5  # part of a picture that must be new
CUT_RATIO = 3.0  # times the change that is usual around it
MAX_SHIFT = 4  # a picture may have moved by one part in this of its height and width

Cells = NDArray[np.int64]


class SceneCuts:
    """Takes frames one by one; decides, some frames later, whether a scene begins with one."""

    def __init__(self, look_ahead: int = LOOK_AHEAD) -> None:
        """Begin a video; its first frame is no cut.

        Args:
            look_ahead: how many later frames a decision waits for, except at the end; with fewer
                than `LOOK_AHEAD`, flashes may pass for cuts.
        """
        self._past: deque[Cells] = deque(maxlen=LOOK_BACK)
        self._coming: deque[Cells] = deque()
        self._look_ahead = look_ahead

    def take(self, frame: Frame) -> None:
        """See the next frame."""
        self._coming.append(shrink(frame.y))

    def decide(self) -> bool:
        """Whether a scene begins with the oldest frame that was not decided on."""
        coming = list(itertools.islice(self._coming, 1 + self._look_ahead))
        is_cut = bool(self._past) and _is_cut(list(self._past), coming)
        self._past.append(self._coming.popleft())
        return is_cut


def shrink(plane: Plane) -> Cells:
    """Means of rectangles of samples, in 1/16 of a grey level, rounded down; remainders left out.

    Args:
        plane: (H, W).

    Returns:
        at most (32, 56).
    """
    height, width = plane.shape
    rows, columns = -(-height // ROWS), -(-width // COLUMNS)  # of a rectangle
    kept = plane[: height // rows * rows, : width // columns * columns]
    cells = kept.reshape(height // rows, rows, width // columns, columns)
    sums = cells.sum((1, 3), dtype=np.int64)
    return np.asarray(sums * GREY_LEVEL // (rows * columns), np.int64)


def change(before: Cells, after: Cells) -> float:
    """How much of a picture another one does not explain, brightness and contrast aside: 0 to 1."""
    if before.shape != after.shape:
        return 1.0
    a, b, count = before.ravel(), after.ravel(), before.size
    sum_a, sum_b = int(a.sum()), int(b.sum())
    variance_a = count * int(a @ a) - sum_a * sum_a
    variance_b = count * int(b @ b) - sum_b * sum_b
    shared = max(count * int(a @ b) - sum_a * sum_b, 0)
    known = shared * shared / variance_a if variance_a else 0.0
    return (variance_b - known) / (variance_b + NOISE * count * count)


def change_with_motion(before: Cells, after: Cells) -> float:
    """The least `change` that any shift of the whole picture leaves, of what both show."""
    if before.shape != after.shape:
        return 1.0
    rows, columns = (length // MAX_SHIFT for length in before.shape)
    shifts = itertools.product(range(-rows, rows + 1), range(-columns, columns + 1))
    return min(change(_shifted(before, y, x), _shifted(after, -y, -x)) for y, x in shifts)


def _shifted(cells: Cells, y: int, x: int) -> Cells:
    """What is left of a picture that leaves through an edge, y and x cells of it."""
    rows, columns = cells.shape
    return cells[max(y, 0) : rows + min(y, 0), max(x, 0) : columns + min(x, 0)]


def _is_cut(past: list[Cells], coming: list[Cells]) -> bool:
    """Whether a scene ends with the last of `past` and another one begins with `coming`."""
    pairs = list(itertools.product(reversed(past), coming))
    if any(change(*pair) <= CUT_CHANGE for pair in pairs):
        return False
    steps = [*itertools.pairwise(past), *itertools.pairwise(coming)]
    around = sorted(change_with_motion(*step) for step in steps)
    usual = around[(len(around) - 1) // 2] if around else 0.0
    least = max(CUT_CHANGE, CUT_RATIO * usual)
    return least < 1 and all(change_with_motion(*pair) > least for pair in pairs)
