"""Cut and concatenated: the same pictures, sound and times, or a clear word."""

import itertools
import runpy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from kinema.bitstream.container import ContainerReader, ContainerWriter
from kinema.bitstream.headers import CodingStructure
from kinema.bitstream.packets import AudioPacketData
from kinema.codec.cutting import CutSettings, cut_file
from kinema.codec.decoding import decode_file, verify_file
from kinema.codec.joining import concat_files
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.errors import BitstreamError, ConfigError, FileError
from kinema.video.frame import Frame

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
same_planes, encoded, rewritten = KIT["same_planes"], KIT["encoded"], KIT["rewritten"]
SIZE = (48, 32)


@pytest.fixture
def notes():
    return []


@pytest.fixture
def make(tmp_path, toy):
    """Code ten frames, 40 ms each."""

    def call(name="a.kin", count=10, rate=Fraction(25), **settings):
        clip = tmp_path / f"{name}.mkv"
        KIT["write_clip"](clip, KIT["draw"](count, settings.pop("size", SIZE)), frame_rate=rate)
        return encoded(tmp_path / name, clip, **{"model": toy, "crf": 20, **settings})

    return call


@pytest.fixture
def heard(tmp_path, toy):
    """Fifty frames with sound, an intra frame every tenth."""
    source = KIT["make_file"](tmp_path / "heard.mkv", count=50, audio="aac", size=(32, 32))
    return encoded(tmp_path / "heard.kin", source, model=toy, crf=40, intra_period=10)


@pytest.fixture
def cut(tmp_path, notes):
    def call(source, name="cut.kin", **settings):
        report = cut_file(source, tmp_path / name, CutSettings(**settings), note=notes.append)
        assert report.size_bytes == (tmp_path / name).stat().st_size
        return tmp_path / name, report

    return call


@pytest.fixture
def concat(tmp_path, notes):
    def call(*sources, name="joined.kin", **settings):
        report = concat_files(sources, tmp_path / name, note=notes.append, **settings)
        assert report.size_bytes == (tmp_path / name).stat().st_size
        return tmp_path / name, report

    return call


def items_of(path, toy):
    """Frames and audio packets; every picture is compared with its hash on the way."""
    with KinReader(path, model=toy) as reader:
        items = list(reader.items())
        assert reader.lost == []
        assert reader.num_frames == sum(isinstance(item, Frame) for item in items)
    assert verify_file(path, model=toy).lost == []
    return (
        [item for item in items if isinstance(item, Frame)],
        [item for item in items if not isinstance(item, Frame)],
    )


def header_of(path):
    with ContainerReader(path) as reader:
        assert reader.stored_index is not None
        return reader.header


def spans(frames):
    return [(frame.pts, frame.duration) for frame in frames]


@pytest.mark.parametrize("settings", [{"intra_period": 4}, {"structure": "all-intra"}])
def test_a_cut_holds_the_pictures_of_its_source(make, cut, toy, settings):
    path = make(**settings)
    frames, _ = items_of(path, toy)
    part, report = cut(path, start_s=0.16, end_s=0.32, exact=True)
    got, _ = items_of(part, toy)
    assert same_planes(got, frames[4:8])
    assert spans(got) == [(0, 40), (40, 40), (80, 40), (120, 40)]
    assert (report.num_frames, report.begin_s, report.seconds) == (4, 0.16, 0.16)
    packets = KIT["packets_of"](part)
    assert [p.header.display_index for p in packets] == [0, 1, 2, 3]
    assert [p.payload for p in packets] == [p.payload for p in KIT["packets_of"](path)[4:8]]


@pytest.mark.parametrize(
    ("start_s", "end_s", "first", "last"),
    [
        (0, None, 0, 9),
        (0.1, None, 0, 9),
        (0.16, 0.161, 4, 4),  # the frame that is shown at the end stays whole
        (0.16, 0.2, 4, 4),  # ... and one that only begins there stays out
        (0.2, 0.25, 4, 6),
        (0.39, 9, 8, 9),
    ],
)
def test_a_cut_begins_at_the_intra_frame_before(make, cut, toy, notes, start_s, end_s, first, last):
    path = make(intra_period=4)
    part, report = cut(path, start_s=start_s, end_s=end_s)
    frames, _ = items_of(path, toy)
    assert same_planes(items_of(part, toy)[0], frames[first : last + 1])
    assert report.begin_s == pytest.approx(first / 25)
    asked = int(start_s * 25 + 0.02)
    assert len(notes) == (asked > first)
    if notes:
        assert f"begins at {first / 25:.3f} s, {asked - first} frame(s) earlier" in notes[0]


