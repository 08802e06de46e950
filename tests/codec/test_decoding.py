"""Whole files there and back: pictures, times, sound, colour; damage and what is refused."""

import io
import runpy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from kinema.bitstream.container import ContainerReader
from kinema.bitstream.headers import CodingStructure, FrameType
from kinema.codec import decoder as decoder_module
from kinema.codec.decoder import Decoder
from kinema.codec.decoding import decode_file, verify_file
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.errors import (
    BitstreamError,
    ConfigError,
    FileError,
    LimitError,
    NumericProfileError,
    VideoError,
    WeightsMismatchError,
)
from kinema.video.frame import AudioPacket, ColorDescription, Frame
from kinema.video.reading import open_video

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]
draw, write_clip, encoded = KIT["draw"], KIT["write_clip"], KIT["encoded"]
read, same_planes, times, make_file = (
    KIT["read"],
    KIT["same_planes"],
    KIT["times"],
    KIT["make_file"],
)


def decoded(source, target, note=lambda _: None, **settings):
    return decode_file(source, str(target), DecodeSettings(**settings), note=note)


def frames_of(path, **settings):
    with KinReader(path, settings=DecodeSettings(**settings)) as reader:
        frames = list(reader)
        assert reader.lost == []
    return frames


@pytest.fixture
def kin(tmp_path):
    """Ten frames, coded."""
    clip = write_clip(tmp_path / "clip.mkv", draw(10))
    return encoded(tmp_path / "clip.kin", clip, crf=20)


@pytest.fixture
def heard(tmp_path):
    """Fifty frames with sound, coded; the source beside it."""
    source = make_file(tmp_path / "heard.mkv", count=50, audio="aac", size=(32, 32))
    return source, encoded(tmp_path / "heard.kin", source, crf=40)


@pytest.mark.parametrize("suffix", ["mkv", "y4m", "yuv"])
@pytest.mark.parametrize("size", [(48, 32), (37, 21)])
def test_lossless_targets_hold_what_the_encoder_saw(tmp_path, tiny_model, suffix, size):
    clip = write_clip(tmp_path / "clip.y4m", draw(5, size))
    kin = encoded(tmp_path / "clip.kin", clip)
    target = tmp_path / f"decoded_{size[0]}x{size[1]}_25.{suffix}"
    assert decoded(kin, target).num_frames == 5
    _, frames, _ = read(target)
    packets = KIT["packets_of"](kin)
    assert same_planes(frames, Decoder(tiny_model, *size).decode_batch(packets))
    assert times(frames_of(kin)) == times(draw(5, size))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.y4m", "clip_37x21.yuv", "%03d.png"])
def test_every_kind_of_source_is_encoded(tmp_path, name):
    size = (38, 22) if name == "clip.mp4" else (37, 21)
    clip = write_clip(tmp_path / name, draw(3, size))
    report = encode_file(str(clip), tmp_path / "a.kin", EncodeSettings(crf=10), note=lambda _: None)
    assert (report.num_frames, report.width, report.height) == (3, *size)
    assert report.size_bytes == (tmp_path / "a.kin").stat().st_size
    assert report.psnr_yuv_611 > 15
    assert verify_file(tmp_path / "a.kin").num_frames == 3


def test_png_files_come_out_numbered(tmp_path, kin):
    decoded(kin, tmp_path / "p-%03d.png")
    assert len(list(tmp_path.glob("p-*.png"))) == 10
    assert not list(tmp_path.glob(".*"))


def test_one_frame_is_a_video(tmp_path):
    kin = encoded(tmp_path / "a.kin", write_clip(tmp_path / "a.mkv", draw(1)))
    assert decoded(kin, tmp_path / "b.mkv").num_frames == 1


def test_mp4_is_close_and_complete(tmp_path, kin):
    decoded(kin, tmp_path / "a.mp4")
    _, frames, _ = read(tmp_path / "a.mp4")
    assert len(frames) == 10


def test_audio_packets_come_out_as_they_went_in(tmp_path, heard):
    source, kin = heard
    for suffix in ("mkv", "mp4"):
        decoded(kin, tmp_path / f"out.{suffix}")
        before, _, packets = read(source)
        after, _, others = read(tmp_path / f"out.{suffix}")
        assert [p.data for p in packets] == [p.data for p in others]
        ends = [float(r.audio_tracks[0].time_base) for r in (before, after)]
        assert packets[-1].pts * ends[0] == pytest.approx(others[-1].pts * ends[1], abs=0.002)


def test_audio_can_be_left_out(tmp_path, heard):
    kin = encoded(tmp_path / "mute.kin", heard[0], with_audio=False)
    with KinReader(kin) as reader:
        assert reader.audio_tracks == ()
        assert all(isinstance(item, Frame) for item in reader.items())


