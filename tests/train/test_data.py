"""Crops: inside one clip, chroma in step with luma, the same from the same chance."""

import numpy as np
import pytest
import torch

from kinema.errors import ConfigError
from kinema.train.data import CropSampler
from kinema.train.sources import Clip

SIZES = [(9, 96, 64), (4, 64, 80), (1, 160, 128)]  # frames, width, height


@pytest.fixture
def sampler(tmp_path):
    """Clips whose chroma repeats luma at half size; V holds the clip and the frame."""
    clips, start = [], 0
    with (tmp_path / "bank").open("wb") as file:
        for number, (num_frames, width, height) in enumerate(SIZES):
            clips.append(Clip(start, num_frames, width, height))
            down, right = np.indices((height // 2, width // 2))
            small = ((down * 37 + right * 11) % 251).astype(np.uint8)
            for index in range(num_frames):
                file.write(small.repeat(2, 0).repeat(2, 1).tobytes())
                file.write(small.tobytes())
                file.write(np.full_like(small, number * 16 + index).tobytes())
            start += num_frames * clips[-1].frame_bytes
    return CropSampler(tmp_path / "bank", clips, torch.device("cpu"))


def test_batch_has_the_promised_shapes(sampler):
    batch = sampler.draw(np.random.default_rng(0), 3, 48, num_frames=4)
    assert batch.y.shape == (3, 4, 48, 48)
    assert batch.u.shape == batch.v.shape == (3, 4, 24, 24)
    assert batch.y.dtype is batch.u.dtype is batch.v.dtype is torch.uint8


def test_chroma_belongs_to_luma(sampler):
    batch = sampler.draw(np.random.default_rng(0), 64, 48, num_frames=2)
    assert torch.equal(batch.y[..., ::2, ::2], batch.u)
    assert torch.equal(batch.y[..., 1::2, 1::2], batch.u)
    assert len({crop.numpy().tobytes() for crop in batch.u[:, 0]}) > 32


def test_crops_stay_inside_one_clip_with_equal_steps_in_time(sampler):
    batch = sampler.draw(np.random.default_rng(0), 200, 64, num_frames=3)
    assert (batch.v == batch.v[..., :1, :1]).all()
    clips, frames = (batch.v[..., 0, 0] // 16).int(), (batch.v[..., 0, 0] % 16).int()
    assert (clips == clips[:, :1]).all()
    assert set(clips[:, 0].tolist()) == {0, 1}  # the third has one frame only
    steps = frames.diff(dim=1)
    assert (steps == steps[:, :1]).all()
    assert set(steps[:, 0].tolist()) == {-3, -2, -1, 1, 2, 3}
    assert frames.max() == 8
    assert frames[clips == 1].max() == 3


def test_same_chance_gives_the_same_crops(sampler):
    first, second, other = (
        sampler.draw(np.random.default_rng(seed), 8, 32, num_frames=2) for seed in (3, 3, 4)
    )
    assert torch.equal(first.y, second.y)
    assert torch.equal(first.v, second.v)
    assert not torch.equal(first.y, other.y)


def test_long_and_large_clips_are_drawn_more_often(sampler):
    batch = sampler.draw(np.random.default_rng(0), 600, 16)
    clips = (batch.v[:, 0, 0, 0] // 16).tolist()
    weights = [frames * width * height for frames, width, height in SIZES]
    for number, weight in enumerate(weights):
        assert clips.count(number) / 600 == pytest.approx(weight / sum(weights), abs=0.06)


def test_whole_pictures_can_be_drawn(sampler):
    batch = sampler.draw(np.random.default_rng(0), 4, 128)
    assert set(batch.v.flatten().tolist()) == {32}


@pytest.mark.parametrize(("size", "num_frames"), [(144, 1), (64, 10), (128, 2)])
def test_demands_that_no_clip_meets_are_refused(size, num_frames, sampler):
    with pytest.raises(ConfigError, match=f"{num_frames} frames of {size}x{size}"):
        sampler.draw(np.random.default_rng(0), 1, size, num_frames)
