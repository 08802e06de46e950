"""Many workers in random access write the bytes, and show the frames, of one process."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from kinema.codec.decoding import decode_file
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.codec.reader import DecodeSettings

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
CHUNKS = runpy.run_path(str(FOLDER / "chunk_kit.py"))
importable, short_chunks = CHUNKS["importable"], CHUNKS["short_chunks"]
no_processes = CHUNKS["no_processes"]
pytestmark = pytest.mark.usefixtures("short_chunks")


@pytest.fixture
def toy(importable):
    return importable("toy_video").load_access()


def encode(source, target, toy, **settings):
    settings = {"crf": 20, "threads": 1, "structure": "random-access", **settings}
    return encode_file(
        str(source), target, EncodeSettings(model=toy, **settings), note=lambda _: None
    )


def decode(source, target, toy, **settings):
    return decode_file(source, str(target), DecodeSettings(threads=1, **settings), model=toy)


def check_same(source, folder, toy, **settings):
    """One process and a crew must give the same files and reports, both ways."""
    one, many = folder / "one.kin", folder / "many.kin"
    expected = encode(source, one, toy, **settings)
    assert encode(source, many, toy, workers=2, **settings) == expected
    assert many.read_bytes() == one.read_bytes()
    for start in (0.0, 0.32):
        parts = [folder / f"{name}{start}.y4m" for name in ("one", "many")]
        reports = [
            decode(one, part, toy, workers=workers, start_s=start)
            for part, workers in zip(parts, (None, 2), strict=True)
        ]
        assert reports[0] == reports[1]
        assert parts[0].read_bytes() == parts[1].read_bytes()
        assert reports[0].lost == []


@pytest.mark.parametrize(
    ("count", "settings"),
    [
        (20, {"intra_period": 4}),
        (23, {"intra_period": 7, "refresh": 3}),
        (60, {"intra_period": 40}),
        (20, {"intra_period": -1, "refresh": 6}),
        (9, {"intra_period": 1}),
        (20, {"intra_period": 6, "start_s": 0.2, "num_frames": 13}),
    ],
)
def test_a_crew_writes_and_shows_what_one_process_does(
    tmp_path, toy, no_processes, count, settings
):
    source = KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](count, (32, 16)))
    check_same(source, tmp_path, toy, **settings)
    assert len(no_processes[0].done) > 1


def test_processes_do_so_too(tmp_path, toy):
    source = KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](12, (32, 16)))
    check_same(source, tmp_path, toy, intra_period=4)


def test_scenes_begin_in_chunks_too(tmp_path, toy, no_processes):
    frames = KIT["draw"](20, (32, 16))
    for frame in frames[9:]:
        for plane in frame.planes:
            np.subtract(255, plane, out=plane)
    source = KIT["write_clip"](tmp_path / "cut.mkv", frames)
    check_same(source, tmp_path, toy, intra_period=4)
    intra = [
        p.header.display_index
        for p in KIT["packets_of"](tmp_path / "many.kin")
        if not p.header.references
    ]
    assert intra == [0, 4, 8, 9, 13, 17]


def test_audio_lies_where_one_process_puts_it(tmp_path, toy, no_processes):
    source = KIT["make_file"](tmp_path / "heard.mkv", count=50, audio="aac", size=(32, 32))
    one, many = tmp_path / "one.kin", tmp_path / "many.kin"
    encode(source, one, toy, intra_period=8)
    encode(source, many, toy, intra_period=8, workers=2)
    assert one.read_bytes() == many.read_bytes()


def test_damage_is_told_alike(tmp_path, toy, no_processes):
    source = KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](26, (32, 16)))
    path = tmp_path / "a.kin"
    encode(source, path, toy, intra_period=4)
    for place in (1, 6, 10):
        KIT["flipped"](path, place)
        reports = [
            decode(path, tmp_path / f"{place}-{workers}.y4m", toy, workers=workers)
            for workers in (None, 2)
        ]
        assert reports[0].num_frames == reports[1].num_frames
        assert sorted(reports[0].lost) == sorted(reports[1].lost)
        first, second = (tmp_path / f"{place}-{workers}.y4m" for workers in (None, 2))
        assert first.read_bytes() == second.read_bytes()


def test_an_interrupted_encoding_goes_on(tmp_path, toy, no_processes, monkeypatch):
    source = KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](20, (32, 16)))
    one, many = tmp_path / "one.kin", tmp_path / "many.kin"
    encode(source, one, toy, intra_period=4)
    Here = CHUNKS["Here"]
    with monkeypatch.context() as patch:
        patch.setattr(Here, "__init__", failing(Here.__init__))
        with pytest.raises(KeyboardInterrupt):
            encode(source, many, toy, intra_period=4, workers=1)
    encode(source, many, toy, intra_period=4, workers=1, resume=True)
    assert many.read_bytes() == one.read_bytes()


def failing(init):
    def call(self, *arguments):
        init(self, *arguments)
        self.fail_at = 2

    return call