def test_variable_times_stay_exact(tmp_path):
    pts = (0, 3, 4, 10, 11, 40)
    source = make_file(tmp_path / "v.mkv", count=6, pts=pts, time_base=Fraction(1, 1000))
    kin = encoded(tmp_path / "v.kin", source)
    _, frames, _ = read(source)
    assert [frame.pts for frame in frames] == list(pts)
    assert times(frames_of(kin)) == times(frames)
    decoded(kin, tmp_path / "out.mkv")
    assert [frame.pts for frame in read(tmp_path / "out.mkv")[1]] == list(pts)


def test_rotation_aspect_and_colour_are_kept(tmp_path):
    color = ColorDescription(matrix=1, primaries=1, transfer=1, full_range=True, chroma_location=1)
    shown = {"rotation": 90, "sample_aspect_ratio": Fraction(4, 3), "color": color}
    source = write_clip(tmp_path / "a.mp4", draw(3), **shown)
    kin = encoded(tmp_path / "a.kin", source)
    decoded(kin, tmp_path / "b.mp4")
    for path in (source, tmp_path / "b.mp4"):
        reader, _, _ = read(path)
        assert {name: getattr(reader.format, name) for name in shown} == shown


def test_an_encoded_excerpt_begins_at_zero(tmp_path, heard):
    source, _ = heard
    kin = encoded(tmp_path / "part.kin", source, start_s=0.4, num_frames=10)
    with KinReader(kin) as reader:
        items = list(reader.items())
    frames = [item for item in items if isinstance(item, Frame)]
    audio = [item for item in items if isinstance(item, AudioPacket)]
    assert len(frames) == 10
    assert frames[0].pts == 0
    time_base = reader.audio_tracks[0].time_base
    assert audio[0].pts * time_base <= 0 < (audio[0].pts + audio[0].duration) * time_base
    assert 0.35 < float(audio[-1].pts * time_base) < 0.4


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_decoded_excerpt_is_that_of_the_source(tmp_path, heard, suffix):
    source, kin = heard
    part = encoded(tmp_path / "part.kin", source, start_s=0.39, num_frames=12, crf=40)
    report = decoded(kin, tmp_path / f"a.{suffix}", start_s=0.39, num_frames=12)
    assert report.num_frames == 12
    decoded(part, tmp_path / f"b.{suffix}")
    (_, frames, audio), (_, others, other_audio) = (read(tmp_path / f"{n}.{suffix}") for n in "ab")
    assert same_planes(frames, others)
    assert frames[0].pts == others[0].pts == 0
    assert [p.data for p in audio] == [p.data for p in other_audio]
    assert [p.pts for p in audio] == [p.pts for p in other_audio]


def test_ranges_hold_the_frames_they_name(kin):
    whole = frames_of(kin)
    assert [f.pts for f in whole] == [40 * i for i in range(10)]
    assert same_planes(frames_of(kin, num_frames=3), whole[:3])
    assert same_planes(frames_of(kin, start_s=0.2), whole[5:])
    assert same_planes(frames_of(kin, start_s=0.19, num_frames=2), whole[5:7])
    assert same_planes(frames_of(kin, start_s=0.36, num_frames=5), whole[9:])
    assert frames_of(kin, start_s=0.4) == []
    with KinReader(kin) as reader:
        for time_s, index in ((0, 0), (0.039, 0), (0.04, 1), (0.27, 6), (99, 9)):
            assert same_planes(list(reader.seek(time_s)), whole[index:])


