"""Videos that something is wrong with: coded right, or refused in one line."""

import itertools
import runpy
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinema.codec.decoding import decode_file, verify_file
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.codec.rate_control import encode_to_target
from kinema.codec.reader import DecodeSettings, KinReader
from kinema.codec.target import Target
from kinema.errors import BitstreamError, FileError, KinemaError, LimitError, VideoError

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]
make_file, encoded = KIT["make_file"], KIT["encoded"]
SMALL = (32, 32)


@pytest.fixture
def notes():
    return []


@pytest.fixture
def encode(tmp_path, notes):
    def call(source):
        before = sorted(tmp_path.iterdir())
        try:
            encode_file(str(source), tmp_path / "a.kin", EncodeSettings(), note=notes.append)
        except KinemaError:
            assert sorted(tmp_path.iterdir()) == before
            raise
        return tmp_path / "a.kin"

    return call


def times_of(path):
    assert verify_file(path).lost == []
    with KinReader(path) as reader:
        return [float(frame.pts * reader.format.time_base) for frame in reader]


def with_times(path, all_pts, time_base=Fraction(1, 1000)):
    """A file whose pictures, each of which stands alone, have these times, in this order."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=32, height=32, time_base=time_base)
        stream.codec_context.pix_fmt = "yuv420p"
        for number, pts in enumerate(all_pts):
            picture = av.VideoFrame.from_ndarray(
                np.full((48, 32), 20 * number, np.uint8), "yuv420p"
            )
            picture.pts, picture.time_base = number, time_base
            for packet in stream.encode(picture):
                packet.pts, packet.dts = pts, number
                container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("pts", "expected"),
    [
        ((1000, 1080, 1040, 1120), (1000, 1080, 1081, 1120)),  # out of order
        ((1000, 1040, 1040, 1040, 1200), (1000, 1040, 1041, 1042, 1200)),  # at once
        ((9000, 1000, 1040), (9000, 9001, 9002)),  # a jump back
    ],
)
def test_times_that_do_not_grow_are_moved_with_a_note(tmp_path, encode, notes, pts, expected):
    kin = encode(with_times(tmp_path / "a.mkv", pts))
    assert times_of(kin) == [time / 1000 for time in expected]
    assert len(notes) == 1
    assert "moved behind it" in notes[0]
    decode_file(kin, str(tmp_path / "b.mkv"), DecodeSettings())
    assert len(KIT["read"](tmp_path / "b.mkv")[1]) == len(pts)


def test_missing_times_are_those_of_a_steady_rate(tmp_path, encode):
    source = make_file(tmp_path / "a.h264", count=8, size=SMALL, options={"bf": "0"})
    times = times_of(encode(source))
    assert len(times) == 8
    steps = {round(b - a, 4) for a, b in itertools.pairwise(times)}
    assert len(steps) == 1


def test_a_gap_in_the_times_stays_a_gap(tmp_path, encode, notes):
    kin = encode(with_times(tmp_path / "a.mkv", (0, 40, 60_000, 60_040)))
    assert times_of(kin) == [0, 0.04, 60, 60.04]
    assert notes == []


def test_a_single_frame_is_a_video(tmp_path, encode):
    assert times_of(encode(make_file(tmp_path / "a.mp4", count=1, size=SMALL))) == [0]


GOALS = (
    {"rate_kbps": 200.0, "passes": 1},
    {"rate_kbps": 200.0, "passes": 1, "look_ahead": 0},
    {"rate_kbps": 50.0},
    {"size_bytes": 250},
    {"psnr_db": 19.7},
)


@pytest.mark.parametrize("goal", GOALS)
def test_one_frame_or_none_with_a_target(tmp_path, notes, goal):
    source = KIT["write_clip"](tmp_path / "a.y4m", KIT["draw"](1, (64, 48)))
    path, target = tmp_path / "a.kin", Target(**goal)
    encode_to_target(str(source), path, EncodeSettings(), target, note=notes.append)
    assert times_of(path) == [0]
    assert notes == []
    path.unlink()
    source.write_bytes(b"YUV4MPEG2 W32 H32 F25:1\n")
    with pytest.raises(VideoError, match=r"a\.y4m: no picture to encode"):
        encode_to_target(str(source), path, EncodeSettings(), target)
    assert [file.name for file in tmp_path.iterdir()] == ["a.y4m"]


def only_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 200), np.int16), layout="stereo")
        tone.sample_rate = 8000
        container.mux(stream.encode(tone))


def written(data):
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "make", "error", "message"),
    [
        ("a.y4m", written(b"YUV4MPEG2 W32 H32 F25:1\n"), VideoError, "no picture"),
        ("a_32x32_25.yuv", written(b""), VideoError, "no picture"),
        ("a.mp4", written(b""), VideoError, "no video"),
        ("a.mkv", written(b"\x1a\x45\xdf\xa3" + bytes(200)), VideoError, r"a\.mkv: "),
        ("a.mkv", only_sound, VideoError, "no video stream, found audio"),
        ("empty", Path.mkdir, FileError, "holds no .png file"),
        ("gone.mp4", lambda path: None, FileError, "No such file"),
        (
            "a.y4m",
            written(b"YUV4MPEG2 W7680 H4320 F25:1\nFRAME\nabc"),
            VideoError,
            "frame 0 ends after 3 of 49766400 bytes: truncated file",
        ),
        (
            "a.y4m",
            written(b"YUV4MPEG2 W99999 H99999 F25:1\nFRAME\nabc"),
            VideoError,
            "truncated file",
        ),
    ],
)
def test_sources_without_a_picture_are_refused(tmp_path, encode, name, make, error, message):
    make(tmp_path / name)
    with pytest.raises(error, match=message) as caught:
        encode(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_files_that_may_not_be_read_are_refused(tmp_path, encode, monkeypatch):
    """Whatever user runs the tests: what the system says is what counts."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    source = KIT["write_clip"](tmp_path / "a.y4m", KIT["draw"](1))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match=r"a\.y4m: cannot be opened \(Permission denied\)"):
        encode(source)
    monkeypatch.undo()
    movie = make_file(tmp_path / "a.mp4", count=1, size=SMALL)
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(FileError, match=r"a\.mp4: cannot be opened \(Permission denied\)"):
        encode(movie)


