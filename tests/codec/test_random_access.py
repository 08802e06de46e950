"""Random access from end to end: coding order inside, display order outside."""

import runpy
from pathlib import Path

import pytest
import torch

from kinema.codec.decoding import verify_file
from kinema.codec.description import describe
from kinema.codec.encoder import Encoder
from kinema.codec.order import plan_all
from kinema.codec.reader import DecodeSettings, KinReader

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
TOY = runpy.run_path(str(FOLDER / "toy_video.py"))
draw, write_clip = KIT["draw"], KIT["write_clip"]
encoded, same_planes = KIT["encoded"], KIT["same_planes"]
SIZE = (32, 16)


@pytest.fixture
def toy():
    torch.set_num_threads(1)
    return TOY["load_access"]()


@pytest.fixture
def make(tmp_path, toy):
    """Encode frames to a file."""

    def call(count, name="a.kin", **settings):
        clip = tmp_path / f"{count}.mkv"
        if not clip.exists():
            write_clip(clip, draw(count, SIZE))
        settings = {"model": toy, "structure": "random-access", "crf": 20, **settings}
        return encoded(tmp_path / name, clip, **settings)

    return call


def frames_of(path, toy, **settings):
    with KinReader(path, model=toy, settings=DecodeSettings(**settings)) as reader:
        frames = list(reader)
        assert reader.lost == []
    return frames


def indices(packets):
    return [packet.header.display_index for packet in packets]


@pytest.mark.parametrize("count", [1, 2, 5, 33, 97])
@pytest.mark.parametrize("intra_period", [1, 6, 32, -1])
def test_files_decode_to_what_the_encoder_saw(make, toy, count, intra_period):
    path = make(count, intra_period=intra_period)
    packets = KIT["packets_of"](path)
    plan = plan_all(Encoder(toy, structure="random-access", intra_period=intra_period).plan, count)
    assert indices(packets) == [each.display_index for each in plan]
    frames = frames_of(path, toy)
    assert [frame.pts for frame in frames] == sorted(packet.header.pts for packet in packets)
    assert len(frames) == count
    facts = describe(path)
    assert (facts["structure"], facts["frames"]) == ("random-access", count)
    assert verify_file(path, model=toy).num_frames == count
