"""Encoding in chunks: the bytes of one process, whatever happens to the workers."""

import io
import itertools
import json
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinema.bitstream.container import ContainerReader
from kinema.bitstream.headers import FrameType
from kinema.bitstream.packets import FramePacket
from kinema.codec import batches as batches_module
from kinema.codec import chunked_encoding as module
from kinema.codec import rate_control
from kinema.codec.chunk_store import ChunkStore, folder_beside
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.codec.rate_control import encode_to_target
from kinema.codec.target import Target
from kinema.codec.tasks import EncodeTask
from kinema.errors import ConfigError, FileError, VideoError, WeightsMismatchError

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
CHUNKS = runpy.run_path(str(FOLDER / "chunk_kit.py"))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]
importable, short_chunks = CHUNKS["importable"], CHUNKS["short_chunks"]
no_processes = CHUNKS["no_processes"]
draw, write_clip = KIT["draw"], KIT["write_clip"]
pytestmark = pytest.mark.usefixtures("short_chunks")


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mkv", draw(20))


@pytest.fixture
def toy(importable):
    return importable("toy_video").load_toy()


def encode(source, target, *, progress=lambda *_: None, note=lambda _: None, **settings):
    settings = {"crf": 20, "threads": 1, **settings}
    return encode_file(
        str(source), target, EncodeSettings(**settings), progress=progress, note=note
    )


def check_same(source, folder, **settings):
    """One process and a crew must give the same file and the same report."""
    one, many = folder / "one.kin", folder / "many.kin"
    workers = settings.pop("workers", 2)
    expected = encode(source, one, **settings)
    assert encode(source, many, workers=workers, **settings) == expected
    assert many.read_bytes() == one.read_bytes()
    assert not folder_beside(many).exists()
    return expected


def test_processes_write_the_bytes_of_one(tmp_path, clip, tiny_model):
    check_same(clip, tmp_path, model=tiny_model)


def test_processes_write_the_bytes_of_one_in_low_delay(tmp_path, clip, toy):
    check_same(clip, tmp_path, model=toy, intra_period=4)


@pytest.mark.parametrize("scene_cuts", [True, False])
def test_periods_count_from_scene_cuts_in_chunks_too(scene_cuts, tmp_path, toy):
    frames = draw(14)
    for frame in frames[6:]:
        for plane in frame.planes:
            np.subtract(255, plane, out=plane)
    source = write_clip(tmp_path / "cut.mkv", frames)
    check_same(source, tmp_path, model=toy, intra_period=4, scene_cuts=scene_cuts)
    with ContainerReader(tmp_path / "many.kin") as file:
        frames = [packet.header for packet in file.packets() if isinstance(packet, FramePacket)]
    intra = [header.display_index for header in frames if header.frame_type is FrameType.I]
    assert intra == ([0, 4, 6, 10] if scene_cuts else [0, 4, 8, 12])


@pytest.mark.parametrize(("at_once", "num_chunks"), [(1, 7), (2, 5), (4, 5)])
def test_pictures_are_coded_at_once_as_by_one_process(
    tmp_path, clip, toy, no_processes, monkeypatch, at_once, num_chunks
):
    monkeypatch.setattr(batches_module, "BATCH_SAMPLES", 48 * 32 * at_once)
    encode(clip, tmp_path / "one.kin", model=toy, structure="all-intra")
    expected, toy.frozen.network.calls[:] = list(toy.frozen.network.calls), []
    assert max(expected) == (at_once, ())
    encode(clip, tmp_path / "many.kin", model=toy, structure="all-intra", workers=1)
    assert sorted(toy.frozen.network.calls) == sorted(expected)
    assert sorted(no_processes[0].done) == list(range(num_chunks))


@pytest.mark.parametrize(
    "settings",
    [
        {"intra_period": 5},
        {"intra_period": -1, "refresh": 4},
        {"intra_period": 7, "refresh": 3},
        {"structure": "all-intra"},
        {"start_s": 0.2, "num_frames": 9, "intra_period": 4},
        {"start_s": 0.5, "num_frames": 1},
    ],
)
def test_structures_and_excerpts(tmp_path, clip, toy, no_processes, settings):
    check_same(clip, tmp_path, model=toy, **settings)


