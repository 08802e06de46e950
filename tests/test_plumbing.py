"""Commands that are interrupted, run out of room, get several inputs, or talk to scripts."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from kinema.cli import program
from kinema.cli.sources import pair_up
from kinema.errors import ConfigError, FileError
from kinema.train import loop

TESTS = Path(__file__).parent
KIT = runpy.run_path(str(TESTS / "codec" / "kit.py"))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]
run, refused = KIT["run"], KIT["refused"]
clip, kin = KIT["clip"], KIT["kin"]
JSON_KEYS = TESTS.parent / "docs" / "JSON.md"


# --- out of room -------------------------------------------------------------------------------


@contextmanager
def room(num_bytes):
    """Files may not grow beyond this: what a full disk looks like to a program."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "clip.mkv", "a.kin"),
        ("encode", "clip.mkv", "a.kin", "--bitrate", "20k"),
        ("encode", "clip.mkv", "a.kin", "--bitrate", "20k", "--passes", "1"),
        ("encode", "clip.mkv", "a.kin", "--target-size", "500"),
        ("encode", "clip.mkv", "a.kin", "--target-psnr", "19.5"),
        ("decode", "clip.kin", "a.mkv"),
        ("decode", "clip.kin", "a.mp4"),
        ("decode", "clip.kin", "a.y4m"),
        ("decode", "clip.kin", "a.yuv"),
        ("decode", "clip.kin", "a%d.png"),
        ("cut", "clip.kin", "a.kin"),
        ("concat", "clip.kin", "clip.kin", "a.kin"),
    ],
)
def test_a_full_disk_ends_in_one_line_and_leaves_nothing(
    refused, tmp_path, kin, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with room(120):
        line = refused(*arguments)
    assert "File too large" in line
    assert "written" in line or "write" in line
    assert next(name for name in arguments if name.startswith("a")) in line
    assert ".kinema-" not in line  # nobody knows a temporary name
    assert ".part" not in line
    assert sorted(tmp_path.rglob("*")) == before


# --- interrupted -------------------------------------------------------------------------------

SLOW = """
    import sys, time
    sys.path.insert(0, sys.argv.pop(1))
    import tiny
    from kinema import cli
    from kinema.bitstream import container
    from kinema.codec import decoder, encoder, encoding, reader
    encoding.load_model = reader.load_model = lambda *_, **__: tiny.load_tiny()
    def slow(owner, name):
        work = getattr(owner, name)
        def call(*arguments, **settings):
            print("busy", flush=True)
            time.sleep(0.2)
            return work(*arguments, **settings)
        setattr(owner, name, call)
    slow(encoder.Encoder, "encode_batch")
    slow(decoder.Decoder, "decode_batch")
    slow(container.ContainerWriter, "write_frame")
    cli.main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("decode", "clip.kin", "a.mkv"),
        ("cut", "clip.kin", "a.kin"),
        pytest.param(("decode", "clip.kin", "a%d.png"), marks=pytest.mark.slow),
        pytest.param(("concat", "clip.kin", "clip.kin", "a.kin"), marks=pytest.mark.slow),
        pytest.param(("encode", "clip.y4m", "other.y4m", "folder"), marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_leaves_no_half_file(tmp_path, tiny_model, arguments):
    (tmp_path / "folder").mkdir()
    clip = KIT["write_clip"](tmp_path / "clip.y4m", KIT["draw"](200, (16, 16)))
    (tmp_path / "other.y4m").symlink_to(clip)
    KIT["encode_tiny"](tmp_path / "clip.kin", clip)
    before = sorted(tmp_path.rglob("*"))
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW), str(KIT["TINY"]["FOLDER"]), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=KIT["hear_ctrl_c"],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    while sorted(tmp_path.rglob("*")) == before:  # until it begins to write
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)  # on a busy machine
    assert (process.returncode, err) == (2, "kinema: interrupted\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "goal",
    [
        ("--crf", "0"),
        pytest.param(("--bitrate", "900k", "--passes", "1"), marks=pytest.mark.slow),
        pytest.param(("--bitrate", "900k"), marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_in_the_middle_of_encoding(tmp_path, goal):
    """The program as it is, with the shipped model; packets have reached the disk by then."""
    clip = KIT["write_clip"](tmp_path / "clip.y4m", KIT["draw"](400, (160, 96)))
    arguments = ("encode", clip.name, "a.kin", "--threads", "1", *goal)
    with subprocess.Popen(
        [sys.executable, "-m", "kinema.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        preexec_fn=KIT["hear_ctrl_c"],
    ) as process:
        while max((path.stat().st_size for path in tmp_path.rglob("*.part")), default=0) == 0:
            assert process.poll() is None, "it ended before anything was written"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert (process.returncode, out, err) == (2, "", "kinema: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.y4m"]


# --- several inputs ----------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path):
    """A folder of three videos, one of them broken, and what is no video; and where files go."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for number, name in enumerate(("b.mkv", "a.y4m")):
        KIT["write_clip"](tmp_path / "in" / name, KIT["draw"](2 + number))
    (tmp_path / "in" / "c.mp4").write_bytes(b"no video")
    (tmp_path / "in" / "notes.txt").write_text("no video")
    return tmp_path / "in", tmp_path / "out"


@pytest.mark.parametrize("inputs", ["folder", "files", "pattern"])
def test_one_failing_input_does_not_stop_the_others(run, shelf, inputs):
    folder, out = shelf
    names = [folder / name for name in ("a.y4m", "b.mkv", "c.mp4")]
    given = {"folder": [folder], "files": names, "pattern": [folder / "?.[mkvy4p]*"]}[inputs]
    status, shown, err = run("encode", *given, out)
    assert status == 2
    assert [line.partition(": ")[0] for line in shown.splitlines()] == [
        str(out / name) for name in ("a.kin", "b.kin")
    ]
    assert err.count("\n") == 1
    assert err.startswith(f"kinema: {folder / 'c.mp4'}: ")
    assert sorted(path.name for path in out.iterdir()) == ["a.kin", "b.kin"]
    assert len(KIT["packets_of"](out / "a.kin")) == 3


def test_several_inputs_as_json(run, shelf):
    folder, out = shelf
    status, shown, _ = run("encode", folder, out, "--json")
    result = json.loads(shown)
    assert (status, result["failed"]) == (2, 1)
    assert [file["source"] for file in result["files"]] == [
        str(folder / name) for name in ("a.y4m", "b.mkv", "c.mp4")
    ]
    assert [file.get("frames") for file in result["files"]] == [3, 2, None]
    assert str(folder / "c.mp4") in result["files"][2]["error"]
    (folder / "c.mp4").unlink()
    assert run("encode", folder, out, "--json", "--overwrite")[0] == 0
    status, _, err = run("encode", folder / "b.mkv", out)
    assert (status, err) == (
        2,
        f"kinema: {out / 'b.kin'} exists; overwriting it was not asked for\n",
    )


def test_what_several_inputs_cannot_mean_is_refused(refused, shelf, tmp_path):
    folder, out = shelf
    a, b = folder / "a.y4m", folder / "b.mkv"
    (tmp_path / "a.y4m").write_bytes(a.read_bytes())
    assert "need an existing folder" in refused("encode", a, b, tmp_path / "a.kin")
    assert "need an existing folder" in refused("encode", folder, tmp_path / "gone")
    line = refused("encode", a, tmp_path / "a.y4m", out)
    assert f"{a} and {tmp_path / 'a.y4m'} would both become {out / 'a.kin'}" in line
    assert "there are no such files" in refused("encode", tmp_path / "*.avi", out)
    assert "crf 64" in refused("encode", a, b, out, "--crf", "64")
    assert "standard input has no name" in refused("encode", "-", a, out)
    assert "no video and no .png" in refused("encode", out, out)
    assert not list(out.iterdir())


def test_names_of_what_several_inputs_become(tmp_path):
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "1.png").touch()
    inputs = ["x/film.part1.mkv", f"{tmp_path}/shots", "x/frame-%04d.png", "y/%d.png"]
    assert [path.name for _, path in pair_up(inputs, tmp_path)] == [
        "film.part1.kin", "shots.kin", "frame.kin", "y.kin"
    ]  # fmt: skip
    (tmp_path / "a[1].mkv").touch()
    name = str(tmp_path / "a[1].mkv")
    assert pair_up([name], tmp_path / "b.kin") == [(name, tmp_path / "b.kin")]
    assert pair_up(["a.mkv"], tmp_path / "b.kin") == [("a.mkv", tmp_path / "b.kin")]
    with pytest.raises(FileError, match="no such files"):
        pair_up(["gone[1].mkv"], tmp_path / "b.kin")
    with pytest.raises(ConfigError, match="existing folder"):
        pair_up(["a.mkv", "b.mkv"], tmp_path / "c.kin")