def test_an_exact_cut_names_the_intra_frames_around(make, cut, tmp_path):
    path = make(intra_period=4)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"at 0\.2 s; the nearest: 0\.160 s and 0\.320 s"):
        cut(path, start_s=0.2, exact=True)
    with pytest.raises(ConfigError, match=r"the nearest: 0\.320 s$"):
        cut(path, start_s=0.36, exact=True)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start_s": -1}, "start -1"),
        ({"start_s": float("nan")}, "start nan"),
        ({"start_s": 0.2, "end_s": 0.2}, r"end 0\.2 s, expected later than 0\.2 s"),
        ({"end_s": float("nan")}, "end nan"),
        ({"start_s": 0.4}, r"ends at 0\.400 s, before the start at 0\.4 s"),
    ],
)
def test_cuts_that_cannot_be_are_refused(make, cut, settings, message):
    with pytest.raises(ConfigError, match=message):
        cut(make(), **settings)


def test_parts_put_together_again_are_the_whole(heard, cut, concat, toy, tmp_path):
    """Pictures, sound and times, although both parts hold the sound at the joints."""
    bounds = [0, 0.4, 1.2, None]
    parts = [
        cut(heard, f"{i}.kin", start_s=start, end_s=end, exact=True)[0]
        for i, (start, end) in enumerate(itertools.pairwise(bounds))
    ]
    whole, report = concat(*parts)
    (frames, audio), (others, other_audio) = items_of(heard, toy), items_of(whole, toy)
    assert same_planes(frames, others)
    assert spans(frames) == spans(others)
    assert [packet.data for packet in audio] == [packet.data for packet in other_audio]
    assert [p.pts for p in audio] == pytest.approx([p.pts for p in other_audio], abs=1)
    assert (report.num_frames, report.num_audio_packets) == (50, len(audio))
    assert report.seconds == 2
    decode_file(whole, str(tmp_path / "whole.mkv"), DecodeSettings(), model=toy)
    decode_file(whole, str(tmp_path / "whole.mp4"), DecodeSettings(), model=toy)
    assert [p.data for p in KIT["read"](tmp_path / "whole.mp4")[2]] == [p.data for p in audio]


def test_a_cut_has_the_sound_of_its_pictures(heard, cut, toy):
    part, report = cut(heard, start_s=0.4, end_s=0.8)
    frames, audio = items_of(part, toy)
    track = header_of(part).audio_tracks[0]
    times = [(p.pts * track.time_base, (p.pts + p.duration) * track.time_base) for p in audio]
    assert len(frames) == 10
    assert times[0][0] <= 0 < times[0][1]
    assert times[-1][0] < Fraction(2, 5) <= times[-1][1]
    assert report.num_audio_packets == len(audio)
    with KinReader(heard, model=toy, settings=DecodeSettings(start_s=0.4, num_frames=10)) as reader:
        expected = [item for item in reader.items() if not isinstance(item, Frame)]
    assert [p.data for p in audio] == [p.data for p in expected]


def test_sound_that_comes_before_the_first_picture_is_kept(heard, cut, concat, toy):
    """Encoders put a packet there that fills up their memory."""
    audio = items_of(heard, toy)[1]
    assert audio[0].pts < 0
    for part in (cut(heard, end_s=0.4)[0], concat(heard, heard)[0]):
        assert items_of(part, toy)[1][0] == audio[0]


def test_files_go_on_without_a_gap(make, concat, toy, notes):
    first, second = make(intra_period=4), make("b.kin", count=7, intra_period=3, crf=30)
    joined, report = concat(first, second, first)
    frames, _ = items_of(joined, toy)
    expected = [items_of(path, toy)[0] for path in (first, second, first)]
    assert same_planes(frames, [frame for part in expected for frame in part])
    assert [frame.pts for frame in frames] == [40 * i for i in range(27)]
    assert (report.num_frames, report.seconds, notes) == (27, 27 / 25, [])
    assert header_of(joined).intra_period == 4
    with KinReader(joined, model=toy) as reader:
        for number in (26, 10, 0, 13):
            assert same_planes(list(reader.seek_frame(number)), frames[number:])