def test_a_range_beyond_the_end_is_refused(tmp_path, kin):
    with pytest.raises(BitstreamError, match="the file has 10 frames"):
        decoded(kin, tmp_path / "a.mkv", start_s=5)
    with pytest.raises(VideoError, match="no picture"):
        encoded(tmp_path / "b.kin", tmp_path / "clip.mkv", start_s=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.kin", "clip.mkv"]


@pytest.mark.parametrize("bad", [{"start_s": -1}, {"start_s": float("nan")}, {"num_frames": 0}])
def test_impossible_ranges_are_refused(tmp_path, kin, bad):
    with pytest.raises(ConfigError):
        KinReader(kin, settings=DecodeSettings(**bad))
    with pytest.raises(ConfigError):
        encoded(tmp_path / "b.kin", tmp_path / "clip.mkv", **bad)


def test_a_reader_can_be_used_again_and_not_after_closing(kin, monkeypatch):
    monkeypatch.setattr(decoder_module, "batch_length", lambda *_: 2)
    with KinReader(kin) as reader:
        first, second = list(reader), list(reader)
        assert same_planes(first, second)
        assert reader.num_frames == 10
        late = iter(reader)
        next(late)
    for use in (lambda: list(reader), lambda: reader.seek(0), lambda: reader.num_frames):
        with pytest.raises(FileError, match="closed"):
            use()
    with pytest.raises(FileError, match="closed"):
        list(late)
    reader.close()


def test_a_binary_file_is_as_good_as_a_path(kin):
    file = io.BytesIO(kin.read_bytes())
    with KinReader(file) as reader:
        assert len(list(reader)) == 10
    assert not file.closed


def test_a_flipped_bit_costs_one_frame_and_names_it(tmp_path, kin):
    whole = frames_of(kin)
    KIT["flipped"](kin, 4)
    with KinReader(kin) as reader:
        rest = list(reader)
        list(reader)
        assert len(reader.lost) == 1
        assert reader.lost[0].startswith("frame 4 lost: packet at byte")
    assert same_planes(rest, whole[:4] + whole[5:])
    assert decoded(kin, tmp_path / "a.mkv").lost == verify_file(kin).lost == reader.lost
    assert len(frames_of(kin, start_s=0.2)) == 5  # the damage lies before


def test_a_lost_frame_is_named_without_an_index_too(kin):
    KIT["flipped"](kin, 4)
    data = kin.read_bytes()
    kin.write_bytes(data[:-10])
    with KinReader(kin) as reader:
        assert len(list(reader)) == 9
        assert reader.lost[0].startswith("frame 4 lost: packet at byte")
        assert reader.lost[1].startswith("unknown frames lost")


def test_a_truncated_file_yields_the_rest(tmp_path, kin):
    whole = frames_of(kin)
    end = KIT["packets_of"](kin)[6].offset
    kin.write_bytes(kin.read_bytes()[: end + 20])
    report = decoded(kin, tmp_path / "a.mkv")
    assert report.num_frames == 6
    assert len(report.lost) == 1
    assert same_planes(read(tmp_path / "a.mkv")[1], whole[:6])


def test_packets_taken_out_or_swapped_are_noticed(tmp_path, kin):
    whole = frames_of(kin)
    packets = KIT["packets_of"](kin)
    data = kin.read_bytes()
    cut = tmp_path / "cut.kin"
    cut.write_bytes(data[: packets[3].offset] + data[packets[5].offset :])
    with KinReader(cut) as reader:
        assert same_planes(list(reader), whole[:3] + whole[5:])
        assert reader.lost[0].startswith("frames 3 to 4 lost")
    a, b, c = (packets[i].offset for i in (3, 4, 5))
    cut.write_bytes(data[:a] + data[b:c] + data[a:b] + data[c:])
    assert decoded(cut, tmp_path / "a.mkv").num_frames == 9


def test_a_file_of_damage_alone_leaves_nothing_behind(tmp_path, kin):
    changed = KIT["rewritten"](
        kin, tmp_path / "bad.kin", lambda p: replace(p, payload=p.payload + b"\1")
    )
    for use in (lambda: decoded(changed, tmp_path / "a.mkv"), lambda: verify_file(changed)):
        with pytest.raises(BitstreamError, match="nothing to decode: frame 0 lost"):
            use()
    assert {p.suffix for p in tmp_path.iterdir()} == {".kin", ".mkv"}
    assert not (tmp_path / "a.mkv").exists()


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"weights_fingerprint": bytes(8)}, WeightsMismatchError, "at hand are"),
        ({"model_number": 7}, WeightsMismatchError, "model 7"),
        ({"numeric_profile": 2}, NumericProfileError, "profile 2"),
        ({"structure": CodingStructure.LOW_DELAY}, BitstreamError, "low-delay"),
        ({"width": 5000, "height": 5000}, LimitError, "samples"),
    ],
)
def test_files_that_need_something_else_are_refused(tmp_path, kin, fields, error, message):
    with pytest.raises(error, match=message):
        KinReader(KIT["rewritten"](kin, tmp_path / "other.kin", **fields))


def test_a_p_frame_among_intra_frames_is_lost_alone(tmp_path, kin):
    def change(packet):
        if packet.header.display_index != 2:
            return packet
        header = replace(packet.header, frame_type=FrameType.P, references=(-1,))
        return replace(packet, header=header)

    with KinReader(KIT["rewritten"](kin, tmp_path / "p.kin", change)) as reader:
        assert len(list(reader)) == 9
        assert "frame 2 lost" in reader.lost[0]
        assert "P frame" in reader.lost[0]


def test_progress_and_notes_are_told(tmp_path, kin):
    seen, notes = [], []
    decode_file(kin, str(tmp_path / "a.y4m"), DecodeSettings(), progress=lambda *a: seen.append(a))
    assert seen[-1] == (10, 10, 0)
    source = write_clip(tmp_path / "turned.mkv", draw(2), rotation=90)
    decoded(encoded(tmp_path / "t.kin", source), tmp_path / "b.y4m", note=notes.append)
    assert notes == [f"{tmp_path / 'b.y4m'}: .y4m cannot hold rotation by 90 degrees"]


def test_sound_and_pictures_stay_as_interleaved_as_they_were(heard):
    def order(items):
        return [isinstance(item, Frame) for item in items]

    source, kin = heard
    with open_video(str(source)) as video, KinReader(kin) as reader:
        assert order(reader.items()) == order(video)


def test_packets_are_small_beside_their_payload(kin):
    with ContainerReader(kin) as reader:
        payload = sum(len(p.payload) for p in KIT["packets_of"](kin))
        assert reader.size_bytes - reader.first_packet_offset - payload < 10 * 17 + 40


def test_what_pyav_reads_is_what_was_decoded(tmp_path, kin):
    decoded(kin, tmp_path / "a.mkv")
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10
