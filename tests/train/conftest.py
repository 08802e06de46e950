"""A tiny recipe, and material made on the fly."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from kinema.models.intra import IntraCodec
from kinema.nn.exact import Arithmetic
from kinema.train import alignment
from kinema.train.data import Batch, CropSampler
from kinema.train.loop import TrainConfig, Trainer
from kinema.train.objectives import intra_objective, start_intra
from kinema.train.recipes import RECIPES, Recipe
from kinema.train.sources import build_bank, find_sources
from kinema.train.stages import Stage

TINY_STAGES = (
    Stage(
        name="first", steps=4, batch=2, crop=64, lr=1e-3, final_lr=1e-4, warmup=2, autocast=False
    ),
    Stage(
        name="second",
        steps=2,
        batch=1,
        crop=80,
        lr=1e-4,
        final_lr=1e-5,
        warmup=1,
        arithmetic=Arithmetic.FAKE,
        autocast=False,
        decide=1.0,
    ),
)


def draw(width, height, index=0):
    """A picture (H, W, 3) that moves with its index."""
    down, right = np.indices((height, width))
    red = (right * 3 + index * 7) % 256
    green = (down * 2 + right + index) % 256
    blue = ((right // 8 + down // 8 + index) % 2) * 180 + 30
    return np.stack([red, green, blue], 2).astype(np.uint8)


def write_video(path, *, size=(160, 144), num_frames=6, codec="ffv1", pix_fmt="yuv420p"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(draw(*size, index), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


def write_image(path, *, size=(160, 144), index=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb24"
        frame = av.VideoFrame.from_ndarray(draw(*size, index), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video():
    return write_video


@pytest.fixture
def image():
    return write_image


@pytest.fixture
def material(tmp_path):
    """A folder with one short video."""
    folder = tmp_path / "material"
    folder.mkdir()
    write_video(folder / "clip.mkv")
    return folder


@pytest.fixture
def tiny_recipe(tiny_config, monkeypatch):
    """Register a recipe under the name `tiny`; stages and objective may be replaced."""

    def register(stages=TINY_STAGES, objective=intra_objective, start=lambda *_: None):
        recipe = Recipe(stages, lambda: IntraCodec(tiny_config), start, objective)
        monkeypatch.setitem(RECIPES, "tiny", recipe)
        return recipe

    register()
    return register


@pytest.fixture
def trainer(tiny_recipe, material, tmp_path):
    """Make a trainer of the tiny recipe."""

    def make(run="run", report=lambda _line: None, **settings):
        config = TrainConfig(
            recipe="tiny", data=(material,), run_dir=tmp_path / "runs" / run, **settings
        )
        return Trainer(config, report)

    return make


@pytest.fixture
def sampler(material, tmp_path):
    """Draws crops of the material."""
    return CropSampler(*build_bank(find_sources([material]), tmp_path), torch.device("cpu"))


@pytest.fixture
def small_start(sampler, monkeypatch):
    """Begin with little material, and with the best block transform as intra codec."""
    monkeypatch.setattr(alignment, "START_BATCHES", 3)
    monkeypatch.setattr(alignment, "START_SIZE", 64)
    monkeypatch.setattr(
        alignment, "load_parameters", lambda _path, model: start_intra(model, sampler)
    )
    torch.manual_seed(0)


@pytest.fixture
def batch():
    """A smooth picture that moves by two samples a frame."""
    chance = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 9, 9, generator=chance) * 200 + 28
    wide = torch.nn.functional.interpolate(coarse, (72, 72), mode="bicubic").clamp(0, 255)
    y = torch.stack([wide[0, 0, :64, 2 * t : 64 + 2 * t] for t in range(3)])[None]
    chroma = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    return Batch(y.to(torch.uint8), chroma, chroma)
