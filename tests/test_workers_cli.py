"""Workers as users meet them: real commands, real signals, the shipped model."""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KIT = runpy.run_path(str(Path(__file__).parent / "codec" / "kit.py"))
pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 500


@pytest.fixture
def clip(tmp_path):
    return KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](100, (160, 96)))


def command(*arguments):
    return [sys.executable, "-m", "kinema.cli", *map(str, arguments)]


def run(*arguments):
    done = subprocess.run(command(*arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_commands_with_workers_write_what_one_process_writes(tmp_path, clip):
    run("encode", clip, tmp_path / "one.kin", "--threads", 1)
    run("encode", clip, tmp_path / "many.kin", "--threads", 1, "--workers", 2)
    assert (tmp_path / "one.kin").read_bytes() == (tmp_path / "many.kin").read_bytes()
    run("decode", tmp_path / "one.kin", tmp_path / "one.y4m")
    run("decode", tmp_path / "one.kin", tmp_path / "many.y4m", "--workers", 2)
    assert (tmp_path / "one.y4m").read_bytes() == (tmp_path / "many.y4m").read_bytes()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_encoding_that_is_stopped_can_be_resumed(tmp_path, clip, end):
    target = tmp_path / "a.kin"
    folder = tmp_path / ".a.kin.chunks"
    arguments = ("encode", clip, target, "--threads", 1)
    with subprocess.Popen(
        command(*arguments, "--workers", 1),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=KIT["hear_ctrl_c"],
    ) as process:
        until = time.monotonic() + PATIENCE_SECONDS
        while not list(folder.glob("0*.json")) and time.monotonic() < until:
            time.sleep(0.01)
        if end == signal.SIGINT:
            os.killpg(process.pid, end)  # as a terminal does: workers get it too
        else:
            process.send_signal(end)
        _, told = process.communicate()
    assert not target.exists()
    if end != signal.SIGKILL:
        assert process.returncode == 2
        assert told.splitlines()[-1] == "kinema: interrupted"
        assert "--resume goes on" in told
        assert "Traceback" not in told
    done = run(*arguments, "--resume")
    assert "finished chunks found" in done.stderr
    run("encode", clip, tmp_path / "one.kin", "--threads", 1)
    assert target.read_bytes() == (tmp_path / "one.kin").read_bytes()
    assert not folder.exists()
