"""A toy system with P frames, for tests of whole sequences; see toy_video.py."""

import runpy
from pathlib import Path

import pytest
import torch

from kinema.codec.encoder import Encoder

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
TOY = runpy.run_path(str(FOLDER / "toy_video.py"))
SIZE = (48, 32)


@pytest.fixture
def toy():
    torch.set_num_threads(1)
    return TOY["load_toy"]()


@pytest.fixture
def calls(toy):
    return toy.frozen.network.calls


@pytest.fixture
def coded(toy):
    """Ten pictures, an intra frame every fourth."""
    return Encoder(toy, intra_period=4).encode_batch(KIT["draw"](10, SIZE), crf=20)
