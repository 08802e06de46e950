"""Cutting and joining files with B frames: what a cut holds can be decoded on its own."""

import runpy
from pathlib import Path

import pytest
import torch

from kinema.codec.cutting import CutSettings, cut_file
from kinema.codec.decoding import verify_file
from kinema.codec.joining import concat_files
from kinema.codec.reader import KinReader
from kinema.errors import BitstreamError, ConfigError

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
TOY = runpy.run_path(str(FOLDER / "toy_video.py"))
same_planes = KIT["same_planes"]
SIZE = (32, 16)
COUNT = 38


@pytest.fixture
def toy():
    torch.set_num_threads(1)
    return TOY["load_access"]()


@pytest.fixture
def path(tmp_path, toy):
    clip = KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](COUNT, SIZE))
    settings = {"structure": "random-access", "intra_period": 8, "crf": 20}
    return KIT["encoded"](tmp_path / "a.kin", clip, model=toy, **settings)


def frames_of(path, toy):
    with KinReader(path, model=toy) as reader:
        frames = list(reader)
        assert reader.lost == []
    return frames


def cut(source, name, notes=None, **settings):
    target = source.with_name(name)
    note = (lambda _: None) if notes is None else notes.append
    return target, cut_file(source, target, CutSettings(**settings), note=note)


@pytest.mark.parametrize(
    ("start_s", "end_s", "first", "last", "told"),
    [
        (0.32, None, 8, 37, []),
        (0.32, 0.68, 8, 16, []),  # up to an I frame, included
        (0.32, 0.64, 8, 16, ["1 frame(s) later"]),
        (0.4, 0.5, 8, 16, ["2 frame(s) earlier", "4 frame(s) later"]),
        (0, 0.04, 0, 0, []),
        (1.28, 1.4, 32, 37, ["3 frame(s) later"]),
    ],
)
def test_a_cut_begins_at_an_i_frame_and_ends_with_a_group(
    path, toy, start_s, end_s, first, last, told
):
    whole, notes = frames_of(path, toy), []
    part, report = cut(path, "part.kin", notes, start_s=start_s, end_s=end_s)
    frames = frames_of(part, toy)
    assert same_planes(frames, whole[first : last + 1])
    assert [frame.pts for frame in frames] == [40 * i for i in range(last + 1 - first)]
    assert report.num_frames == last + 1 - first
    assert report.seconds == pytest.approx((last + 1 - first) / 25)
    assert [any(text in note for note in notes) for text in told] == [True] * len(told)
    assert len(notes) == len(told)
    indices = [p.header.display_index for p in KIT["packets_of"](part)]
    assert sorted(indices) == list(range(len(frames)))
    assert verify_file(part, model=toy).lost == []


def test_a_cut_that_must_be_exact_is_refused_elsewhere(path):
    with pytest.raises(ConfigError, match=r"at 0.4 s; the nearest: 0.320 s and 0.640 s"):
        cut(path, "part.kin", start_s=0.4, exact=True)


def test_files_are_put_one_after_the_other(path, toy):
    whole = frames_of(path, toy)
    first, _ = cut(path, "1.kin", end_s=0.68)
    second, _ = cut(path, "2.kin", start_s=0.64)
    joined = path.with_name("joined.kin")
    report = concat_files([first, second, path], joined)
    frames = frames_of(joined, toy)
    assert same_planes(frames, [*whole[:17], *whole[16:], *whole])
    assert report.num_frames == len(frames) == 17 + 22 + COUNT
    times = [frame.pts for frame in frames]
    assert times == sorted(set(times))
    middle, _ = cut(joined, "3.kin", start_s=17 / 25, end_s=(17 + 9) / 25)
    assert same_planes(frames_of(middle, toy), whole[16:25])


def test_a_stretch_that_is_damaged_is_refused(path):
    packets = KIT["packets_of"](path)
    place = next(i for i, p in enumerate(packets) if p.header.display_index == 12)
    KIT["flipped"](path, place)
    with pytest.raises(BitstreamError, match="damaged, which copying cannot mend: frame 12 lost"):
        cut(path, "part.kin", start_s=0.32, end_s=0.7)
    cut(path, "later.kin", start_s=0.64)
    cut(path, "earlier.kin", end_s=0.34)