def test_a_long_chain_joined_to_itself_starts_anew(make, concat, toy):
    path = make(intra_period=-1)
    joined, _ = concat(path, path)
    assert same_planes(items_of(joined, toy)[0], 2 * items_of(path, toy)[0])
    assert header_of(joined).intra_period == -1


def test_a_single_file_is_copied(heard, concat, toy):
    path, _ = concat(heard)
    assert path.read_bytes() == heard.read_bytes()


def test_other_time_bases_and_rates_become_one_exactly(tmp_path, make, concat, toy, notes):
    def retimed(path, target, time_base, factor):
        """The same file with times in units that a frame does not have a whole number of ms of."""
        with ContainerReader(path) as reader:
            packets, header = list(reader.packets()), reader.header
        header = replace(header, frame_rate=1 / time_base, time_base=time_base)
        header = replace(header, start_pts=0, usual_duration=factor)
        with ContainerWriter(target, header) as writer:
            for i, packet in enumerate(packets):
                moved = replace(packet.header, pts=factor * i, duration=factor)
                writer.write_frame(moved, packet.payload)
        return target

    ntsc = retimed(make("b.kin"), tmp_path / "ntsc.kin", Fraction(1001, 30000), 1)
    joined, report = concat(make(), ntsc, make("c.kin"))
    frames, _ = items_of(joined, toy)
    assert header_of(joined).time_base == Fraction(1, 30000)
    seconds = [Fraction(frame.pts, 30000) for frame in frames]
    assert seconds[:10] == [Fraction(i, 25) for i in range(10)]
    assert seconds[10:20] == [Fraction(2, 5) + i * Fraction(1001, 30000) for i in range(10)]
    assert seconds[20] == Fraction(2, 5) + 10 * Fraction(1001, 30000)
    assert report.seconds == pytest.approx(0.8 + 10 * 1001 / 30000)
    assert notes == [f"{ntsc}: 30000/1001 frames/s, but {tmp_path / 'a.kin'} has 25: "
                     "every frame keeps its duration"]  # fmt: skip
    odd = retimed(make("d.kin"), tmp_path / "odd.kin", Fraction(1, 2**32 - 5), 10**8)
    with pytest.raises(ConfigError, match=r"time bases of the pictures, .* have none in common"):
        concat(ntsc, odd, name="z.kin")


def test_frames_of_varying_duration_keep_it(tmp_path, toy, cut, concat):
    pts = (0, 3, 4, 10, 11, 40, 47, 50)
    source = KIT["make_file"](tmp_path / "v.mkv", count=8, pts=pts, time_base=Fraction(1, 1000))
    path = encoded(tmp_path / "v.kin", source, model=toy, intra_period=2)
    before = spans(items_of(path, toy)[0])
    part, _ = cut(path, start_s=0.004, end_s=0.03, exact=True)
    assert spans(items_of(part, toy)[0]) == [(t - 4, d) for t, d in before[2:5]]
    joined, _ = concat(path, path)
    length = sum(before[-1])
    assert spans(items_of(joined, toy)[0]) == before + [(t + length, d) for t, d in before]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 46}, "size 46x32, but .* has 48x32"),
        ({"model_number": 1}, r"model intra, but .* has unknown \(60000\)"),
        ({"weights_fingerprint": bytes(8)}, "weights 0000000000000000, but"),
        ({"structure": CodingStructure.ALL_INTRA}, "structure all-intra, but .* has low-delay"),
        ({"full_range": True}, "full range True, but .* has False"),
        ({"primaries": 9}, "primaries 9, but .* has 2"),
        ({"rotation": 90}, "rotation 90, but .* has 0"),
        ({"sample_aspect_ratio": Fraction(4, 3)}, "sample aspect ratio 4/3, but .* has 1"),
        ({"numeric_profile": 9}, "numeric profile 9, but .* has 1"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, make, concat, fields, message):
    path = make(intra_period=1)
    other = rewritten(path, tmp_path / "b.kin", **fields)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=message):
        concat(path, other)
    assert sorted(tmp_path.iterdir()) == before