# --- editing -----------------------------------------------------------------------------------


def test_cut_and_concat_as_commands(run, tmp_path, kin):
    first, rest, whole = (tmp_path / f"{name}.kin" for name in ("first", "rest", "whole"))
    status, out, err = run("cut", kin, first, "--end", "0.08")
    assert (status, err) == (0, "")
    assert out == f"{first}: 2 frames, 0.080 s, {first.stat().st_size} bytes\n"
    assert run("cut", kin, rest, "--start", "0.08", "--exact")[0] == 0
    assert run("concat", first, rest, whole)[1].startswith(f"{whole}: 5 frames, 0.200 s, ")
    assert run("verify", whole)[0] == 0
    assert whole.read_bytes() == kin.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cut", "clip.kin", "a.kin", "--start", "1"), "ends at 0.200 s"),
        (("cut", "clip.kin", "a.kin", "--end", "0"), "end 0 s"),
        (("cut", "clip.mkv", "a.kin"), "clip.mkv: the file starts with"),
        (("cut", "gone.kin", "a.kin"), "gone.kin"),
        (("cut", "clip.kin", "clip.kin", "--overwrite"), "same file"),
        (("concat", "clip.kin"), "Missing argument"),
        (("concat", "clip.kin", "clip.kin"), "same file"),
        (("concat", "clip.kin", "empty.kin", "a.kin"), "empty.kin: the file ends after 0 bytes"),
        (("info", "empty.kin"), "empty.kin: the file ends after 0 bytes"),
        (("decode", "clip.kin", "-", "--json"), "--json and - both want standard output"),
    ],
)
def test_what_editors_can_get_wrong_ends_in_one_line(
    refused, tmp_path, kin, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.kin").touch()
    before = sorted(tmp_path.iterdir())
    assert message in refused(*arguments)
    assert sorted(tmp_path.iterdir()) == before


# --- scripts -----------------------------------------------------------------------------------


def documented(command):
    """Keys of a command's JSON, by its section in docs/JSON.md."""
    text = JSON_KEYS.read_text()
    section = re.search(rf"^## {command}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/JSON.md has no section {command}"
    return set(re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE))


class FakeTrainer:
    """Has trained already."""

    def __init__(self, config, report):
        report("a line of progress")
        self.group = SimpleNamespace(is_first=True)

    def run(self):
        return SimpleNamespace(stage=2, step=30, seconds=90.0, skipped=1)


def test_every_command_gives_one_json_object_with_the_documented_keys(
    run, tmp_path, clip, kin, monkeypatch
):
    monkeypatch.setattr(loop, "Trainer", FakeTrainer)
    commands = {
        "encode": (clip, tmp_path / "a.kin"),
        "decode": (kin, tmp_path / "a.mkv"),
        "verify": (kin,),
        "info": (kin,),
        "cut": (kin, tmp_path / "b.kin"),
        "concat": (kin, kin, tmp_path / "c.kin"),
        "train": ("intra-small",),
    }
    for name, arguments in commands.items():
        status, out, err = run(name, *arguments, "--json")
        assert status == 0, err
        assert out.count("\n") == 1
        assert json.loads(out).keys() == documented(name), name
    assert err == "a line of progress\n"
    one_pass = ("--bitrate", "40k", "--passes", "1", "--overwrite", "--json")
    keys = json.loads(run("encode", *commands["encode"], *one_pass)[1]).keys()
    assert keys == documented("encode") | {"buffer_peak_s"}
    assert "`buffer_peak_s`" in JSON_KEYS.read_text()
    models = json.loads(run("models", "--json")[1])
    assert documented("models") <= set.intersection(*(set(card) for card in models.values()))


def test_damage_as_json(run, tmp_path, kin):
    KIT["flipped"](kin, 2)
    for arguments in (("verify", kin), ("decode", kin, tmp_path / "a.mkv")):
        status, out, err = run(*arguments, "--json")
        result = json.loads(out)
        assert (status, result["frames"]) == (2, 4)
        assert result["lost"][0].startswith("frame 2 lost: packet at byte")
        assert result["lost"][0] in err


def test_every_command_has_json():
    from typer.main import get_command

    for name, command in get_command(program.app).commands.items():
        assert "--json" in {flag for option in command.params for flag in option.opts}, name


def test_completion_knows_commands_and_options(tmp_path):
    """What a shell asks for while a user types."""
    for typed, expected in (("kinema co", "concat"), ("kinema cut --ex", "--exact")):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "kinema.cli"],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("_KIN")},
                "_KINEMA_COMPLETE": "complete_bash",
                "COMP_WORDS": typed,
                "COMP_CWORD": str(typed.count(" ")),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [expected]
        assert "torch" not in done.stderr


def test_completion_can_be_installed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "kinema.cli", "--install-completion", "bash"],
        env={**os.environ, "HOME": str(tmp_path),
             "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    script = next((tmp_path / ".bash_completions").iterdir())
    assert "_KINEMA_COMPLETE=complete_bash" in script.read_text()
