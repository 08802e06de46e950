"""Random access from end to end: coding order inside, display order outside."""

import runpy
from pathlib import Path

import pytest
import torch

from kinema.codec.decoder import Decoder
from kinema.codec.decoding import decode_file, verify_file
from kinema.codec.description import describe
from kinema.codec.encoder import Encoder
from kinema.codec.encoding import EncodeSettings
from kinema.codec.one_pass import Pace
from kinema.codec.order import plan_all
from kinema.codec.rate_control import encode_to_target
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.codec.target import Target
from kinema.errors import ConfigError, ShapeError
from kinema.models.frames import Reference
from kinema.video.frame import Frame

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


def moving(count):
    """Pictures that all differ, and have a place in display order that can be seen."""
    return draw(count, SIZE)


def coded_by(toy, frames, crf=20, **settings):
    encoder = Encoder(toy, structure="random-access", **settings)
    return encoder.encode_batch(frames, crf=crf) + encoder.finish()


def test_a_decoder_shows_what_the_encoder_saw(toy):
    coded = coded_by(toy, moving(40), intra_period=8)
    decoder = Decoder(toy, *SIZE, structure="random-access")
    frames = [decoder.decode(packet) for packet in coded]
    assert same_planes(frames, [packet.frame for packet in coded])
    assert sorted(indices(coded)) == list(range(40))


def test_frames_may_come_one_by_one(toy):
    frames = moving(21)
    encoder = Encoder(toy, structure="random-access", intra_period=8)
    packets = [encoder.encode_batch([frame], crf=20) for frame in frames]
    assert [len(some) for some in packets] == [1, *[0] * 7, 8, *[0] * 7, 8, 0, 0, 0, 0]
    packets.append(encoder.finish())
    assert encoder.finish() == []
    expected = coded_by(toy, frames, intra_period=8)
    singles = [packet for some in packets for packet in some]
    assert [p.header for p in singles] == [p.header for p in expected]
    assert [p.payload for p in singles] == [p.payload for p in expected]
    with pytest.raises(ConfigError, match="random-access: frames wait for others"):
        encoder.encode(frames[0], crf=20)


def test_a_failure_leaves_the_encoder_as_it_was(toy, monkeypatch):
    frames, network = moving(9), toy.frozen.network
    expected = coded_by(toy, frames, intra_period=8)
    encoder = Encoder(toy, structure="random-access", intra_period=8)
    encoder.encode_batch(frames[:5], crf=20)
    with monkeypatch.context() as patch:
        patch.setattr(network, "rate_references", lambda *_: (16,), raising=False)
        with pytest.raises(ConfigError, match="levels"):
            encoder.encode_batch(frames[5:], crf=20)
    again = encoder.encode_batch(frames[5:], crf=20)
    assert [p.payload for p in again] == [p.payload for p in expected[1:]]
    with pytest.raises(ShapeError):
        encoder.encode_batch(draw(1, (16, 16)), crf=20)


def test_frames_that_others_refer_to_are_finer(toy):
    coded = coded_by(toy, moving(66), crf=30, intra_period=32)
    quality = {p.header.display_index: p.header.quality / 256 for p in coded}
    assert [quality[i] for i in (0, 32, 16, 48, 8, 4, 6, 7, 63)] == [
        22,
        22,
        22,
        22,
        24,
        26,
        28,
        30,
        30,
    ]
    assert quality[65] == 30  # at the end: one frame after an I frame
    assert {p.crf for p in coded} == {30}


@pytest.mark.parametrize("with_levels", [False, True])
def test_levels_travel_in_the_frame_header(with_levels):
    toy = TOY["load_access"](with_levels=with_levels)
    coded = coded_by(toy, moving(20), intra_period=16)
    flags = {p.header.display_index: p.header.flags for p in coded}
    told = {0: 0, 16: 0, 8: 7 + 16 * 7, 4: 11 + 16 * 11, 1: 14 + 16 * 14, 19: 12}
    assert {i: flags[i] for i in told} == (told if with_levels else dict.fromkeys(told, 0))
    decoder = Decoder(toy, *SIZE, structure="random-access")
    assert same_planes([decoder.decode(p) for p in coded], [p.frame for p in coded])


def test_level_0_is_coding_without_a_reference():
    toy = TOY["load_access"](with_levels=True)
    (_, far, *_), intra = (
        coded_by(toy, moving(17)[::16] if alone else moving(17), intra_period=period)
        for alone, period in ((False, -1), (True, 1))
    )
    assert far.header.display_index == 16
    assert far.header.flags == 0
    assert far.header.references == (-16,)
    assert far.payload == intra[1].payload


