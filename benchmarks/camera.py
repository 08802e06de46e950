"""A clip of natural detail without any download: a camera moving over a photograph.

The photograph is Grace Hopper's portrait, which matplotlib ships. The camera pans, zooms and
rotates smoothly, by fractions of a sample; pictures are rendered at twice the size and averaged.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import cbook, image

from kinema.video.color import rgb_to_frame
from kinema.video.frame import ColorDescription, Frame, VideoFormat
from kinema.video.writing import create_video

COLOR = ColorDescription(matrix=6, primaries=6, transfer=6, chroma_location=1)
# Time from 0 to 1; centre and width of the view as parts of the photograph's width; degrees.
PATH = ((0.0, 0.47, 0.86, 0.90, -2.0), (0.5, 0.53, 0.55, 0.88, 2.5), (1.0, 0.50, 0.36, 0.68, -1.5))


def photograph(tiles: int = 1) -> torch.Tensor:
    """(1, 3, H, W) in 0..255; `tiles` mirrored copies each way, for large pictures."""
    path = str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    rgb = np.asarray(image.imread(path))[..., :3]
    height, width = rgb.shape[:2]
    grown = ((0, height * (tiles - 1)), (0, width * (tiles - 1)), (0, 0))
    rgb = np.pad(rgb, grown, mode="symmetric")
    return torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None]


def view_at(time: float) -> tuple[float, ...]:
    """Centre x, centre y, width and angle in radians at a time from 0 to 1."""
    later = next(i for i, key in enumerate(PATH) if time <= key[0] and i)
    before, after = PATH[later - 1], PATH[later]
    part = (time - before[0]) / (after[0] - before[0])
    ease = part * part * (3 - 2 * part)
    x, y, width, degrees = (a + (b - a) * ease for a, b in zip(before[1:], after[1:], strict=True))
    return x, y, width, math.radians(degrees)


def render(photo: torch.Tensor, view: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """RGB (H, W, 3) uint8 of a view; `size` is (width, height)."""
    centre_x, centre_y, view_width, angle = view
    width, height = size
    photo_height, photo_width = photo.shape[-2:]
    step = view_width * photo_width / (2 * width)  # photograph samples per rendered sample
    down, right = torch.meshgrid(
        (torch.arange(2 * height) - height + 0.5) * step,
        (torch.arange(2 * width) - width + 0.5) * step,
        indexing="ij",
    )
    x = centre_x * photo_width + math.cos(angle) * right - math.sin(angle) * down
    y = centre_y * photo_width + math.sin(angle) * right + math.cos(angle) * down
    grid = torch.stack([2 * x / photo_width - 1, 2 * y / photo_height - 1], -1)[None]
    fine = F.grid_sample(photo, grid, "bicubic", padding_mode="reflection", align_corners=False)
    picture = F.avg_pool2d(fine.clamp(0, 255), 2)[0].permute(1, 2, 0)
    return picture.round().to(torch.uint8).numpy()


def camera_frames(size: tuple[int, int], num_frames: int) -> Iterator[Frame]:
    """Frames of a camera ride; `size` is (width, height)."""
    photo = photograph(tiles=-(-size[0] // 512))
    for index in range(num_frames):
        rgb = render(photo, view_at(index / max(1, num_frames - 1)), size)
        yield rgb_to_frame(rgb, COLOR, pts=index, duration=1)


def write_camera_clip(path: Path, size: tuple[int, int], num_frames: int, rate: int = 24) -> None:
    """Write a camera ride as a video file of any kind that Kinema writes."""
    form = VideoFormat(
        width=size[0],
        height=size[1],
        frame_rate=Fraction(rate),
        time_base=Fraction(1, rate),
        color=COLOR,
    )
    with create_video(str(path), form, overwrite=True) as writer:
        for frame in camera_frames(size, num_frames):
            writer.write(frame)
