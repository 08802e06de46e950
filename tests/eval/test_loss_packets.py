"""Packets taken out of real files: what is left decodes, and recovers at the next intra frame."""

import io
import runpy
from pathlib import Path

import pytest
import torch

from kinema.codec.encoder import Encoder
from kinema.codec.reader import KinReader
from kinema.errors import BitstreamError, VideoError
from kinema.eval.loss_packets import drop_from_container, drop_from_kin
from kinema.eval.loss_results import MISSING, RIGHT, WRONG
from kinema.eval.loss_runs import conceal
from kinema.models.registry import MODELS, load_model

CODEC_TESTS = Path(__file__).parents[1] / "codec"
KIT = runpy.run_path(str(CODEC_TESTS / "kit.py"))
TOY = runpy.run_path(str(CODEC_TESTS / "toy_video.py"))
same_planes = KIT["same_planes"]
LOW_DELAY = [name for name, entry in MODELS.items() if "low-delay" in entry.structures]


def received(path, model):
    """Frames by their place in the clip."""
    with KinReader(io.BytesIO(path.read_bytes()), model=model) as reader:
        unit = reader.format.time_base * reader.format.frame_rate
        return {int(frame.pts * unit): frame for frame in reader}


def dropped(coded, lost):
    target = coded.with_name("damaged.kin")
    drop_from_kin(coded, target, lost)
    return target


@pytest.fixture
def make(tmp_path):
    """Write a clip, code it; give the frames and the file."""
    torch.set_num_threads(1)

    def call(model, count, size, **settings):
        frames = KIT["draw"](count, size)
        clip = KIT["write_clip"](tmp_path / "clip.mkv", frames)
        return frames, KIT["encoded"](tmp_path / "a.kin", clip, model=model, **settings)

    return call


@pytest.mark.parametrize("refresh", [4, 8])
def test_a_lost_packet_costs_the_frames_up_to_the_next_refresh(make, refresh):
    toy = TOY["load_toy"]()
    source, coded = make(toy, 17, (48, 32), crf=20, intra_period=-1, refresh=refresh)
    sound = received(coded, toy)
    assert sorted(sound) == list(range(17))
    costs = []
    for lost in range(1, 9):  # whole cycles
        again = (lost // refresh + 1) * refresh
        journey_frames = received(dropped(coded, {lost}), toy)
        alive = [k for k in range(17) if not lost <= k < again]
        assert sorted(journey_frames) == alive
        assert same_planes([journey_frames[k] for k in alive], [sound[k] for k in alive])
        journey = conceal(source, [sound[k] for k in range(17)], journey_frames, (lost,))
        assert journey.states == "".join(RIGHT if k in alive else MISSING for k in range(17))
        assert journey.psnr == journey.psnr_frozen
        costs.append(journey.states.count(MISSING))
    assert sum(costs) / len(costs) == (refresh + 1) / 2


@pytest.mark.parametrize("name", LOW_DELAY)
def test_every_low_delay_model_recovers_the_exact_pictures(make, name):
    model = load_model(name)
    _, coded = make(model, 6, (32, 32), crf=36, structure="low-delay", intra_period=-1, refresh=3)
    sound, rest = received(coded, model), received(dropped(coded, {1}), model)
    assert sorted(rest) == [0, 3, 4, 5]
    assert same_planes([rest[k] for k in (0, 3, 4, 5)], [sound[k] for k in (0, 3, 4, 5)])


def test_nothing_lost_changes_nothing(make):
    toy = TOY["load_toy"]()
    _, coded = make(toy, 3, (48, 32), crf=20)
    assert dropped(coded, ()).read_bytes() == coded.read_bytes()


def test_a_damaged_file_is_no_start(make):
    toy = TOY["load_toy"]()
    _, coded = make(toy, 3, (48, 32), crf=20)
    coded.write_bytes(coded.read_bytes()[:-30])
    with pytest.raises(BitstreamError):
        dropped(coded, {1})


def test_what_ffmpeg_cannot_read_is_named(tmp_path):
    other = tmp_path / "a.nut"
    other.write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"cannot copy .*a\.nut"):
        drop_from_container(other, tmp_path / "b.nut", {1})


def test_the_last_good_picture_stands_in_for_missing_ones():
    source = KIT["draw"](5, (16, 16), 3)
    wrong = KIT["draw"](1, (16, 16))[0]
    wrong = type(wrong)(255 - wrong.y, wrong.u, wrong.v, 2, 1)
    journey = conceal(source, source, {0: source[0], 2: wrong, 4: source[4]}, (1, 3))
    assert journey.states == RIGHT + MISSING + WRONG + MISSING + RIGHT
    assert journey.psnr[0] == journey.psnr[4] == 100
    assert journey.psnr[2] < journey.psnr_frozen[2] < 100
    assert journey.psnr[1] == journey.psnr_frozen[1]
    assert journey.psnr[3] < journey.psnr_frozen[3]


def test_pictures_of_both_sides_are_compared_sample_by_sample():
    toy = TOY["load_toy"]()
    frames = KIT["draw"](2, (48, 32))
    coded = Encoder(toy).encode_batch(frames, crf=20)
    sound = [packet.frame for packet in coded]
    other = sound[1].v.copy()
    other[3, 5] ^= 1
    nearly = type(sound[1])(sound[1].y, sound[1].u, other, 1, 1)
    assert conceal(frames, sound, {0: sound[0], 1: nearly}, ()).states == RIGHT + WRONG