@pytest.mark.parametrize("settings", [{}, {"start_s": 0.5}, {"with_audio": False}])
def test_audio_lies_where_one_process_puts_it(tmp_path, toy, no_processes, settings):
    source = KIT["make_file"](tmp_path / "heard.mkv", count=30, audio="aac", size=(32, 32))
    check_same(source, tmp_path, model=toy, structure="all-intra", **settings)


def test_much_audio_between_pictures_ends_a_batch_alike(tmp_path, toy, no_processes, monkeypatch):
    monkeypatch.setattr(batches_module, "MAX_WAITING", 5)
    source = KIT["make_file"](tmp_path / "heard.mkv", count=30, audio="aac", size=(32, 32))
    check_same(source, tmp_path, model=toy, structure="all-intra")


def test_a_pipe_is_divided_too(tmp_path, toy, no_processes, monkeypatch):
    data = write_clip(tmp_path / "clip.y4m", draw(20)).read_bytes()
    written = []
    for name, workers in (("one.kin", None), ("many.kin", 2)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        encode("-", tmp_path / name, model=toy, structure="all-intra", workers=workers)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    assert len(no_processes[0].done) > 1


def test_a_target_is_searched_with_workers(tmp_path, clip, toy, no_processes):
    reports = [
        encode_to_target(
            str(clip),
            tmp_path / f"{workers}.kin",
            EncodeSettings(model=toy, structure="all-intra", threads=1, workers=workers),
            Target(psnr_db=18.5),
        )
        for workers in (None, 2)
    ]
    assert reports[0] == reports[1]
    assert (tmp_path / "None.kin").read_bytes() == (tmp_path / "2.kin").read_bytes()
    assert no_processes
    settings = EncodeSettings(model=toy, structure="all-intra", resume=True)
    with pytest.raises(ConfigError, match="--resume needs a crf"):
        encode_to_target(str(clip), tmp_path / "a.kin", settings, Target(psnr_db=18.5))


def test_an_interrupted_search_promises_nothing(tmp_path, clip, toy, no_processes, monkeypatch):
    """Its passes go to a folder that vanishes, so there is nothing to resume."""
    real = module.open_crew

    def open_crew(*arguments):
        crew = real(*arguments)
        crew.fail_at = 1
        return crew

    monkeypatch.setattr(module, "open_crew", open_crew)
    monkeypatch.setattr(rate_control, "first_guess", lambda *_: 30.0)
    settings, notes = EncodeSettings(model=toy, intra_period=4, workers=1), []
    target = Target(psnr_db=18.5)
    with pytest.raises(KeyboardInterrupt):
        encode_to_target(str(clip), tmp_path / "a.kin", settings, target, note=notes.append)
    assert no_processes[0].done
    assert notes == []
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_a_full_disk_in_a_search_is_that_of_its_target(tmp_path, clip, toy, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._ChunkedEncoding, "run", full)
    monkeypatch.setattr(rate_control, "first_guess", lambda *_: 30.0)
    settings, path = EncodeSettings(model=toy, intra_period=4, workers=1), tmp_path / "a.kin"
    with pytest.raises(FileError, match=f"^{re.escape(str(path))}: No space left on device$"):
        encode_to_target(str(clip), path, settings, Target(psnr_db=18.5))
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mkv"]


def test_a_killed_worker_costs_a_second_try(tmp_path, clip, tiny_model, importable, monkeypatch):
    encode(clip, tmp_path / "one.kin", model=tiny_model)
    monkeypatch.setattr(module, "EncodeTask", importable("worker_tasks").DyingEncodeTask)
    notes = []
    encode(clip, tmp_path / "many.kin", model=tiny_model, workers=2, note=notes.append)
    assert (tmp_path / "many.kin").read_bytes() == (tmp_path / "one.kin").read_bytes()
    assert len(notes) == 1
    assert "killed by SIGKILL" in notes[0]
    assert (tmp_path / "tally").stat().st_size == 2 + 1  # chunks of 16 and 4 frames, one twice


def test_few_chunks_lie_on_disk_at_a_time(tmp_path, toy, no_processes):
    source = write_clip(tmp_path / "clip.mkv", draw(30))
    check_same(source, tmp_path, model=toy, intra_period=3)
    assert len(no_processes[0].done) == 10
    assert no_processes[0].most_inputs <= 2 * 2 + 1


def test_progress_covers_all_chunks(tmp_path, clip, toy, no_processes):
    seen = []
    encode(
        clip,
        tmp_path / "a.kin",
        model=toy,
        workers=2,
        intra_period=4,
        progress=lambda *a: seen.append(a),
    )
    assert [done for done, _, _ in seen] == [4, 8, 12, 16, 20]
    assert {expected for _, expected, _ in seen} == {20}
    assert all(0 < a[2] < b[2] for a, b in itertools.pairwise(seen))


@pytest.fixture
def interrupted(tmp_path, clip, toy, no_processes, monkeypatch):
    """An encoding stopped in the middle: target, settings, notes."""
    target = tmp_path / "a.kin"
    settings = {"model": toy, "intra_period": 4, "workers": 1}
    notes = []
    real = module.open_crew

    def open_crew(*arguments):
        crew = real(*arguments)
        crew.fail_at = 3
        return crew

    with monkeypatch.context() as patch:
        patch.setattr(module, "open_crew", open_crew)
        with pytest.raises(KeyboardInterrupt):
            encode(clip, target, note=notes.append, **settings)
    assert not target.exists()
    assert no_processes[0].is_closed
    return target, settings, notes


def test_an_interrupted_encoding_keeps_finished_chunks_only(interrupted):
    target, _, notes = interrupted
    names = sorted(path.name for path in folder_beside(target).iterdir())
    chunks = [name.removesuffix(".kin") for name in names if name.endswith(".kin")]
    assert chunks
    kept = sorted(f"{chunk}.{kind}" for chunk in chunks for kind in ("json", "kin"))
    assert names == [*kept, "lock", "manifest.json"]
    assert len(notes) == 1
    assert "--resume goes on" in notes[0]


def test_resuming_codes_what_is_missing(tmp_path, clip, interrupted, no_processes):
    target, settings, _ = interrupted
    encode(clip, tmp_path / "one.kin", **{**settings, "workers": None})
    finished = set(no_processes[0].done)
    seen = []
    encode(
        clip,
        target,
        **{**settings, "resume": True, "workers": 2},
        progress=lambda *a: seen.append(a),
    )
    assert sorted({*no_processes[1].done, *finished}) == [0, 1, 2, 3, 4]
    assert not finished & set(no_processes[1].done)
    assert target.read_bytes() == (tmp_path / "one.kin").read_bytes()
    assert seen[-1][0] == 20
    assert not folder_beside(target).exists()


def test_damaged_chunks_are_coded_anew(tmp_path, clip, interrupted, no_processes):
    target, settings, _ = interrupted
    encode(clip, tmp_path / "one.kin", **{**settings, "workers": None})
    path = folder_beside(target) / "000000.kin"
    path.write_bytes(path.read_bytes()[:-1])
    encode(clip, target, **{**settings, "resume": True})
    assert 0 in no_processes[1].done
    assert target.read_bytes() == (tmp_path / "one.kin").read_bytes()


def test_a_changed_source_is_coded_anew_where_it_changed(tmp_path, clip, interrupted, no_processes):
    target, settings, _ = interrupted
    frames = draw(20)
    frames[1] = replace(frames[1], y=255 - frames[1].y)
    changed = write_clip(tmp_path / "changed.mkv", frames)
    manifest = folder_beside(target) / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["a source of bytes"] = changed.stat().st_size
    manifest.write_text(json.dumps(facts))
    notes = []
    encode(changed, target, **{**settings, "resume": True}, note=notes.append)
    encode(changed, tmp_path / "one.kin", **{**settings, "workers": None})
    assert target.read_bytes() == (tmp_path / "one.kin").read_bytes()
    assert "frames 0 to 3: the source has changed; they are coded anew" in notes
    assert 0 in no_processes[1].done
    assert 1 not in no_processes[1].done


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crf": 21}, "crf 20, not 21"),
        ({"intra_period": 5}, "intra period 4, not 5"),
        ({"threads": 2}, "threads 1, not 2"),
        ({"num_frames": 12}, "num frames None, not 12"),
        ({"source": "other"}, "a source of bytes"),
    ],
)
def test_resuming_something_else_is_refused(tmp_path, clip, interrupted, change, message):
    target, settings, _ = interrupted
    source = write_clip(tmp_path / "other.mkv", draw(19)) if change.pop("source", None) else clip
    before = sorted(folder_beside(target).iterdir())
    with pytest.raises(ConfigError, match=message):
        encode(source, target, **{**settings, **change, "resume": True})
    assert sorted(folder_beside(target).iterdir()) == before