def test_a_disk_that_fails_on_the_way_is_named(tmp_path, encode, monkeypatch):
    data = KIT["write_clip"](tmp_path / "a.y4m", KIT["draw"](20)).read_bytes()

    class Failing:
        def __init__(self, file):
            self._file, self.readline, self.close = file, file.readline, file.close

        def __getattr__(self, name):
            raise OSError(5, "Input/output error")

    opening = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: Failing(opening(path, *a, **k)) if "y4m" in path.name
        else opening(path, *a, **k)
    )  # fmt: skip
    with pytest.raises((KinemaError, OSError), match="Input/output error"):
        encode(tmp_path / "a.y4m")
    assert [path.name for path in tmp_path.iterdir()] == ["a.y4m"]
    assert (tmp_path / "a.y4m").stat().st_size == len(data)


def test_a_change_of_size_on_the_way_is_refused(tmp_path, encode):
    parts = [
        make_file(tmp_path / f"{i}.ts", count=6, size=size, options={"bf": "0"})
        for i, size in enumerate([(64, 48), (96, 80)])
    ]
    source = tmp_path / "a.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(VideoError, match="is 96x80, the video began as 64x48"):
        encode(source)


@pytest.mark.parametrize("size", [(7680, 4320), (65535, 65535)])
def test_a_header_of_huge_pictures_costs_no_memory(tmp_path, size):
    kin = encoded(tmp_path / "a.kin", KIT["write_clip"](tmp_path / "a.y4m", KIT["draw"](2)))
    try:
        huge = KIT["rewritten"](kin, tmp_path / "b.kin", width=size[0], height=size[1])
    except LimitError:  # the writer has limits of its own
        assert size[0] == 65535
        return
    for use in (lambda: verify_file(huge), lambda: KinReader(huge)):
        with pytest.raises(LimitError, match="samples per picture is 33177600, the limit is"):
            use()


@pytest.mark.parametrize("length", [0, 5, 12, 40])
def test_a_file_that_ends_in_its_header_is_named(tmp_path, length):
    kin = encoded(tmp_path / "a.kin", KIT["write_clip"](tmp_path / "a.y4m", KIT["draw"](1)))
    kin.write_bytes(kin.read_bytes()[:length])
    with pytest.raises(BitstreamError, match=r"a\.kin: .*ends"):
        verify_file(kin)