def test_references_have_full_level_unless_told_otherwise():
    assert Reference(None, -1).level == 15


@pytest.mark.parametrize("intra_period", [6, 32, -1])
def test_every_frame_can_be_the_first_one(make, toy, intra_period):
    path = make(50, intra_period=intra_period)
    whole, calls = frames_of(path, toy), toy.frozen.network.calls
    for start in (0, 1, 5, 6, 7, 31, 32, 33, 40, 49):
        assert same_planes(frames_of(path, toy, start_s=start / 25), whole[start:])
        calls.clear()
        found = frames_of(path, toy, start_s=start / 25, num_frames=2)
        assert same_planes(found, whole[start:][:2])
        assert len(calls) <= 10
    with KinReader(path, model=toy) as reader:
        for start in (49, 12, 0):
            assert same_planes(list(reader.seek((start + 0.5) / 25)), whole[start:])
            assert same_planes(list(reader.seek_frame(start)), whole[start:])


def test_only_frames_that_are_needed_are_decoded(make, toy):
    path = make(97)
    calls = toy.frozen.network.calls
    for start, count, expected in ((32, 1, 1), (48, 1, 3), (41, 1, 7), (33, 1, 7), (64, 33, 33)):
        calls.clear()
        frames_of(path, toy, start_s=start / 25, num_frames=count)
        assert len(calls) == expected, start


def test_a_scene_cut_ends_a_group(tmp_path, toy):
    frames = moving(30)
    for frame in frames[11:]:
        for plane in frame.planes:
            plane[:] = 255 - plane
    clip = write_clip(tmp_path / "cut.mkv", frames)
    path = encoded(tmp_path / "a.kin", clip, model=toy, structure="random-access", intra_period=16)
    packets = KIT["packets_of"](path)
    kinds = {p.header.display_index: p.header.frame_type.name for p in packets}
    assert [i for i, kind in kinds.items() if kind == "I"] == [0, 11, 27]
    assert [i for i, kind in kinds.items() if kind == "P"] == [10, 29]
    for packet in packets:
        index = packet.header.display_index
        assert all((index < 11) == (index + d < 11) for d in packet.header.references)
    assert same_planes(frames_of(path, toy, start_s=11 / 25), frames_of(path, toy)[11:])


def test_audio_lies_between_the_frames_of_its_time(tmp_path, toy):
    source = KIT["make_file"](tmp_path / "heard.mkv", count=60, audio="aac", size=(32, 16))
    orders = []
    for name in ("low-delay", "random-access"):
        path = encoded(tmp_path / f"{name}.kin", source, model=toy, structure=name, crf=40)
        for settings in ({}, {"start_s": 0.68, "num_frames": 12}):
            with KinReader(path, model=toy, settings=DecodeSettings(**settings)) as reader:
                orders.append(list(reader.items()))
    for delayed, wanted in zip(orders[2:], orders[:2], strict=True):
        for is_frame in (True, False):
            times = [
                [item.pts for item in part if isinstance(item, Frame) == is_frame]
                for part in (delayed, wanted)
            ]
            assert times[0] == times[1]
        places = [
            {(i.pts, i.track): place for place, i in enumerate(part) if not isinstance(i, Frame)}
            for part in (delayed, wanted)
        ]
        assert all(abs(places[0][key] - place) <= 1 for key, place in places[1].items())


def test_decoded_files_hold_everything(tmp_path, make, toy):
    path, target = make(40), tmp_path / "out.mkv"
    report = decode_file(path, str(target), DecodeSettings(), model=toy)
    assert (report.num_frames, report.lost) == (40, [])
    assert same_planes(KIT["read"](target)[1], frames_of(path, toy))


def test_other_commands_refuse_in_one_line(tmp_path, make, toy):
    plain = TOY["load_toy"]()
    with pytest.raises(ConfigError, match="'random-access': the model can do low-delay, all-intra"):
        make(5, model=plain)
    with pytest.raises(ConfigError, match="one pass knows no random-access"):
        make(5, "b.kin", pace=Pace(rate_bps=1e5))


def test_a_size_can_be_searched_for(tmp_path, make, toy):
    make(40)
    settings = EncodeSettings(model=toy, structure="random-access", intra_period=16)
    wanted = 1800
    report = encode_to_target(
        str(tmp_path / "40.mkv"),
        tmp_path / "b.kin",
        settings,
        Target(size_bytes=wanted),
        note=lambda _: None,
    )
    assert report.size_bytes == pytest.approx(wanted, rel=0.05)
