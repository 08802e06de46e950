"""The whole benchmark on synthetic clips, with a stand-in for our codec, and all its outputs."""

import csv
import json
from functools import partial

import pytest

from kinema.errors import ConfigError
from kinema.eval import bench
from kinema.eval.bench import BenchConfig, run_bench
from kinema.eval.compare import average_gains
from kinema.eval.exports import to_compressai, to_dcvc
from kinema.eval.model_runs import ModelRunner
from kinema.eval.plots import plot_result
from kinema.eval.reports import format_report
from kinema.eval.results import load_result

HALF_A_FILE = '{"schema": "kinema-bench", "schema_version": 1, "conditions": {}}'
QUALITIES = (16.0, 24.0, 32.0, 40.0)


@pytest.fixture
def outcome(even_clip, odd_clip, tmp_path, stand_in, monkeypatch, needs_ffmpeg):
    for name in ("bjontegaard", "matplotlib"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    monkeypatch.setattr(bench, "ModelRunner", partial(ModelRunner, program=stand_in))
    config = BenchConfig(
        clips=(even_clip, odd_clip),
        models=("toy",),
        anchors=("x264-ultrafast",),
        crfs=(2.0, 6.0, 12.0, 24.0),
        anchor_qualities=QUALITIES,
        num_frames=3,
        cache_dir=tmp_path / "cache",
        json_path=tmp_path / "out" / "result.json",
        plot_path=tmp_path / "out" / "curves.png",
        export_dir=tmp_path / "out",
    )
    seen = []
    return run_bench(config, seen.append), seen, tmp_path / "out"


def test_a_run_measures_compares_and_writes_everything(outcome):
    result, seen, folder = outcome
    assert result.codecs == ("x264-ultrafast", "kinema toy")
    assert [clip.num_frames for clip in result.clips] == [3, 3]
    assert [len(curve.points) for curve in result.curves] == [4, 4, 4, 4]
    assert (seen[0].num_done, seen[-1].num_done, seen[-1].num_total) == (0, 16, 16)
    assert [c.clip for c in result.comparisons] == ["waves", "odd", "class mean"]
    assert all(c.reference == "x264-ultrafast" for c in result.comparisons)
    _check_report(result)
    _check_layouts(result, folder)
    _check_files(result, folder)


def _check_report(result):
    text = format_report(result)
    assert "all-intra, intra period 1, YUV 4:2:0 8-bit PSNR 6:1:1" in text
    assert "against x264-ultrafast (psnr_yuv_611)" in text
    for word in ("waves", "odd", "class mean", "mean of", "encode fps", "decode MB"):
        assert word in text
    (gain,) = average_gains(result)
    rates = [c.bd.bd_rate_percent for c in result.comparisons[:2]]
    assert gain.num_clips == 2
    assert gain.bd_rate_percent == pytest.approx(sum(rates) / 2)


def _check_layouts(result, folder):
    points = [curve.points for curve in result.curves_of("kinema toy")]
    compressai = json.loads((folder / "compressai" / "kinema-toy.json").read_text())
    assert compressai == json.loads(json.dumps(to_compressai(result, "kinema toy")))
    series = compressai["results"]
    assert {len(values) for values in series.values()} == {4}
    assert series["bitrate"][0] == pytest.approx(
        (points[0][0].rate_kbps + points[1][0].rate_kbps) / 2
    )
    scores = [clip[0].scores for clip in points]
    weighted = [(4 * s.psnr_y + s.psnr_u + s.psnr_v) / 6 for s in scores]
    assert series["psnr-yuv"][0] == pytest.approx(sum(weighted) / 2)
    dcvc = json.loads((folder / "dcvc" / "kinema-toy.json").read_text())
    assert dcvc == json.loads(json.dumps(to_dcvc(result, "kinema toy")))
    point = dcvc["all-intra"]["waves"]["002"]
    assert point["ave_all_frame_bpp"] == point["ave_i_frame_bpp"] == points[0][2].bpp
    assert point["ave_all_frame_psnr"] == points[0][2].scores.psnr_yuv_611
    assert (point["i_frame_num"], point["p_frame_num"]) == (3, 0)
    assert point["ave_p_frame_bpp"] == 0


def _check_files(result, folder):
    assert load_result(folder / "result.json") == result
    assert json.loads((folder / "result.json").read_text())["schema_version"] == 1
    with (folder / "points.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 16
    assert float(rows[0]["bpp"]) == result.curves[0].points[0].bpp
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="vmaf"):
        plot_result(result, folder / "other.png", metric="vmaf")
    with pytest.raises(ConfigError, match="cannot draw"):
        plot_result(result, folder / "curves.docx")


def test_other_json_is_not_taken_for_a_result(tmp_path):
    for text in ("[]", "{", '{"schema": "kinema-bench", "schema_version": 99}', '"x"', HALF_A_FILE):
        path = tmp_path / "other.json"
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"other\.json"):
            load_result(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"clips": ()},
        {"clips": ("missing.mkv",)},
        {"clips": ("waves.y4m", "waves.y4m")},
        {"crfs": (10.0, 20.0, 30.0)},
        {"crfs": (10.0, 10.0, 20.0, 30.0)},
        {"anchor_qualities": (20.0,)},
        {"extra_metrics": ("lpips",)},
    ],
)
def test_bad_settings_are_refused_before_any_work(even_clip, settings):
    folder = even_clip.parent
    clips = tuple(folder / name for name in settings.get("clips", ("waves.y4m",)))
    with pytest.raises(ConfigError, match="found"):
        BenchConfig(**(settings | {"clips": clips}))


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"anchors": ("vvenc-medium",)}, "random-access only"),
        ({"preset": "paper"}, "low-delay"),
        ({"reference": "x265-slow"}, "found reference"),
        ({"anchors": (), "models": ()}, "neither models nor anchors"),
    ],
)
def test_contradictions_are_refused_before_any_work(even_clip, settings, message):
    with pytest.raises(ConfigError, match=message):
        run_bench(BenchConfig(clips=(even_clip,), **settings))


def test_a_missing_package_is_named_before_any_work(even_clip, monkeypatch):
    def missing(name):
        raise ConfigError(f"{name}: pip install kinema[bench]")

    monkeypatch.setattr(bench, "import_extra", missing)
    with pytest.raises(ConfigError, match=r"pip install kinema\[bench\]"):
        run_bench(BenchConfig(clips=(even_clip,)))
