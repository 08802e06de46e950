"""Decoding in chunks: the file that one process writes, damage and excerpts included."""

import runpy
from dataclasses import replace
from pathlib import Path

import av
import pytest

from kinema.codec import chunked_decoding as module
from kinema.codec.decoding import decode_file
from kinema.codec.reader import DecodeSettings
from kinema.errors import BitstreamError, ConfigError, FileError

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
CHUNKS = runpy.run_path(str(FOLDER / "chunk_kit.py"))
importable, short_chunks = CHUNKS["importable"], CHUNKS["short_chunks"]
no_processes = CHUNKS["no_processes"]
draw, write_clip, encoded = KIT["draw"], KIT["write_clip"], KIT["encoded"]
pytestmark = pytest.mark.usefixtures("short_chunks")


@pytest.fixture
def toy(importable):
    return importable("toy_video").load_toy()


@pytest.fixture
def kin(tmp_path, toy):
    """Twenty frames, an intra frame every fourth."""
    clip = write_clip(tmp_path / "clip.mkv", draw(20))
    return encoded(tmp_path / "clip.kin", clip, model=toy, intra_period=4, crf=20)


def decode(source, target, model, *, progress=lambda *_: None, note=lambda _: None, **settings):
    return decode_file(
        source,
        str(target),
        DecodeSettings(**settings),
        model=model,
        progress=progress,
        note=note,
    )


def content(path):
    """What a file holds; of .mkv its packets, since FFmpeg puts a random number into every file."""
    if path.suffix != ".mkv":
        return path.read_bytes()
    with av.open(str(path)) as container:
        return [(p.stream_index, p.pts, p.dts, p.duration, bytes(p)) for p in container.demux()]


def check_same(kin, folder, model, name="out.y4m", **settings):
    """One process and a crew must write the same files and tell the same."""
    reports = []
    for kind, workers in (("one", None), ("many", 2)):
        (folder / kind).mkdir()
        reports.append(decode(kin, folder / kind / name, model, workers=workers, **settings))
    one, many = (sorted((folder / kind).iterdir()) for kind in ("one", "many"))
    assert [path.name for path in one] == [path.name for path in many]
    assert one
    assert [content(path) for path in one] == [content(path) for path in many]
    assert reports[0].num_frames == reports[1].num_frames
    assert sorted(reports[0].lost) == sorted(reports[1].lost)
    return reports[0]


def test_processes_write_the_file_of_one(tmp_path, kin, toy):
    check_same(kin, tmp_path, toy)


@pytest.mark.parametrize("name", ["a.y4m", "a.yuv", "a.mkv", "a.mp4", "%02d.png"])
def test_every_kind_of_target(tmp_path, kin, toy, no_processes, name):
    check_same(kin, tmp_path, toy, name)
    assert len(no_processes[0].done) == 5
    assert no_processes[0].is_closed


def test_sound_is_interleaved_alike(tmp_path, toy, no_processes):
    source = KIT["make_file"](tmp_path / "heard.mkv", count=30, audio="aac", size=(32, 32))
    kin = encoded(tmp_path / "heard.kin", source, model=toy, intra_period=5)
    check_same(kin, tmp_path, toy, "a.mkv")


@pytest.mark.parametrize(
    "settings", [{"start_s": 0.2, "num_frames": 9}, {"start_s": 0.6}, {"num_frames": 1}]
)
def test_excerpts(tmp_path, kin, toy, no_processes, settings):
    check_same(kin, tmp_path, toy, **settings)


def test_pictures_of_all_intra_files_are_decoded_at_once(tmp_path, toy, no_processes):
    clip = write_clip(tmp_path / "clip.mkv", draw(20))
    kin = encoded(tmp_path / "clip.kin", clip, model=toy, structure="all-intra")
    toy.frozen.network.calls.clear()
    check_same(kin, tmp_path, toy)
    assert sorted(toy.frozen.network.calls) == sorted([(16, ()), (4, ())] * 2)


@pytest.mark.parametrize("frames", [(2,), (4, 5), (0, 19), (7, 8, 9)])
def test_damaged_packets_cost_the_same_frames(tmp_path, kin, toy, no_processes, frames):
    for frame in reversed(frames):
        KIT["flipped"](kin, frame)
    report = check_same(kin, tmp_path, toy)
    assert report.lost


def test_pictures_that_differ_from_their_hash_are_lost(tmp_path, kin, toy, no_processes):
    def change(packet):
        header = packet.header
        wrong = header.picture_hash ^ 1 if header.display_index in (3, 9) else header.picture_hash
        return replace(packet, header=replace(header, picture_hash=wrong))

    changed = KIT["rewritten"](kin, tmp_path / "changed.kin", change)
    report = check_same(changed, tmp_path, toy)
    assert report.num_frames == 20 - 1 - 3
    assert report.lost


def test_a_killed_worker_costs_a_second_try(tmp_path, kin, toy, importable, monkeypatch):
    decode(kin, tmp_path / "one.y4m", toy)
    monkeypatch.setattr(module, "DecodeTask", importable("worker_tasks").DyingDecodeTask)
    notes = []
    decode(kin, tmp_path / "many.y4m", toy, workers=2, note=notes.append)
    assert (tmp_path / "many.y4m").read_bytes() == (tmp_path / "one.y4m").read_bytes()
    assert len(notes) == 1
    assert "killed by SIGKILL" in notes[0]
    assert (tmp_path / "tally").stat().st_size == 5 + 1


def test_an_interrupted_decoding_leaves_nothing(tmp_path, kin, toy, no_processes):
    def progress(done, *_):
        if done == 6:
            raise KeyboardInterrupt

    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        decode(kin, tmp_path / "a.y4m", toy, workers=2, progress=progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert no_processes[0].is_closed


def test_pictures_of_few_chunks_lie_on_disk(tmp_path, kin, toy, no_processes):
    most = 0

    def progress(*_):
        nonlocal most
        most = max(most, len(list(tmp_path.glob(".kinema-*/*.planes"))))

    decode(kin, tmp_path / "a.y4m", toy, workers=1, progress=progress)
    assert 1 <= most <= 3


def test_what_cannot_be_decoded_is_refused_alike(tmp_path, kin, toy, no_processes):
    with pytest.raises(ConfigError, match="0 workers"):
        decode(kin, tmp_path / "a.y4m", toy, workers=0)
    with pytest.raises(FileError):
        decode(tmp_path / "gone.kin", tmp_path / "a.y4m", toy, workers=1)
    for frame in reversed(range(20)):
        KIT["flipped"](kin, frame)
    with pytest.raises(BitstreamError, match="nothing to decode"):
        decode(kin, tmp_path / "a.y4m", toy, workers=1)
    assert not (tmp_path / "a.y4m").exists()
