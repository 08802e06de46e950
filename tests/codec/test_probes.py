"""Targets with P frames: short runs foretell what a sequence costs; whole encodings meet it."""

import runpy
from pathlib import Path

import pytest

from kinema.codec.decoding import verify_file
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.codec.probes import Probes, survey
from kinema.codec.rate_control import encode_to_target
from kinema.codec.target import Target

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
TOY = runpy.run_path(str(FOLDER / "toy_video.py"))
draw, write_clip = KIT["draw"], KIT["write_clip"]
SIZE = (48, 32)
INTRA, INTER = (1, ()), (1, (-1,))  # calls of the network: pictures, references


def test_a_survey_keeps_runs_of_frames(tmp_path):
    clip = write_clip(tmp_path / "a.y4m", draw(103, (16, 16)))
    seen = survey(str(clip), EncodeSettings(), run=4)
    assert seen.num_frames == 103
    starts = [frame.pts for frame in seen.frames[::4]]
    assert [frame.pts for frame in seen.frames] == [
        start + i for start in starts for i in range(4) if start + i < 103
    ]
    assert 6 <= len(starts) < 12
    assert starts[0] == 0
    assert starts[-1] > 80


@pytest.mark.parametrize("settings", [{"intra_period": 10}, {"intra_period": -1, "refresh": 3}])
def test_probes_code_runs_that_begin_with_an_intra_frame(tmp_path, toy, calls, settings):
    clip = write_clip(tmp_path / "a.mkv", draw(40, SIZE))
    settings = EncodeSettings(model=toy, crf=20, **settings)
    probes = Probes(str(clip), settings)
    calls.clear()
    outcome = probes.outcome(20.0)
    run = min(4, settings.refresh or 4)
    assert len(calls) > 20
    assert calls == [INTER if i % run else INTRA for i in range(len(calls))]
    report = encode_file(str(clip), tmp_path / "a.kin", settings)
    assert outcome.video_bytes == pytest.approx(report.video_bytes, rel=0.1)
    assert outcome.psnr_db == pytest.approx(report.psnr_yuv_611, abs=0.5)


@pytest.mark.parametrize("target", [{"size_bytes": 3000}, {"rate_kbps": 20}, {"psnr_db": 18.5}])
def test_targets_are_met(tmp_path, toy, target):
    clip = write_clip(tmp_path / "a.mkv", draw(30, SIZE))
    settings = EncodeSettings(model=toy, intra_period=8, refresh=5)
    report = encode_to_target(str(clip), tmp_path / "a.kin", settings, Target(**target))
    got = {
        "size_bytes": report.size_bytes,
        "rate_kbps": report.rate_kbps,
        "psnr_db": report.psnr_yuv_611,
    }
    (name,) = target
    tolerance = {"abs": 0.1} if name == "psnr_db" else {"rel": 0.015}
    assert got[name] == pytest.approx(target[name], **tolerance)
    assert [p.header.frame_type.name for p in KIT["packets_of"](tmp_path / "a.kin")[:10]] == list(
        "IPPPPIPPIP"
    )
    assert verify_file(tmp_path / "a.kin", model=toy).num_frames == 30
