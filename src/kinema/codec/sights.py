"""What can be seen of a frame without coding it: roughly how many bits it will take."""

from dataclasses import dataclass

import numpy as np

from kinema.video.frame import Frame, Plane


@dataclass(frozen=True, slots=True)
class Sight:
    """Cheap features of a frame.

    Attributes:
        detail: differences of luma samples side by side and on top of each other, on average.
        change: difference from the frame before, in the same places, on average; None without one.
        is_cut: whether a scene begins with it.
    """

    detail: float
    change: float | None = None
    is_cut: bool = False


def look(frame: Frame, before: Frame | None, *, is_cut: bool) -> Sight:
    """See a frame, and the one before it."""
    is_new = before is None or is_cut or before.y.shape != frame.y.shape
    return Sight(
        detail=_mean_step(frame.y[::2], 1) + _mean_step(frame.y[:, ::2], 0),
        change=None if before is None or is_new else _mean_difference(frame.y, before.y),
        is_cut=is_cut,
    )


def _mean_step(plane: Plane, axis: int) -> float:
    """Mean absolute difference of neighbours; 0 where there are none."""
    steps = np.abs(np.diff(plane.astype(np.int16), axis=axis))
    return float(steps.sum(dtype=np.int64) / max(steps.size, 1))


def _mean_difference(plane: Plane, before: Plane) -> float:
    """Mean absolute difference of two pictures, every other row."""
    differences = np.abs(plane[::2].astype(np.int16) - before[::2])
    return float(differences.sum(dtype=np.int64) / differences.size)
