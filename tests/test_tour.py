"""The tour in docs/tour.md, taken: every command and line of Python on it, with the real models.

Commands without pipes run in this process, to spare the start of a program for each.
"""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TOUR = TESTS.parent / "docs" / "tour.md"
KIT = runpy.run_path(str(TESTS / "codec" / "kit.py"))
run = KIT["run"]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TOUR.read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if not kind for line in text.splitlines()]
PYTHON = "\n".join(text for kind, text in BLOCKS if kind == "python")


@pytest.fixture
def shell(tmp_path):
    """Run a line as a user's shell does, with `kinema` and `ffmpeg` at hand."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "kinema"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kinema.cli "$@"\n')
    script.chmod(0o755)
    if shutil.which("ffmpeg") is None:
        imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
        (programs / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def call(line):
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        )
        return done.returncode, done.stdout, done.stderr

    return call


def test_every_line_of_the_tour_works(tmp_path, run, shell, monkeypatch, capsys):
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.chdir(folder)
    KIT["make_file"](folder / "holiday.mp4", count=20, size=(64, 48), audio="aac")
    for line in COMMANDS:
        words = shlex.split(line)
        is_plain = words[0] == "kinema" and not {"|", ">"} & set(words)
        status, _, err = run(*words[1:]) if is_plain else shell(line)
        notes = [text for text in err.splitlines() if "cannot hold 1 audio track" not in text]
        assert (status, notes) == (0, []), line
    exec(compile(PYTHON, str(TOUR), "exec"), {})  # our own page
    assert capsys.readouterr().out.splitlines()[-1] == "16"
    assert len(list(folder.glob("coded/*.kin"))) == 2
    assert not [path for path in folder.rglob("*") if path.suffix == ".part"]


def test_the_tour_shows_what_a_new_user_needs():
    assert "(docs/tour.md)" in (TESTS.parent / "README.md").read_text()
    assert {kind for kind, _ in BLOCKS} == {"", "python"}  # others would not be taken
    shown = "\n".join(COMMANDS)
    for command in ("encode", "info", "decode", "verify", "cut", "concat"):
        assert f"kinema {command} " in shown
    for flag in ("--start", "--bitrate", "--target-size", "--model dual-domain", "--json"):
        assert flag in shown
    assert "kinema.open(" in PYTHON
