"""The commands as users meet them: exit status, one line of trouble, no traceback, no leftovers."""

import io
import json
import runpy
import sys
from pathlib import Path

import pytest

import kinema
from kinema import cli
from kinema.cli import program
from kinema.codec import decoding, encoding, reader
from kinema.codec.target import parse_amount
from kinema.errors import ConfigError, FileError
from kinema.models import registry

KIT = runpy.run_path(str(Path(__file__).parent / "codec" / "kit.py"))
TOY = runpy.run_path(str(Path(__file__).parent / "codec" / "toy_video.py"))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]
run, refused = KIT["run"], KIT["refused"]
clip, kin = KIT["clip"], KIT["kin"]
HEAVY = ("torch", "numpy", "av", "constriction", "matplotlib")


@pytest.fixture
def toy(monkeypatch):
    """A model with P frames, among those that ship."""
    model = TOY["load_toy"]()
    entry = registry.ModelEntry(
        number=model.number, build=None, weights="", structures=model.structures, summary=""
    )
    monkeypatch.setitem(registry.MODELS, "toy", entry)
    for module in (encoding, reader):
        monkeypatch.setattr(module, "load_model", lambda name: {"toy": model}[name])


def test_encode_decode_info_and_verify(run, tmp_path, clip):
    kin, target = tmp_path / "a.kin", tmp_path / "a.mkv"
    status, out, err = run("encode", clip, kin, "--crf", "20.5", "--threads", "1")
    assert (status, err) == (0, "")
    assert out.startswith(f"{kin}: 5 frames, {kin.stat().st_size} bytes, ")
    assert "crf 20.5" in out
    assert run("decode", kin, target) == (0, "", "")
    assert len(KIT["read"](target)[1]) == 5
    status, out, _ = run("info", kin)
    assert status == 0
    assert "frames: 5\n" in out
    status, out, _ = run("verify", kin)
    assert (status, out) == (0, f"{kin}: 5 frames, all as the encoder saw them\n")


def test_figures_as_json(run, tmp_path, clip):
    kin = tmp_path / "a.kin"
    status, out, _ = run("encode", clip, kin, "--json", "--frames", "3")
    figures = json.loads(out)
    assert (status, figures["frames"], figures["crf"]) == (0, 3, 28.0)
    assert figures["size_bytes"] == kin.stat().st_size
    facts = json.loads(run("info", kin, "--json")[1])
    assert (facts["frames"], facts["width"], facts["height"]) == (3, 48, 32)
    assert facts["rate_kbps"] == figures["rate_kbps"]
    assert facts["bpp"] == figures["bpp"]
    models = json.loads(run("models", "--json")[1])
    assert models.keys() == {"intra", "dual-domain", "lstvc", "cama"}


def test_info_and_encode_agree_about_the_rate_beside_audio(run, tmp_path):
    source = KIT["make_file"](tmp_path / "a.mkv", count=12, audio="aac", size=(32, 32))
    figures = json.loads(run("encode", source, tmp_path / "a.kin", "--json")[1])
    facts = json.loads(run("info", tmp_path / "a.kin", "--json")[1])
    assert facts["size_bytes"] - facts["audio_bytes"] == figures["video_bytes"]
    assert facts["audio"].startswith("aac 48000 Hz stereo")


@pytest.mark.parametrize(
    "goal", [("--bitrate", "0.03M"), ("--target-size", "1k"), ("--target-psnr", "18")]
)
def test_goals_other_than_crf(run, tmp_path, clip, goal):
    status, out, err = run("encode", clip, tmp_path / "a.kin", *goal, "--json")
    figures = json.loads(out) if status == 0 else None
    assert (status, err) == (0, "") or "cannot be reached: crf 0 to 63 span" in err
    assert figures is None or figures["size_bytes"] == (tmp_path / "a.kin").stat().st_size


def test_every_flag_of_encode_changes_something(run, tmp_path):
    source = KIT["make_file"](tmp_path / "a.mkv", count=12, audio="aac", size=(32, 32))
    kin = tmp_path / "a.kin"
    run("encode", source, kin, "--overwrite")
    usual = kin.read_bytes()
    for flags in (("--crf", "30"), ("--start", "0.1"), ("--frames", "5"), ("--no-audio",)):
        assert run("encode", source, kin, "--overwrite", *flags)[0] == 0
        assert kin.read_bytes() != usual
    same = ("--model", "intra", "--structure", "all-intra", "--intra-period", "1")
    same += ("--refresh", "0", "--device", "cpu")
    assert run("encode", source, kin, "--overwrite", *same)[0] == 0
    assert kin.read_bytes() == usual


