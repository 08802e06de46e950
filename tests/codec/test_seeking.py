"""Any frame of a file, exactly, for what the frames before it cost and no more."""

import io
import runpy
from fractions import Fraction
from pathlib import Path

import pytest

from kinema.codec.joining import concat_files
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.errors import ConfigError, FileError

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
same_planes, encoded = KIT["same_planes"], KIT["encoded"]
PERIOD, COPIES = 4, 30


class CountingFile(io.BytesIO):
    """Bytes that know how many of them were read."""

    num_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.num_read += len(data)
        return data


@pytest.fixture
def long_file(tmp_path, toy):
    """Three hundred frames, an intra frame every fourth; their number in a file with sound too."""
    clip = KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](10))
    part = encoded(tmp_path / "part.kin", clip, model=toy, crf=20, intra_period=PERIOD)
    concat_files([part] * COPIES, tmp_path / "long.kin")
    return tmp_path / "long.kin"


@pytest.fixture
def heard(tmp_path, toy):
    source = KIT["make_file"](tmp_path / "heard.mkv", count=50, audio="aac", size=(32, 32))
    part = encoded(tmp_path / "heard.kin", source, model=toy, crf=40, intra_period=PERIOD)
    concat_files([part] * 6, tmp_path / "long.kin", note=lambda _: None)
    return tmp_path / "long.kin"


def cost(path, toy, calls, find):
    """Bytes read and pictures decoded for the first frame, beside the index; and the frame."""
    file = CountingFile(path.read_bytes())
    with KinReader(file, model=toy) as reader:
        assert reader.num_frames > 0
        file.num_read = 0
        calls.clear()
        frame = next(iter(find(reader)))
        return file.num_read, sum(count for count, _ in calls), frame


@pytest.mark.parametrize("name", ["long_file", "heard"])
def test_the_first_frame_costs_the_same_wherever_it_is(request, toy, calls, name):
    path = request.getfixturevalue(name)
    with KinReader(path, model=toy) as reader:
        number, whole = reader.num_frames, list(reader)
    costs = []
    for index in (99, 100, number // 2 + 1, number - 3):
        for find in (
            lambda reader, i=index: reader.seek_frame(i),
            lambda reader, i=index: reader.seek(i / 25),
        ):
            num_bytes, num_decoded, frame = cost(path, toy, calls, find)
            assert same_planes([frame], [whole[index]])
            assert frame.pts == whole[index].pts
            assert num_decoded <= PERIOD
            costs.append(num_bytes)
    assert max(costs) < path.stat().st_size / 8
    assert max(costs) < 3 * min(costs) + 2000


def test_the_range_of_a_decoding_costs_its_own_frames(long_file, toy, calls):
    sizes = []
    for start in (0.2, 6.0, 11.0):
        file = CountingFile(long_file.read_bytes())
        with KinReader(
            file, model=toy, settings=DecodeSettings(start_s=start, num_frames=3)
        ) as reader:
            assert reader.num_frames == 300
            file.num_read = 0
            calls.clear()
            assert [frame.pts for frame in reader] == [
                round(1000 * start) + 40 * i for i in range(3)
            ]
            assert sum(count for count, _ in calls) < 3 + PERIOD
            sizes.append(file.num_read)
    assert max(sizes) < long_file.stat().st_size / 8


@pytest.mark.parametrize("settings", [{"intra_period": 4}, {"structure": "all-intra"}])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_the_time_of_a_frame_finds_that_frame(tmp_path, toy, rate, settings):
    """Times in decimals are a little off, up or down."""
    clip = tmp_path / "clip.mp4"
    KIT["write_clip"](clip, KIT["draw"](9), frame_rate=rate, time_base=1 / rate)
    path = encoded(tmp_path / "a.kin", clip, model=toy, crf=20, **settings)
    with KinReader(path, model=toy) as reader:
        times = [frame.pts * reader.format.time_base for frame in reader]
        for index, time in enumerate(times):
            for seconds in (float(time), round(float(time), 3), float(time) + 0.007):
                found = next(reader.seek(seconds))
                assert found.pts * reader.format.time_base == times[index]
            assert next(reader.seek_frame(index)).pts * reader.format.time_base == times[index]
            with KinReader(
                path, model=toy, settings=DecodeSettings(start_s=round(float(time), 3))
            ) as part:
                assert next(iter(part)).pts * reader.format.time_base == times[index]


def test_frames_that_are_not_there_are_refused(long_file, toy):
    with KinReader(long_file, model=toy) as reader:
        for number in (300, -1, 2**70):
            with pytest.raises(ConfigError, match="the file has 300 frames, from 0 on"):
                reader.seek_frame(number)
        assert next(reader.seek(99)).pts == 299 * 40
    with pytest.raises(FileError, match="closed"):
        reader.seek_frame(0)


def test_sound_before_the_first_picture_belongs_to_the_first_range(heard, toy):
    with KinReader(heard, model=toy) as reader:
        first = next(item for item in reader.items() if not hasattr(item, "y"))
    with KinReader(heard, model=toy, settings=DecodeSettings(num_frames=3)) as reader:
        items = [item for item in reader.items() if not hasattr(item, "y")]
    assert first.pts < 0
    assert items[0].pts <= 0 < items[0].pts + items[0].duration
