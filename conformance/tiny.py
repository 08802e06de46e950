"""The tiny system of tier C: how its networks are shaped, its weights loaded, its clips drawn.

The probability tables, which every system shares, lie in a file of their own.
"""

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file

from kinema.models.intra import IntraCodec, IntraConfig
from kinema.models.registry import LoadedModel
from kinema.models.weights import load_weights
from kinema.parts.priors import PriorConfig
from kinema.parts.transforms import TransformConfig
from kinema.video.frame import Frame

FOLDER = Path(__file__).parent
STREAMS = FOLDER / "streams"
WEIGHTS = FOLDER / "weights"
MODEL_NUMBER = 1  # of the system that the tiny networks belong to
CONFIG = IntraConfig(
    transform=TransformConfig(
        latent_channels=12,
        fine_channels=12,
        coarse_channels=12,
        analysis_fine_blocks=1,
        analysis_coarse_blocks=1,
        synthesis_fine_blocks=1,
        synthesis_coarse_blocks=1,
    ),
    prior=PriorConfig(latent_channels=12, hyper_channels=8, prior_channels=12),
)


def load_tiny() -> LoadedModel:
    """The tiny intra system with its committed weights."""
    tensors = load_file(WEIGHTS / "tables.safetensors")
    tensors |= load_file(WEIGHTS / "tiny-intra.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder) / "merged.safetensors"
        save_file(tensors, merged)
        frozen = load_weights(IntraCodec(CONFIG), merged)
    return LoadedModel(name="tiny intra", number=MODEL_NUMBER, frozen=frozen)


def draw_frames(kind: str, size: tuple[int, int], times: list[tuple[int, int]]) -> list[Frame]:
    """Draw a clip in whole numbers; `size` is (width, height), `times` (pts, duration).

    Kinds: "shapes", a moving square and stripes on a slope; "noise", every sample by chance.
    """
    width, height = size
    state = np.random.PCG64(width * 1000 + height)
    frames = []
    for index, (pts, duration) in enumerate(times):
        planes = []
        for plane, shrink in enumerate((1, 2, 2)):
            shape = (-(-height // shrink), -(-width // shrink))
            down, right = np.indices(shape) * shrink
            if kind == "noise":
                drawn = (state.random_raw(shape[0] * shape[1]).reshape(shape) >> 40) & 255
            else:
                slope = (down * 3 + right * 2 + 40 * plane) % 160 + 48
                stripes = ((right + 2 * index) // 3 % 2) * 40 * (down > height // 2)
                square = (abs(down - height // 3) < height // 5) & (
                    abs(right - width // 4 - 3 * index) < width // 6
                )
                drawn = np.where(square, 220 - 30 * plane, slope + stripes)
            planes.append(np.clip(drawn, 0, 255).astype(np.uint8))
        frames.append(Frame(*planes, pts=pts, duration=duration))
    return frames


def digest_of(frames: Iterable[Frame]) -> str:
    """SHA-256 of Y, U and V of every frame, row by row."""
    digest = hashlib.sha256()
    for frame in frames:
        for plane in frame.planes:
            digest.update(np.ascontiguousarray(plane).tobytes())
    return digest.hexdigest()
