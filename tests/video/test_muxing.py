from fractions import Fraction

import av
import numpy as np
import pytest

from kinema.errors import VideoError
from kinema.video.frame import AudioPacket, AudioTrack, ColorDescription, Frame

TAGS = ColorDescription(matrix=9, primaries=9, transfer=16, full_range=True, chroma_location=3)
VARYING = (0, 1, 2, 5, 6, 9, 20, 21)


def with_times(frames, pts):
    return [
        Frame(*frame.planes, pts=time, duration=1) for frame, time in zip(frames, pts, strict=True)
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_description_comes_back(kit, tmp_path, suffix):
    video_format = kit.format(rotation=270, sample_aspect_ratio=Fraction(4, 3), color=TAGS)
    path = kit.write(tmp_path / f"a{suffix}", video_format, kit.frames(5))
    back = kit.read(path)[0].format
    assert back.color == TAGS
    assert (back.rotation, back.sample_aspect_ratio) == (270, Fraction(4, 3))
    assert (back.width, back.height, back.frame_rate) == (64, 48, 25)


@pytest.mark.parametrize("size", [(64, 48), (33, 17), (2, 1)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_mkv_is_lossless(kit, tmp_path, size, rotation):
    frames = kit.frames(4, *size)
    path = kit.write(tmp_path / "a.mkv", kit.format(*size, rotation=rotation), frames)
    reader, back, _ = kit.read(path)
    assert kit.same_planes(frames, back)
    assert reader.format.rotation == rotation


def test_mkv_is_lossless_where_samples_are_not_square(kit, tmp_path, notes):
    frames = kit.frames(4)
    aspect = {"sample_aspect_ratio": Fraction(64, 45)}
    path = kit.write(tmp_path / "a.mkv", kit.format(**aspect), frames, note=notes.append)
    reader, back, _ = kit.read(path)
    assert kit.same_planes(frames, back)
    assert reader.format.sample_aspect_ratio == Fraction(64, 45)
    assert notes == []
    odd = kit.format(33, 17, **aspect)
    kit.write(tmp_path / "b.mkv", odd, kit.frames(2, 33, 17), note=notes.append)
    assert notes == ["sample aspect ratio 64/45 is lost: mkv of an odd size cannot hold it"]


def test_mp4_is_visually_lossless(kit, tmp_path):
    frames = kit.frames(10, 160, 96)
    _, back, _ = kit.read(kit.write(tmp_path / "a.mp4", kit.format(160, 96), frames))
    for frame, other in zip(frames, back, strict=True):
        assert np.abs(frame.y.astype(int) - other.y).mean() < 1.5


def test_mp4_of_an_odd_size_is_padded_with_a_note(kit, tmp_path, notes):
    path = kit.write(
        tmp_path / "a.mp4", kit.format(33, 17), kit.frames(3, 33, 17), note=notes.append
    )
    reader, _, _ = kit.read(path)
    assert (reader.format.width, reader.format.height) == (34, 18)
    assert notes == ["33x17: padded to even sizes for H.264"]


@pytest.mark.parametrize(
    "time_base", [Fraction(1, 30), Fraction(1001, 30000), Fraction(1, 90000), Fraction(1, 1000)]
)
@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_varying_times_come_back(kit, tmp_path, time_base, first, suffix):
    pts = [first + time * (3 if time_base.denominator > 100 else 1) for time in VARYING]
    video_format = kit.format(time_base=time_base)
    path = kit.write(tmp_path / f"a{suffix}", video_format, with_times(kit.frames(8), pts))
    reader, back, _ = kit.read(path)
    expected = [time * time_base for time in pts]
    times = [frame.pts * reader.format.time_base for frame in back]
    if suffix == ".mp4":
        assert times == expected
    elif time_base >= Fraction(1, 1000):  # Matroska counts milliseconds
        assert all(abs(a - b) <= Fraction(1, 2000) for a, b in zip(times, expected, strict=True))


def test_picture_before_zero_is_refused_by_mp4_only(kit, tmp_path):
    frames = with_times(kit.frames(3), (-2, -1, 0))
    with pytest.raises(VideoError, match="mp4 begins at 0"):
        kit.write(tmp_path / "a.mp4", kit.format(), frames)
    reader, back, _ = kit.read(kit.write(tmp_path / "a.mkv", kit.format(), frames))
    assert back[0].pts * reader.format.time_base == Fraction(-2, 25)


def test_audio_the_container_cannot_hold_is_dropped_with_a_note(kit, tmp_path, notes):
    track = AudioTrack(codec="wmav2", time_base=Fraction(1, 100), sample_rate=48000, layout="mono")
    packet = AudioPacket(0, 0, 0, 4, True, b"1234")
    items = [kit.frame(0), packet, kit.frame(1)]
    path = kit.write(
        tmp_path / "a.mp4", kit.format(), items, audio_tracks=[track], note=notes.append
    )
    assert "audio track 0 (wmav2) dropped" in notes[0]
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_tracks_keep_their_order_and_a_silent_one_stays(kit, tmp_path):
    base = Fraction(1, 8000)
    tracks = [
        AudioTrack(codec=codec, time_base=base, sample_rate=8000, layout="mono")
        for codec in ("pcm_s16le", "pcm_u8", "mp3")
    ]
    items = [kit.frame(0), *[AudioPacket(i, 0, 0, 80, True, bytes(160 >> i)) for i in (0, 1)]]
    path = kit.write(tmp_path / "a.mkv", kit.format(), items, audio_tracks=tracks)
    reader, _, packets = kit.read(path)
    assert [track.codec for track in reader.audio_tracks] == ["pcm_s16le", "pcm_u8", "mp3"]
    assert [(packet.track, len(packet.data)) for packet in packets] == [(0, 160), (1, 80)]