def test_without_resume_all_begins_anew(tmp_path, clip, interrupted, no_processes):
    target, settings, _ = interrupted
    notes = []
    encode(clip, target, **{**settings, "crf": 30}, note=notes.append)
    assert len(no_processes[1].done) == 5
    assert any("unfinished encoding discarded" in note for note in notes)


def test_resuming_what_never_began_is_an_ordinary_encoding(tmp_path, clip, toy, no_processes):
    encode(clip, tmp_path / "one.kin", model=toy)
    encode(clip, tmp_path / "a.kin", model=toy, resume=True)
    assert (tmp_path / "a.kin").read_bytes() == (tmp_path / "one.kin").read_bytes()


def test_two_encodings_to_one_target_do_not_meet(tmp_path, clip, toy, no_processes):
    target = tmp_path / "a.kin"
    with (
        ChunkStore(target, {}, resume=False, note=print),
        pytest.raises(ConfigError, match="another process is at work"),
    ):
        encode(clip, target, model=toy, workers=1)
    assert not folder_beside(target).exists()


def test_a_failed_start_leaves_nothing(tmp_path, toy, no_processes):
    data = write_clip(tmp_path / "cut.y4m", draw(2)).read_bytes()
    (tmp_path / "cut.y4m").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(VideoError):
        encode(tmp_path / "cut.y4m", tmp_path / "a.kin", model=toy, workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.y4m"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path, clip, toy, no_processes):
    folder_beside(tmp_path / "a.kin").write_text("in the way")
    with pytest.raises(FileError, match="cannot be written"):
        encode(clip, tmp_path / "a.kin", model=toy, workers=1)


def test_a_single_frame_is_a_chunk(tmp_path, toy, no_processes):
    assert (
        check_same(write_clip(tmp_path / "one.mkv", draw(1)), tmp_path, model=toy).num_frames == 1
    )
    empty = tmp_path / "none.y4m"
    empty.write_bytes(b"YUV4MPEG2 W32 H32 F25:1\n")
    with pytest.raises(VideoError, match=r"none\.y4m: no picture to encode"):
        encode(empty, tmp_path / "a.kin", model=toy, workers=2)
    assert not list(tmp_path.glob("*a.kin*"))


def test_a_sequence_with_one_intra_frame_is_refused(tmp_path, clip, toy):
    with pytest.raises(ConfigError, match="only one"):
        encode(clip, tmp_path / "a.kin", model=toy, intra_period=-1, workers=2)
    with pytest.raises(ConfigError, match="0 workers"):
        encode(clip, tmp_path / "a.kin", model=toy, workers=0)


def test_a_worker_with_other_weights_is_refused(clip, tiny_model):
    class Header:
        weights_fingerprint = bytes(8)

    with pytest.raises(WeightsMismatchError, match="a worker has kinema"):
        EncodeTask(EncodeSettings(model=tiny_model), Header()).open()