@pytest.mark.parametrize(
    ("flags", "structure", "period", "intra"),
    [
        ((), "low-delay", 32, 1),
        (("--structure", "low-delay", "--intra-period", "2"), "low-delay", 2, 3),
        (("--intra-period", "-1", "--refresh", "3"), "low-delay", -1, 2),
        (("--structure", "all-intra"), "all-intra", 1, 5),
    ],
)
def test_structures_as_flags(run, toy, tmp_path, clip, flags, structure, period, intra):
    kin = tmp_path / "a.kin"
    status, _, err = run("encode", clip, kin, "--model", "toy", *flags)
    assert (status, err) == (0, "")
    facts = json.loads(run("info", kin, "--json")[1])
    assert (facts["structure"], facts["intra_period"]) == (structure, period)
    assert (facts["frames"], facts["intra_frames"]) == (5, intra)
    assert f"intra period: {period}\n" in run("info", kin)[1]
    assert run("verify", kin)[0] == 0
    assert run("decode", kin, tmp_path / "a.mkv", "--start", "0.12")[0] == 0
    assert len(KIT["read"](tmp_path / "a.mkv")[1]) == 2


def test_frames_that_fall_with_another_are_told_in_short(run, refused, toy, tmp_path, clip):
    kin = tmp_path / "a.kin"
    run("encode", clip, kin, "--model", "toy", "--refresh", "4")
    KIT["flipped"](kin, 1)
    line = refused("verify", kin)
    assert "frames 2 to 3 lost: they refer to frame 1, which is lost; 2 others are good" in line


def test_pipes(tmp_path, kin, monkeypatch, capsysbinary):
    data = KIT["write_clip"](tmp_path / "a.y4m", KIT["draw"](5)).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    monkeypatch.setattr(sys, "argv", ["kinema", "encode", "-", str(tmp_path / "b.kin")])
    with pytest.raises(SystemExit):
        cli.main()
    capsysbinary.readouterr()
    monkeypatch.setattr(sys, "argv", ["kinema", "decode", str(kin), "-", "--start", "0.08"])
    with pytest.raises(SystemExit):
        cli.main()
    out = capsysbinary.readouterr().out
    assert out.startswith(b"YUV4MPEG2 W48 H32 F25:1")
    assert out.count(b"FRAME\n") == 3
    assert len(KIT["packets_of"](tmp_path / "b.kin")) == 5


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_pipes_that_are_terminals_are_refused(refused, kin, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert "terminal" in refused("encode", "-", tmp_path / "a.kin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encode", "clip.mkv", "a.kin", "--crf", "64"), "crf 64"),
        (("encode", "clip.mkv", "a.kin", "--crf", "nan"), "crf nan"),
        (("encode", "clip.mkv", "a.kin", "--crf", "20", "--bitrate", "1M"), "choose one of"),
        (("encode", "clip.mkv", "a.kin", "--bitrate", "fast"), "--bitrate 'fast'"),
        (("encode", "clip.mkv", "a.kin", "--bitrate", "-3k"), "--bitrate '-3k'"),
        (("encode", "clip.mkv", "a.kin", "--target-size", "0"), "above 0"),
        (("encode", "clip.mkv", "a.kin", "--start", "nan"), "start nan"),
        (("encode", "clip.mkv", "a.kin", "--frames", "0"), "0 frames"),
        (("encode", "clip.mkv", "a.kin", "--model", "lstm"), "unknown model"),
        (("encode", "clip.mkv", "a.kin", "--structure", "low-delay"), "can do all-intra"),
        (("encode", "clip.mkv", "a.kin", "--structure", "random-access"), "can do all-intra"),
        (("encode", "clip.mkv", "a.kin", "--intra-period", "32"), "every frame is intra"),
        (("encode", "clip.mkv", "a.kin", "--refresh", "8"), "every frame is intra"),
        (("encode", "clip.mkv", "a.kin", "--device", "tpu"), "unknown device"),
        (("encode", "clip.mkv", "a.kin", "--threads", "0"), "0 threads"),
        (("encode", "clip.mkv", "clip.kin"), "overwriting"),
        (("encode", "clip.mkv", "a.mp4"), "expected .kin"),
        (("encode", "gone.mkv", "a.kin"), "gone.mkv"),
        (("encode", "clip.kin", "a.kin"), "no video that FFmpeg can read"),
        (("encode", "clip.kin", "clip.kin", "--overwrite"), "same file"),
        (("encode", "-", "a.kin", "--target-psnr", "30"), "more than once"),
        (("encode", "clip.mkv"), "Missing argument"),
        (("encode", "clip.mkv", "a.kin", "--crf", "much"), "valid number"),
        (("decode", "gone.kin", "a.mkv"), "gone.kin"),
        (("decode", "clip.mkv", "a.mkv"), "starts with"),
        (("decode", "clip.kin", "a.txt"), "ends in .txt"),
        (("decode", "clip.kin", "clip.mkv"), "exists"),
        (("decode", "clip.kin", "a.mkv", "--start", "-1"), "start -1"),
        (("decode", "clip.kin", "a.mkv", "--start", "99"), "the file has 5 frames"),
        (("decode", "clip.kin", "/proc/a.yuv"), "/proc/a.yuv"),
        (("decode", "clip.kin", "/proc/a.mp4"), "/proc/a.mp4"),
        (("encode", "clip.mkv", "/proc/a.kin"), "/proc/a.kin"),
        (("info", "clip.mkv"), "starts with"),
        (("info", "."), "."),
        (("verify", "gone.kin"), "gone.kin"),
        (("train", "intra-large"), "unknown recipe"),
        (("train", "intra-small", "--data", "gone"), "gone is not a folder"),
        (("bench", "gone.mkv"), "gone.mkv"),
        (("dance",), "No such command"),
        (("encode", "--dance"), "No such option"),
    ],
)
def test_what_users_can_get_wrong_ends_in_one_line(
    refused, tmp_path, kin, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    before = sorted(tmp_path.iterdir())
    assert message in refused(*arguments)
    assert sorted(tmp_path.iterdir()) == before


def test_damage_is_told_and_the_rest_decoded(run, refused, tmp_path, kin):
    KIT["flipped"](kin, 2)
    line = refused("decode", kin, tmp_path / "a.mkv")
    assert "frame 2 lost: packet at byte" in line
    assert line.endswith(f"4 others are in {tmp_path / 'a.mkv'}\n")
    assert len(KIT["read"](tmp_path / "a.mkv")[1]) == 4
    assert "4 others are good" in refused("verify", kin)
    assert "damaged places: 1" in run("info", kin)[1]


def test_much_damage_is_told_in_short(refused, tmp_path):
    kin = KIT["encoded"](tmp_path / "a.kin", KIT["write_clip"](tmp_path / "a.mkv", KIT["draw"](12)))
    for index in (10, 8, 6, 4, 2):
        packet = KIT["packets_of"](kin)[index]
        data = kin.read_bytes()
        kin.write_bytes(data[: packet.offset] + b"\0" + data[packet.offset + 1 :])
    line = refused("verify", kin)
    assert line.count("lost:") == 3
    assert "2 more damaged places; 7 others are good" in line


def test_a_truncated_file_gives_what_it_has(refused, tmp_path, kin):
    end = KIT["packets_of"](kin)[3].offset
    kin.write_bytes(kin.read_bytes()[:end])
    assert "unknown frames lost" in refused("decode", kin, tmp_path / "a.mkv")
    assert len(KIT["read"](tmp_path / "a.mkv")[1]) == 3


def test_notes_go_to_standard_error(run, tmp_path):
    source = KIT["write_clip"](tmp_path / "a.mkv", KIT["draw"](2), rotation=90)
    run("encode", source, tmp_path / "a.kin")
    status, out, err = run("decode", tmp_path / "a.kin", tmp_path / "b.y4m")
    assert (status, out) == (0, "")
    assert err == f"note: {tmp_path / 'b.y4m'}: .y4m cannot hold rotation by 90 degrees\n"


def test_help_and_version(run):
    for arguments in ((), ("--help",), ("encode", "--help")):
        status, out, err = run(*arguments)
        assert (status, err) == (0, "")
        assert "Usage:" in out
    assert run("--version") == (0, f"kinema {kinema.__version__}\n", "")


def test_a_bug_is_not_hidden(monkeypatch, clip, tmp_path):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(encoding, "encode_file", broken)
    monkeypatch.setattr(sys, "argv", ["kinema", "encode", str(clip), str(tmp_path / "a.kin")])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError("disk full")])
