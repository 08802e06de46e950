"""Targets are met, from below for sizes, or refused; nothing but the best pass is left."""

import math
import runpy
from pathlib import Path

import pytest

from kinema.codec import rate_control
from kinema.codec.encoding import EncodeSettings
from kinema.codec.probes import num_probes, survey
from kinema.codec.rate_control import encode_to_target
from kinema.codec.target import Outcome, Target
from kinema.errors import ConfigError, FileError, VideoError

KIT = runpy.run_path(str(Path(__file__).with_name("kit.py")))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]


@pytest.fixture
def clip(tmp_path):
    return KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](8, (64, 48)))


def reach(source, path, target, **settings):
    return encode_to_target(
        str(source), path, EncodeSettings(**settings), target, note=lambda _: None
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size_bytes", [1050, 1200, 1450])
def test_a_size_is_met_from_below(tmp_path, clip, size_bytes):
    report = reach(clip, tmp_path / "a.kin", Target(size_bytes=size_bytes))
    assert 0.98 * size_bytes <= report.size_bytes <= size_bytes
    assert (tmp_path / "a.kin").stat().st_size == report.size_bytes
    assert names(tmp_path) == ["a.kin", "clip.mkv"]


def test_a_size_counts_the_audio(tmp_path):
    source = KIT["make_file"](tmp_path / "heard.mkv", count=12, audio="aac", size=(48, 48))
    alone = KIT["encoded"](tmp_path / "worst.kin", source, crf=63).stat().st_size
    report = reach(source, tmp_path / "a.kin", Target(size_bytes=alone + 500))
    assert 0.985 * (alone + 500) <= report.size_bytes <= alone + 500
    with pytest.raises(ConfigError, match="audio alone takes"):
        reach(source, tmp_path / "b.kin", Target(size_bytes=500))


@pytest.mark.parametrize("rate_kbps", [25.0, 34.0])
def test_a_bitrate_is_met_from_below(tmp_path, clip, rate_kbps):
    report = reach(clip, tmp_path / "a.kin", Target(rate_kbps=rate_kbps))
    assert 0.985 * rate_kbps <= report.rate_kbps <= rate_kbps


def test_a_psnr_is_met(tmp_path, clip):
    ends = [reach_crf(clip, tmp_path / f"{crf}.kin", crf).psnr_yuv_611 for crf in (8, 50)]
    for part in (0.3, 0.7):
        psnr_db = ends[0] + part * (ends[1] - ends[0])
        report = reach(clip, tmp_path / "a.kin", Target(psnr_db=psnr_db), overwrite=True)
        assert abs(report.psnr_yuv_611 - psnr_db) <= 0.1


def reach_crf(source, path, crf):
    return rate_control.encode_file(str(source), path, EncodeSettings(crf=crf))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target(size_bytes=200), r"size 200 bytes cannot .* span size \d+ bytes to size \d+ bytes"),
        (Target(size_bytes=10**9), "cannot be reached"),
        (Target(rate_kbps=0.5), r"bitrate 0.5 kbit/s cannot .* span bitrate"),
        (Target(psnr_db=90.0), r"PSNR 90.00 dB cannot .* span PSNR"),
        (Target(psnr_db=1.0), "cannot be reached"),
    ],
)
def test_what_no_crf_reaches_is_refused_with_the_range(tmp_path, clip, target, message):
    with pytest.raises(ConfigError, match=message) as caught:
        reach(clip, tmp_path / "a.kin", target)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["clip.mkv"]


@pytest.mark.parametrize(
    "target",
    [
        Target(),
        Target(rate_kbps=0.0),
        Target(psnr_db=math.nan),
        Target(rate_kbps=math.inf),
        Target(size_bytes=-5),
        Target(rate_kbps=1.0, psnr_db=30.0),
    ],
)
def test_what_is_no_target_is_refused(tmp_path, clip, target):
    with pytest.raises(ConfigError, match="one of bitrate, size and PSNR"):
        reach(clip, tmp_path / "a.kin", target)


