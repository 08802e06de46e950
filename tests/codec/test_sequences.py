"""Files with P frames: there and back, from any place on, and with damage."""

import io
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from kinema.bitstream.container import ContainerReader
from kinema.bitstream.headers import CodingStructure
from kinema.codec.decoding import decode_file, verify_file
from kinema.codec.description import describe
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.errors import BitstreamError, ConfigError
from kinema.video.frame import Frame

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
TOY = runpy.run_path(str(FOLDER / "toy_video.py"))
draw, write_clip = KIT["draw"], KIT["write_clip"]
encoded, same_planes = KIT["encoded"], KIT["same_planes"]
SIZE = (48, 32)


@pytest.fixture
def make(tmp_path, toy):
    """Encode ten frames to a file."""

    def call(name="a.kin", count=10, **settings):
        clip = tmp_path / "clip.mkv"
        if not clip.exists():
            write_clip(clip, draw(count, SIZE))
        return encoded(tmp_path / name, clip, model=toy, crf=20, **settings)

    return call


def open_kin(path, toy, **settings):
    return KinReader(path, model=toy, settings=DecodeSettings(**settings))


def frames_of(path, toy, **settings):
    with open_kin(path, toy, **settings) as reader:
        frames = list(reader)
        assert reader.lost == []
    return frames


def types(packets):
    return "".join(packet.header.frame_type.name for packet in packets)


def test_a_file_tells_its_structure(make, toy):
    path = make(intra_period=4, refresh=3)
    with ContainerReader(path) as reader:
        assert reader.header.structure is CodingStructure.LOW_DELAY
        assert reader.header.intra_period == 4
        assert [entry.is_intra for entry in reader.index] == [c == "I" for c in "IPPIIPPIIP"]
    assert types(KIT["packets_of"](path)) == "IPPIIPPIIP"
    facts = describe(path)
    assert (facts["structure"], facts["intra_period"]) == ("low-delay", 4)
    assert (facts["frames"], facts["intra_frames"]) == (10, 5)
    assert describe(make("b.kin", intra_period=-1))["intra_period"] == -1
    facts = describe(make("c.kin", structure="all-intra"))
    assert (facts["structure"], facts["intra_period"], facts["intra_frames"]) == (
        "all-intra",
        1,
        10,
    )


def test_files_hold_what_live_coding_gives(make, coded):
    packets = KIT["packets_of"](make(intra_period=4))
    assert [p.payload for p in packets] == [p.payload for p in coded]
    assert [p.header.picture_hash for p in packets] == [p.header.picture_hash for p in coded]


def test_files_decode_to_what_the_encoder_saw(tmp_path, make, toy, coded):
    path = make(intra_period=4)
    assert same_planes(frames_of(path, toy), [p.frame for p in coded])
    assert verify_file(path, model=toy).num_frames == 10
    decode_file(path, str(tmp_path / "out.mkv"), DecodeSettings(), model=toy)
    assert same_planes(KIT["read"](tmp_path / "out.mkv")[1], [p.frame for p in coded])


def test_the_settings_choose_the_models_first_structure(make, toy):
    assert types(KIT["packets_of"](make())) == "IPPPPPPPPP"
    with pytest.raises(ConfigError, match="can do low-delay, all-intra"):
        make("b.kin", structure="random-access")
    with pytest.raises(ConfigError, match="in all-intra every frame is intra"):
        make("b.kin", structure="all-intra", refresh=2)


def test_all_intra_files_decode_several_pictures_at_once(make, toy, calls):
    path = make(structure="all-intra")
    calls.clear()
    frames_of(path, toy)
    assert calls == [(10, ())]


@pytest.mark.parametrize(
    "settings",
    [
        {"intra_period": 4},
        {"intra_period": -1},
        {"intra_period": 7, "refresh": 3},
        {"intra_period": 1},
        {"structure": "all-intra"},
    ],
)
def test_every_frame_can_be_the_first_one(make, toy, calls, settings):
    path = make(**settings)
    whole = frames_of(path, toy)
    intra = [p.header.display_index for p in KIT["packets_of"](path) if not p.header.references]
    for start in range(10):
        calls.clear()
        assert same_planes(frames_of(path, toy, start_s=start / 25), whole[start:])
        before = max(index for index in intra if index <= start)
        assert sum(count for count, _ in calls) == 10 - before
        calls.clear()
        assert same_planes(
            frames_of(path, toy, start_s=start / 25, num_frames=2), whole[start:][:2]
        )
        assert sum(count for count, _ in calls) == min(start + 2, 10) - before
    with open_kin(path, toy) as reader:
        for start in (9, 2, 5, 0):
            assert same_planes(list(reader.seek((start + 0.5) / 25)), whole[start:])


