"""Random crops from a bank of decoded planes, on the device that trains."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinema.errors import ConfigError
from kinema.train.sources import Clip


@dataclass(frozen=True)
class Batch:
    """Crops of clips, uint8: y (B, T, S, S), u and v (B, T, S/2, S/2)."""

    y: Tensor
    u: Tensor
    v: Tensor


class CropSampler:
    """Draws crops: place, flips, direction of time and frame skip at random.

    The bank lies in the device's memory once; drawing is deterministic given the generator.
    """

    def __init__(self, bank: Path, clips: list[Clip], device: torch.device) -> None:
        """Open a bank, as `build_bank` gives it, on the device that trains."""
        flat = np.memmap(bank, dtype=np.uint8, mode="c")  # private: torch wants it writable
        self._bank = torch.from_numpy(flat).to(device)
        self._clips = clips
        self._pixels = np.array([c.num_frames * c.width * c.height for c in clips], dtype=float)

    def draw(
        self, generator: np.random.Generator, batch: int, size: int, num_frames: int = 1
    ) -> Batch:
        """Draw a batch: longer and larger clips more often, in proportion to their samples.

        Args:
            generator: source of chance.
            batch: number of crops.
            size: side S of the crop, a multiple of 16.
            num_frames: pictures T per crop.

        Raises:
            ConfigError: no clip is large and long enough.
        """
        fits = [c.num_frames >= num_frames and min(c.width, c.height) >= size for c in self._clips]
        weight = self._pixels * np.array(fits)
        if not weight.any():
            raise ConfigError(f"no training clip has {num_frames} frames of {size}x{size}")
        picks = generator.choice(len(self._clips), size=batch, p=weight / weight.sum())
        crops = [self._crop(generator, self._clips[i], size, num_frames) for i in picks]
        y, u, v = (torch.stack(planes) for planes in zip(*crops, strict=True))
        return Batch(y, u, v)

    def _crop(
        self, generator: np.random.Generator, clip: Clip, size: int, num_frames: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        most = (clip.num_frames - 1) // (num_frames - 1) if num_frames > 1 else 1
        skip = int(generator.integers(1, min(most, 3) + 1))
        first = int(generator.integers(clip.num_frames - skip * (num_frames - 1)))
        top = 2 * int(generator.integers((clip.height - size) // 2 + 1))
        left = 2 * int(generator.integers((clip.width - size) // 2 + 1))
        stop = clip.start + clip.num_frames * clip.frame_bytes
        frames = self._bank[clip.start : stop].view(clip.num_frames, clip.frame_bytes)
        frames = frames[first : first + skip * (num_frames - 1) + 1 : skip]
        luma_bytes = clip.width * clip.height
        y = frames[:, :luma_bytes].view(-1, clip.height, clip.width)
        y = y[:, top : top + size, left : left + size]
        chroma = frames[:, luma_bytes:].view(-1, 2, clip.height // 2, clip.width // 2)
        box = (slice(top // 2, (top + size) // 2), slice(left // 2, (left + size) // 2))
        u, v = chroma[:, 0, *box], chroma[:, 1, *box]
        axes = [axis for axis in range(3) if generator.random() < 0.5]  # time, rows, columns
        return y.flip(axes), u.flip(axes), v.flip(axes)