def test_interruptions_end_in_one_line(refused, monkeypatch, clip, tmp_path, error):
    def interrupted(*_, **__):
        raise error

    monkeypatch.setattr(encoding, "encode_file", interrupted)
    words = {KeyboardInterrupt: "interrupted", MemoryError: "out of memory"}
    assert words.get(error, "disk full") in refused("encode", clip, tmp_path / "a.kin")


@pytest.mark.parametrize(
    ("text", "value"), [("300k", 3e5), ("2.5M", 2.5e6), ("1G", 1e9), ("17", 17.0), ("1e3", 1000.0)]
)
def test_amounts(text, value):
    assert parse_amount(text, "--x") == value


@pytest.mark.parametrize("text", ["", "k", "-1", "nan", "inf", "1T", "1e999"])
def test_amounts_that_are_none(text):
    with pytest.raises(ConfigError, match="--x"):
        parse_amount(text, "--x")


def test_a_reader_that_has_seen_enough_ends_quietly(run, monkeypatch):
    def gone(*_, **__):
        try:
            raise BrokenPipeError(32, "Broken pipe")
        except OSError as error:
            raise FileError("standard output: cannot be written") from error

    redirected = []
    monkeypatch.setattr(decoding, "decode_file", gone)
    monkeypatch.setattr(program.os, "dup2", lambda *handles: redirected.append(handles))
    monkeypatch.setattr(program.sys, "stdout", sys.__stdout__)
    assert run("decode", "a.kin", "a.y4m")[0] == 2
    assert len(redirected) == 1


def test_a_bitrate_is_held_in_one_pass_on_demand(tmp_path, clip, run, refused):
    target = tmp_path / "paced.kin"
    paced = ("--bitrate", "40k", "--buffer", "0.5", "--lookahead", "2")
    status, out, _ = run("encode", clip, target, *paced, "--passes", "1", "--json")
    assert status == 0
    assert 0 < json.loads(out)["buffer_peak_s"] <= 0.5
    assert "--buffer" in run("encode", "--help")[1]
    for wrong in ((*paced, "--passes", "2"), ("--buffer", "1"), ("--passes", "1")):
        refused("encode", clip, tmp_path / "b.kin", *wrong)
