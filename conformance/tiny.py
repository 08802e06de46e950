"""The tiny systems of tier C: how their networks are shaped, weights loaded, clips drawn.

The probability tables, which every system shares, lie in a file of their own; what systems with P
frames take from the intra system is not written again.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file
from torch import nn

from kinema.bitstream.container import ContainerReader
from kinema.models.cama import CamaCodec, CamaConfig
from kinema.models.dual_domain import DualDomainCodec
from kinema.models.intra import IntraCodec, IntraConfig
from kinema.models.lstvc import LstvcCodec, LstvcConfig
from kinema.models.moving import MovingConfig
from kinema.models.registry import LoadedModel
from kinema.models.weights import load_weights
from kinema.parts.deformable import DeformableConfig
from kinema.parts.feature_alignment import FeatureConfig
from kinema.parts.motion_codec import MotionConfig
from kinema.parts.priors import PriorConfig
from kinema.parts.temporal import ContextConfig
from kinema.parts.transforms import TransformConfig
from kinema.video.frame import Frame

FOLDER = Path(__file__).parent
STREAMS = FOLDER / "streams"
WEIGHTS = FOLDER / "weights"
CONFIG = IntraConfig(
    transform=TransformConfig(
        latent_channels=24,
        fine_channels=12,
        coarse_channels=12,
        analysis_fine_blocks=1,
        analysis_coarse_blocks=1,
        synthesis_fine_blocks=1,
        synthesis_coarse_blocks=1,
    ),
    prior=PriorConfig(latent_channels=24, hyper_channels=8, prior_channels=12),
)


MOVING = {
    "intra": CONFIG,
    "motion": MotionConfig(width=8),
    "context": ContextConfig(
        stage=DeformableConfig(
            stream_channels=8, latent_channels=24, value_channels=8, heads=2, hidden_channels=8
        )
    ),
}


@dataclass(frozen=True, kw_only=True)
class System:
    """A tiny system. `number`, `structures` and `intra_gain` as in `ModelEntry`."""

    number: int
    build: Callable[[], nn.Module]
    structures: tuple[str, ...] = ("low-delay", "all-intra")
    intra_gain: float = 0.0


CONDITIONAL = MOVING | {"state_channels": 8, "refinement_channels": 8, "refinement_blocks": 1}
FEATURES = FeatureConfig(widths=(8, 8, 4), groups=(2, 2, 1), hidden_channels=4)


BASE = "tiny-intra"
SYSTEMS = {  # by the name of their file of weights
    BASE: System(number=1, build=lambda: IntraCodec(CONFIG), structures=("all-intra",)),
    "tiny-dual-domain": System(number=2, build=lambda: DualDomainCodec(MovingConfig(**MOVING))),
    "tiny-lstvc": System(
        number=3, build=lambda: LstvcCodec(LstvcConfig(**CONDITIONAL)), intra_gain=8.0
    ),
    "tiny-cama": System(
        number=4,
        build=lambda: CamaCodec(CamaConfig(**CONDITIONAL, features=FEATURES)),
        intra_gain=8.0,
    ),
}


def load_tiny(name: str = BASE) -> LoadedModel:
    """A tiny system with its committed weights."""
    tensors = {}
    for part in ("tables", BASE, name):
        tensors |= load_file(WEIGHTS / f"{part}.safetensors")
    system = SYSTEMS[name]
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder) / "merged.safetensors"
        save_file(tensors, merged)
        frozen = load_weights(system.build(), merged)
    return LoadedModel(
        name=name,
        number=system.number,
        frozen=frozen,
        structures=system.structures,
        intra_gain=system.intra_gain,
    )


def load_for(path: Path) -> LoadedModel:
    """The tiny system that a stream names."""
    with ContainerReader(path) as reader:
        number = reader.header.model_number
    return load_tiny(next(name for name, s in SYSTEMS.items() if s.number == number))


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
