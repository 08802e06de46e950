from fractions import Fraction

import av
import numpy as np
import pytest

from kinema.errors import VideoError
from kinema.video.audio import add_track
from kinema.video.frame import AudioTrack


def samples(path):
    with av.open(str(path)) as container:
        return np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)


def times(packets, tracks):
    return [float(packet.pts * tracks[packet.track].time_base) for packet in packets]


@pytest.mark.parametrize(
    ("source", "codec"),
    [
        ("a.mp4", "aac"),
        ("a.mkv", "libopus"),
        ("a.mp4", "libopus"),
        ("a.mkv", "pcm_s16le"),
        ("a.mkv", "flac"),
        ("a.mkv", "ac3"),
        ("a.avi", "mp3"),
    ],
)
@pytest.mark.parametrize("target", ["b.mp4", "b.mkv"])
def test_packets_are_copied_and_play(kit, tmp_path, notes, source, codec, target):
    codec_of_video = "mpeg4" if source.endswith("avi") else "libx264"
    path = kit.file(tmp_path / source, audio=codec, count=25, codec=codec_of_video)
    with_note = {"note": notes.append}
    reader, frames, packets = kit.read(path, **with_note)
    items = sorted(
        [*frames, *packets],
        key=lambda item: (
            item.pts * (reader.audio_tracks[0] if item in packets else reader.format).time_base
        ),
    )
    copy = kit.write(tmp_path / target, reader.format, items, audio_tracks=reader.audio_tracks)
    reader_of_copy, frames_of_copy, packets_of_copy = kit.read(copy, **with_note)
    data, data_of_copy = (b"".join(p.data for p in ps) for ps in (packets, packets_of_copy))
    assert data == data_of_copy
    assert len(frames_of_copy) == 25
    if codec != "pcm_s16le":  # mp4 cuts PCM anew
        one, other = (
            times(packets, reader.audio_tracks),
            times(packets_of_copy, reader_of_copy.audio_tracks),
        )
        assert np.abs(np.subtract(one, other)).max() <= 0.0011  # Matroska counts milliseconds
    original, copied = samples(path), samples(copy)
    assert abs(original.shape[1] - copied.shape[1]) <= 2048
    assert notes == []


def test_track_tells_what_a_copy_needs(kit, tmp_path):
    path = kit.file(tmp_path / "a.mp4", audio="aac", count=25)
    reader, _, packets = kit.read(path)
    (track,) = reader.audio_tracks
    assert (track.codec, track.sample_rate, track.layout) == ("aac", 48000, "stereo")
    assert track.time_base == Fraction(1, 48000)
    assert track.extradata
    assert packets[0].pts == -1024  # the encoder's delay, which a player cuts off
    assert all(packet.is_keyframe and packet.duration for packet in packets)


def test_audio_can_be_left_aside(kit, tmp_path):
    path = kit.file(tmp_path / "a.mp4", audio="aac", count=5)
    reader, _, packets = kit.read(path, with_audio=False)
    assert (reader.audio_tracks, packets) == ((), [])


def test_packets_stand_between_frames_of_their_time(kit, tmp_path):
    path = kit.file(tmp_path / "a.mkv", audio="aac", count=100)
    from kinema.video.reading import open_video

    with open_video(str(path)) as reader:
        last, gaps = [0.0, 0.0], []
        for item in reader:
            is_audio = hasattr(item, "track")
            base = reader.audio_tracks[0] if is_audio else reader.format
            last[is_audio] = float(item.pts * base.time_base)
            gaps.append(abs(last[0] - last[1]))
    assert max(gaps) < 1.5


def test_language_is_kept(kit, tmp_path):
    track = AudioTrack(
        codec="pcm_s16le",
        time_base=Fraction(1, 8000),
        sample_rate=8000,
        layout="mono",
        language="deu",
    )
    path = kit.write(tmp_path / "a.mkv", kit.format(), kit.frames(2), audio_tracks=[track])
    copy = kit.read(path)[0].audio_tracks[0]
    assert (copy.language, copy.layout) == ("deu", "mono") or copy.language == "ger"


@pytest.mark.parametrize("codec", ["no_such_codec", "wmav2"])
def test_codec_the_container_cannot_hold_is_refused(tmp_path, codec):
    track = AudioTrack(codec=codec, time_base=Fraction(1, 100), sample_rate=48000, layout="mono")
    container = av.open(str(tmp_path / "a.mp4"), "w", "mp4")
    with pytest.raises(VideoError, match=codec):
        add_track(container, track)
    container.close()


def test_codec_without_encoder_is_carried_by_its_packets(tmp_path):
    track = AudioTrack(codec="dca", time_base=Fraction(1, 48000), sample_rate=48000, layout="5.1")
    container = av.open(str(tmp_path / "a.mkv"), "w", "matroska")
    assert add_track(container, track).type == "audio"
    container.close()
