from fractions import Fraction

import pytest

from kinema.errors import FileError, VideoError
from kinema.video.frame import AudioPacket, Frame
from kinema.video.reading import open_video


def seconds(reader, items):
    return [float(item.pts * reader.format.time_base) for item in items]


def audio_seconds(reader, packets):
    base = reader.audio_tracks[0].time_base
    return [(float(p.pts * base), float((p.pts + p.duration) * base)) for p in packets]


@pytest.fixture
def spoken(kit, tmp_path):
    return kit.file(tmp_path / "a.mkv", audio="libopus", count=75, options={"g": "10"})


def test_part_of_a_video_has_the_frames_and_audio_of_that_time(kit, spoken):
    reader, frames, packets = kit.read(spoken, start_s=1.0, num_frames=25)
    assert seconds(reader, frames) == [(25 + index) / 25 for index in range(25)]
    times = audio_seconds(reader, packets)
    assert times[0][0] <= 1.0 < times[0][1]
    assert times[-1][0] < 2.0 <= times[-1][1]
    assert len(packets) in (50, 51)
    assert reader.num_frames_hint == 25


def test_part_is_the_same_whatever_comes_after(kit, spoken):
    _, frames, packets = kit.read(spoken, num_frames=75)
    _, all_frames, all_packets = kit.read(spoken)
    assert kit.same_planes(frames, all_frames)
    assert packets == [packet for packet in all_packets if packet.pts < 3000]


def test_items_of_a_part_are_in_the_order_of_time(spoken):
    with open_video(str(spoken), num_frames=20) as reader:
        times = [
            float(item.pts * (reader.format if isinstance(item, Frame) else track).time_base)
            for track in [reader.audio_tracks[0]]
            for item in reader
        ]
    assert times == sorted(times)


@pytest.mark.parametrize("name", ["a_64x48_25.yuv", "a.y4m"])
def test_start_and_number_of_raw_frames(kit, tmp_path, name):
    frames = kit.frames(10)
    kit.write(tmp_path / name, kit.format(), frames)
    _, back, _ = kit.read(tmp_path / name, start_s=0.12, num_frames=4)
    assert [frame.pts for frame in back] == [3, 4, 5, 6]
    assert kit.same_planes(back, frames[3:7])


@pytest.mark.parametrize("name", ["a_64x48_25.yuv", "a.y4m", "a.mkv"])
def test_start_behind_the_end_is_an_error(kit, tmp_path, name):
    kit.write(tmp_path / name, kit.format(), kit.frames(3))
    with pytest.raises(VideoError, match="no picture 60 s after the first"):
        kit.read(tmp_path / name, start_s=60)


@pytest.mark.parametrize("settings", [{"start_s": -1}, {"num_frames": 0}])
def test_part_that_makes_no_sense_is_refused(kit, tmp_path, settings):
    with pytest.raises(VideoError, match="expected"):
        kit.read(tmp_path / "a.mp4", **settings)


@pytest.mark.parametrize("name", ["a.yuv", "a.y4m", "a.mkv", "f%d.png", "folder/a.y4m"])
def test_nothing_there_is_a_file_error(kit, tmp_path, name):
    with pytest.raises(FileError, match=r"cannot be opened|no such files"):
        kit.read(tmp_path / name)


def test_times_stay_as_they_are_when_a_video_begins_late(kit, tmp_path):
    frames = [Frame(*frame.planes, pts=frame.pts + 100, duration=1) for frame in kit.frames(5)]
    path = kit.write(tmp_path / "a.mkv", kit.format(), frames)
    reader, back, _ = kit.read(path, start_s=0.08)
    assert seconds(reader, back) == [4.08, 4.12, 4.16]


def test_closing_early_lets_go_of_the_file(kit, tmp_path, spoken):
    with open_video(str(spoken)) as reader:
        assert isinstance(next(iter(reader)), (Frame, AudioPacket))
    kit.write(tmp_path / "b.y4m", kit.format(), kit.frames(2))
    with open_video(str(tmp_path / "b.y4m")) as reader:
        next(iter(reader))


def test_iterating_twice_goes_on_and_does_not_begin_again(kit, tmp_path):
    kit.write(tmp_path / "a.y4m", kit.format(frame_rate=Fraction(10)), kit.frames(3))
    with open_video(str(tmp_path / "a.y4m")) as reader:
        first = next(iter(reader))
        assert [frame.pts for frame in reader] == [1, 2]
        assert first.pts == 0


def test_file_without_an_index_is_cut_by_decoding_from_its_beginning(kit, tmp_path):
    path = kit.file(tmp_path / "a.h264", count=20, options={"g": "5", "bf": "0"})
    frames = kit.read(path)[1]
    _, part, _ = kit.read(path, start_s=0.4, num_frames=5)
    assert kit.same_planes(part, frames[10:15])
