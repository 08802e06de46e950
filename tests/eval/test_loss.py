"""The whole loss benchmark on a small clip: the toy system by its command line, and an anchor."""

import csv
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from kinema import cli
from kinema.codec import encoding, reader
from kinema.errors import ConfigError, VideoError
from kinema.eval import loss_streams
from kinema.eval.clips import prepare_clip
from kinema.eval.loss import LossConfig, run_losses
from kinema.eval.loss_results import MISSING, RIGHT, format_losses
from kinema.eval.loss_streams import anchor_streams, model_streams
from kinema.models import registry

TOY = runpy.run_path(str(Path(__file__).parents[1] / "codec" / "toy_video.py"))
WRITE_CLIP = runpy.run_path(str(Path(__file__).with_name("conftest.py")))["write_clip"]
COUNT = 12


@pytest.fixture
def clip_file(tmp_path):
    return WRITE_CLIP(tmp_path / "waves.y4m", 62, 46, COUNT)


@pytest.fixture
def clip(clip_file, tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return prepare_clip(clip_file, folder, COUNT)


@pytest.fixture
def toy(monkeypatch):
    """Two toy systems ship, one of them without P frames; commands run in this process."""
    torch.set_num_threads(1)
    models = {
        "toy": TOY["load_toy"](),
        "still": TOY["load_toy"](("all-intra",)),
    }
    shipped = {
        name: registry.ModelEntry(
            number=model.number, build=None, weights="", structures=model.structures, summary=""
        )
        for name, model in models.items()
    }
    for module in (registry, encoding, loss_streams):
        monkeypatch.setattr(module, "MODELS", shipped)
    for module in (encoding, reader):
        monkeypatch.setattr(module, "load_model", models.__getitem__)

    def call(command, *, what, accepted=(0,)):
        if command[1:3] != ["-m", "kinema.cli"]:
            return run_outside(command, what=what)
        monkeypatch.setattr(sys, "argv", command[2:])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        if stop.value.code not in accepted:
            raise VideoError(f"{what} ended with status {stop.value.code}")
        return None

    run_outside = loss_streams.run_measured
    monkeypatch.setattr(loss_streams, "run_measured", call)
    return models


@pytest.mark.usefixtures("toy", "needs_ffmpeg")
def test_a_run_loses_decodes_conceals_and_writes_everything(clip_file, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    folder = tmp_path / "out"
    config = LossConfig(
        clips=(clip_file,),
        anchors=("x264-ultrafast",),
        refreshes=(3, 6),
        percents=(10.0, 40.0),
        num_journeys=2,
        crf=20,
        num_threads=1,
        json_path=folder / "a.json",
        plot_path=folder / "a.png",
        export_dir=folder,
    )
    seen = []
    result = run_losses(config, seen.append)
    assert (seen[0].num_done, seen[-1].num_done, seen[-1].num_total) == (0, 5, 5)
    sent = [(s.codec, s.refresh) for s in result.sent]
    toys = [("kinema toy", 3), ("kinema toy", 6), ("kinema still, all intra", 1)]
    assert sent == [*toys, ("x264-ultrafast", 3), ("x264-ultrafast", 6)]
    assert result.refreshes == (3, 6)
    _check_ours(result)
    _check_anchor(result)
    _check_files(result, folder)


def _check_ours(result):
    for run in (run for run in result.runs if not run.sent.is_anchor):
        assert run.num_wrong == 0
        assert run.psnr == run.psnr_frozen
        for journey in run.journeys:
            expected, is_whole = "", True
            for index in range(COUNT):
                is_whole = (is_whole or index % run.sent.refresh == 0) and index not in journey.lost
                expected += RIGHT if is_whole else MISSING
            assert journey.states == expected
    stills = [run for run in result.runs if run.sent.refresh == 1]
    assert [run.frames_per_packet for run in stills] == [1.0] * 4
    patterns = {(r.kind, r.percent, tuple(j.lost for j in r.journeys)) for r in result.runs}
    assert len(patterns) == 4  # the same losses for all codecs


def _check_anchor(result):
    runs = [run for run in result.runs if run.sent.is_anchor]
    assert {len(run.journeys) for run in runs} == {2}
    assert any(run.num_wrong for run in runs)
    for run in runs:
        start = sum(run.sent.psnr) / COUNT
        assert run.psnr < start
        for journey in run.journeys:
            assert all(journey.states[index] == MISSING for index in journey.lost)
            right = [i for i, state in enumerate(journey.states) if state == RIGHT]
            assert [journey.psnr[i] for i in right] == [run.sent.psnr[i] for i in right]


def _check_files(result, folder):
    document = json.loads((folder / "a.json").read_text())
    assert (document["schema"], document["schema_version"]) == ("kinema-loss", 1)
    assert len(document["runs"]) == len(result.runs) == 20
    assert document["runs"][0]["journeys"][0]["states"] == result.runs[0].journeys[0].states
    with (folder / "losses.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["psnr"]) for row in rows] == [run.psnr for run in result.runs]
    with (folder / "loss_frames.csv").open(newline="") as stream:
        frames = list(csv.DictReader(stream))
    assert len(frames) == 20 * 2 * COUNT
    assert sum(row["is_lost"] == "True" for row in frames) == sum(r.num_lost for r in result.runs)
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    text = format_losses(result)
    for word in ("low-delay, one packet per frame", "per packet lost", "40 %", "bursts"):
        assert word in text


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("name", ["x264-ultrafast", "x265-ultrafast"])
def test_an_anchor_recovers_at_its_next_keyframe(clip, tmp_path, name):
    (stream,) = anchor_streams((name,), num_threads=1)
    coded, damaged = (tmp_path / f"{letter}{stream.suffix}" for letter in "ab")
    assert stream.encode(clip, coded, 4, 30) > 0
    sound = stream.decode(coded, clip, is_damaged=False)
    assert sorted(sound) == list(range(COUNT))
    assert sound[0].y.shape == (46, 62)
    stream.drop(coded, damaged, {5})
    rest = stream.decode(damaged, clip, is_damaged=True)
    assert 5 not in rest
    whole = [0, 1, 2, 3, 4, 8, 9, 10, 11]
    assert all((rest[k].y == sound[k].y).all() for k in whole)


def test_models_join_by_being_in_the_registry(toy):
    streams = model_streams(None, device="cpu", num_threads=1)
    assert [(s.name, s.has_refresh) for s in streams] == [
        ("kinema toy", True),
        ("kinema still, all intra", False),
    ]
    with pytest.raises(ConfigError, match="found model 'other', expected: toy, still"):
        model_streams(("other",), device="cpu", num_threads=1)


def test_standard_anchors_and_others():
    assert [s.name for s in anchor_streams(None, num_threads=1)] == ["x264-medium", "x265-medium"]
    assert anchor_streams((), num_threads=1) == ()
    with pytest.raises(ConfigError, match="random-access only"):
        anchor_streams(("svtav1-6",), num_threads=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clips": ()}, "found clips"),
        ({"clips": (Path("gone.mkv"),)}, "gone.mkv"),
        ({"refreshes": ()}, "found refreshes"),
        ({"refreshes": (8, 4)}, "found refreshes"),
        ({"refreshes": (1, 4)}, "found refreshes"),
        ({"percents": (120.0,)}, "120 % of loss"),
        ({"num_journeys": 0}, "sent 0 times"),
        ({"num_frames": 1}, "1 packets"),
    ],
)
def test_bad_settings_are_refused_before_any_work(clip_file, settings, message):
    with pytest.raises(ConfigError, match=message):
        LossConfig(**({"clips": (clip_file,)} | settings))


def test_nothing_to_run_is_refused(clip_file):
    with pytest.raises(ConfigError, match="neither models nor anchors"):
        run_losses(LossConfig(clips=(clip_file,), models=(), anchors=()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "paper"), "no --preset"),
        (("--intra-period", "8"), "no --intra-period"),
        (("--metrics", "vmaf"), "no --metrics"),
        (("--fresh",), "no --fresh"),
        (("--crf-points", "20,30"), "found 2 values"),
        (("--crf-points", "fine"), "--crf-points: found 'fine'"),
        (("--refresh", "4,x"), "--refresh: found '4,x'"),
        (("--refresh", "4.5"), "expected whole numbers"),
        (("--refresh", "1"), "found refreshes"),
        (("--models", "other"), "found model 'other'"),
        (("--journeys", "0"), "sent 0 times"),
    ],
)
def test_options_that_do_not_go_with_losses_end_in_one_line(
    clip_file, monkeypatch, capsys, options, message
):
    monkeypatch.setattr(sys, "argv", ["kinema", "bench", str(clip_file), "--loss", *options])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error
    assert error.count("\n") == 1