def test_sound_that_does_not_fit_is_refused(tmp_path, heard, concat, toy):
    def with_track(name, **fields):
        with ContainerReader(heard) as reader:
            packets, header = list(reader.packets()), reader.header
        track = replace(header.audio_tracks[0], **fields)
        with ContainerWriter(tmp_path / name, replace(header, audio_tracks=(track,))) as writer:
            for packet in packets:
                if isinstance(packet, AudioPacketData):
                    writer.write_audio(packet)
                else:
                    writer.write_frame(packet.header, packet.payload)
        return tmp_path / name

    mute = rewritten_without_sound(heard, tmp_path / "mute.kin")
    with pytest.raises(ConfigError, match=r"number of audio tracks 0, but .* has 1"):
        concat(heard, mute)
    for fields, message in (
        ({"codec": "opus"}, "audio track 0: codec opus, but .* has aac"),
        ({"sample_rate": 44100}, "audio track 0: sample rate 44100, but .* has 48000"),
        ({"layout": "mono"}, "audio track 0: layout mono, but .* has stereo"),
        ({"extradata": b"\1"}, "audio track 0: extradata 01, but"),
    ):
        with pytest.raises(ConfigError, match=message):
            concat(heard, with_track(f"{message[-12:-4]}.kin", **fields))
    joined, _ = concat(heard, with_track("b.kin", language="fra"))
    assert len(items_of(joined, toy)[0]) == 100


def rewritten_without_sound(path, target):
    return rewritten(
        path,
        target,
        lambda packet: None if isinstance(packet, AudioPacketData) else packet,
        audio_tracks=(),
    )


def test_damage_is_named_and_nothing_is_written(tmp_path, make, cut, concat, toy):
    path = make(intra_period=2)
    good = items_of(path, toy)[0]
    hit = KIT["flipped"](path, 5)
    before = sorted(tmp_path.iterdir())
    for use in (lambda: cut(path), lambda: concat(path, path), lambda: cut(path, start_s=0.16)):
        with pytest.raises(
            BitstreamError, match=f"damaged.*frame 5 lost: packet at byte {hit.offset}"
        ):
            use()
    assert sorted(tmp_path.iterdir()) == before
    assert same_planes(items_of(cut(path, end_s=0.2)[0], toy)[0], good[:5])
    assert same_planes(items_of(cut(path, "b.kin", start_s=0.24)[0], toy)[0], good[6:])


def test_what_is_left_of_a_cut_off_file_can_be_cut(make, cut, concat, toy):
    path = make(intra_period=2)
    good = items_of(path, toy)[0]
    path.write_bytes(path.read_bytes()[: KIT["packets_of"](path)[7].offset + 9])
    for use in (lambda: cut(path), lambda: concat(path, make("b.kin"))):
        with pytest.raises(BitstreamError, match="unknown frames lost"):
            use()
    assert same_planes(items_of(cut(path, end_s=0.24)[0], toy)[0], good[:6])


def test_a_missing_packet_is_noticed(tmp_path, make, cut):
    path = make(intra_period=1)
    holed = rewritten(
        path, tmp_path / "b.kin", lambda p: None if p.header.display_index == 3 else p
    )
    with pytest.raises(BitstreamError, match="frame 3 lost"):
        cut(holed)


def test_files_that_cannot_be_taken_apart_are_refused(tmp_path, make, cut, concat):
    path = make(intra_period=4)
    late = rewritten(path, tmp_path / "late.kin", lambda p: p if p.header.display_index else None)
    empty = rewritten(path, tmp_path / "empty.kin", lambda _: None)
    for source, message in (
        (late, "does not begin with an intra frame"),
        (empty, "holds no frame"),
    ):
        for use in (cut, concat):
            with pytest.raises(BitstreamError, match=message):
                use(source)


def test_targets_are_protected(tmp_path, make, cut, concat):
    path = make()
    before = path.read_bytes()
    for use, settings in ((cut, {"end_s": 0.1}), (concat, {})):
        with pytest.raises(FileError, match="same file"):
            use(path, name="a.kin", overwrite=True, **settings)
        with pytest.raises(ConfigError, match=r"expected \.kin"):
            use(path, name="b.mkv")
        use(path, name="b.kin", **settings)
        with pytest.raises(FileError, match="overwriting"):
            use(path, name="b.kin")
        use(path, name="b.kin", overwrite=True)
        (tmp_path / "b.kin").unlink()
    with pytest.raises(FileError, match=r"gone\.kin"):
        concat(path, tmp_path / "gone.kin")
    with pytest.raises(ConfigError, match="no file"):
        concat()
    assert path.read_bytes() == before