def test_standard_input_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="more than once"):
        reach("-", tmp_path / "a.kin", Target(psnr_db=30.0))


def test_targets_are_checked_before_the_search(tmp_path, clip):
    existing = tmp_path / "a.kin"
    existing.write_bytes(b"mine")
    with pytest.raises(FileError, match="overwriting"):
        reach("no such file", existing, Target(psnr_db=30.0))
    with pytest.raises(ConfigError, match=r"expected \.kin"):
        reach("no such file", tmp_path / "a.mp4", Target(psnr_db=30.0))
    assert existing.read_bytes() == b"mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, VideoError, OSError])
def test_a_failing_pass_loses_nothing(tmp_path, clip, monkeypatch, error):
    existing = tmp_path / "a.kin"
    existing.write_bytes(b"mine")
    encode_file, calls = rate_control.encode_file, []

    def fail_later(*arguments, **settings):
        calls.append(arguments)
        if len(calls) == 2:
            raise error
        return encode_file(*arguments, **settings)

    monkeypatch.setattr(rate_control, "encode_file", fail_later)
    monkeypatch.setattr(rate_control, "first_guess", lambda *_: 45.0)
    with pytest.raises(FileError if error is OSError else error):
        reach(clip, existing, Target(size_bytes=1300), overwrite=True)
    assert len(calls) == 2
    assert existing.read_bytes() == b"mine"
    assert names(tmp_path) == ["a.kin", "clip.mkv"]


@pytest.mark.parametrize("guess", [0.0, 20.0, 63.0])
def test_a_bad_guess_is_corrected(tmp_path, clip, monkeypatch, guess):
    monkeypatch.setattr(rate_control, "first_guess", lambda *_: guess)
    report = reach(clip, tmp_path / "a.kin", Target(size_bytes=1100))
    assert 0.85 * 1100 <= report.size_bytes <= 1100


def test_the_best_pass_is_kept(tmp_path, clip, monkeypatch):
    """Sizes that jump about: the largest one below the target wins, wherever it came."""
    sizes = iter([1700, 2300, 1950, 2200])
    reports = {}

    def encode_file(source, path, settings, **_):
        size = next(sizes)
        path.write_bytes(bytes(size))
        reports[size] = rate_control.EncodeReport(
            num_frames=1, width=1, height=1, seconds=1.0, size_bytes=size, video_bytes=size,
            psnr_y=1.0, psnr_u=1.0, psnr_v=1.0, crf=settings.crf,
        )  # fmt: skip
        return reports[size]

    monkeypatch.setattr(rate_control, "encode_file", encode_file)
    monkeypatch.setattr(rate_control, "first_guess", lambda *_: 30.0)
    report = reach(clip, tmp_path / "a.kin", Target(size_bytes=2000))
    assert report is reports[1950]
    assert (tmp_path / "a.kin").stat().st_size == 1950


def test_excess_is_zero_in_the_middle_of_what_is_allowed():
    target = Target(size_bytes=10_000)
    exact = Outcome(video_bytes=9000, audio_bytes=1000, seconds=1, psnr_db=30)
    assert target.excess(exact) == pytest.approx(target.tolerance)
    assert Target(psnr_db=30).excess(exact) == 0
    assert Target(rate_kbps=72).excess(exact) == pytest.approx(Target(rate_kbps=1).tolerance)


def test_a_survey_sees_frames_from_everywhere(tmp_path):
    clip = KIT["write_clip"](tmp_path / "a.y4m", KIT["draw"](100, (16, 16)))
    seen = survey(str(clip), EncodeSettings())
    assert seen.num_frames == 100
    assert seen.seconds == 4.0
    assert 24 <= len(seen.frames) < 48
    assert seen.frames[-1].pts > 90
    part = survey(str(clip), EncodeSettings(start_s=1.0, num_frames=10))
    assert (part.num_frames, part.seconds) == (10, 0.4)
    assert num_probes(KIT["video_format"](7680, 4320)) == 4