def test_a_decoded_excerpt_begins_at_zero_with_its_own_frames(tmp_path, make, toy):
    path, target = make(intra_period=-1), tmp_path / "part.mkv"
    settings = DecodeSettings(start_s=0.24, num_frames=3)
    report = decode_file(path, str(target), settings, model=toy)
    assert (report.num_frames, report.lost) == (3, [])
    frames = KIT["read"](target)[1]
    assert same_planes(frames, frames_of(path, toy)[6:9])
    assert [frame.pts for frame in frames] == [0, 40, 80]


def test_audio_comes_as_before(tmp_path, toy):
    source = KIT["make_file"](tmp_path / "heard.mkv", count=50, audio="aac", size=(32, 32))
    settings = {"start_s": 0.68, "num_frames": 12}
    parts = []
    for name in ("all-intra", "low-delay"):
        path = encoded(tmp_path / f"{name}.kin", source, model=toy, structure=name, crf=40)
        with open_kin(path, toy, **settings) as reader:
            items = list(reader.items())
            assert reader.count(reader.span) == 12
        parts.append([item if not isinstance(item, Frame) else item.pts for item in items])
    assert parts[0] == parts[1]


def test_a_pass_begins_afresh(make, toy):
    """What an earlier pass decoded last is no reference for the next pass."""
    path = make(intra_period=-1)
    KIT["flipped"](path, 0)
    with open_kin(path, toy) as reader:
        assert list(reader) == []
        assert reader.lost[1] == "frames 1 to 9 lost: they refer to frame 0, which is lost"
    path = make("b.kin", intra_period=-1)
    file, inside_first = io.BytesIO(path.read_bytes()), KIT["packets_of"](path)[0].offset + 20
    with KinReader(file, model=toy) as reader:
        first_pass = iter(reader)
        for _ in range(5):
            next(first_pass)
        first_pass.close()
        file.getbuffer()[inside_first] ^= 1
        assert list(reader) == []
        assert reader.lost[1] == "frames 1 to 9 lost: they refer to frame 0, which is lost"


def test_a_damaged_frame_costs_a_chain_and_is_told_in_two_lines(make, toy, calls, coded):
    path = make(intra_period=4)
    KIT["flipped"](path, 5)
    calls.clear()
    with open_kin(path, toy) as reader:
        frames = list(reader)
        assert len(calls) == 7  # nothing twice, and nothing in vain
        list(reader)
        lines = reader.lost
    assert same_planes(frames, [p.frame for p in coded[:5] + coded[8:]])
    assert lines[0].startswith("frame 5 lost: packet at byte")
    assert lines[1:] == ["frames 6 to 7 lost: they refer to frame 5, which is lost"]
    assert verify_file(path, model=toy).lost == lines


def test_damage_costs_nothing_where_decoding_starts_later(make, toy):
    path = make(intra_period=4)
    whole = frames_of(path, toy)
    KIT["flipped"](path, 2)
    assert same_planes(frames_of(path, toy, start_s=0.16), whole[4:])
    with open_kin(path, toy, start_s=0.12, num_frames=3) as reader:
        assert same_planes(list(reader), whole[4:6])
        assert reader.lost[1] == "frame 3 lost: it refers to frame 2, which is lost"


def test_what_lies_beyond_a_range_is_not_told_as_lost(make, toy, coded):
    path = make(intra_period=4)
    KIT["flipped"](path, 5)
    with open_kin(path, toy, start_s=0.16, num_frames=2) as reader:
        assert same_planes(list(reader), [coded[4].frame])
        assert [line.partition(":")[0] for line in reader.lost] == ["frame 5 lost"]


def test_a_picture_that_is_not_the_encoders_is_no_reference(tmp_path, make, toy, coded):
    def change(packet):
        if packet.header.display_index != 6:
            return packet
        return replace(packet, header=replace(packet.header, picture_hash=7))

    path = KIT["rewritten"](make(intra_period=4), tmp_path / "b.kin", change)
    with open_kin(path, toy) as reader:
        assert same_planes(list(reader), [p.frame for p in coded[:6] + coded[8:]])
        assert "differs from the encoder's" in reader.lost[0]
        assert reader.lost[1] == "frame 7 lost: it refers to frame 6, which is lost"


def test_structures_that_the_model_cannot_do_are_refused(tmp_path, make, toy):
    path = make()
    with pytest.raises(BitstreamError, match="low-delay; model toy can do all-intra"):
        KinReader(path, model=replace(toy, structures=("all-intra",)))
    other = KIT["rewritten"](path, tmp_path / "b.kin", structure=CodingStructure.RANDOM_ACCESS)
    with pytest.raises(BitstreamError, match="structure random-access"):
        KinReader(other, model=toy)
