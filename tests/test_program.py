"""The program as a process of its own: what it imports, how it starts, what interrupts it."""

import runpy
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import kinema

KIT = runpy.run_path(str(Path(__file__).parent / "codec" / "kit.py"))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]
clip, kin = KIT["clip"], KIT["kin"]
HEAVY = ("torch", "numpy", "av", "constriction", "matplotlib")


def python(code, *arguments, **settings):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("encode", "--help"), ("--version",), ("models",), ("info", "KIN")]
)
def test_quick_commands_import_nothing_heavy(kin, arguments):
    code = """
        import sys
        from kinema import cli
        try:
            cli.main()
        except SystemExit as stop:
            assert stop.code == 0, stop.code
        print("heavy:", *[name for name in HEAVY if name in sys.modules])
    """.replace("HEAVY", repr(HEAVY))
    done = python(code, *[kin if a == "KIN" else a for a in arguments])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("heavy:\n")


def test_the_module_and_the_script_are_the_same_program():
    module = [sys.executable, "-m", "kinema.cli"]
    script = [str(Path(sys.executable).with_name("kinema"))]
    commands = [module, script] if Path(script[0]).exists() else [module]
    for command in commands:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"kinema {kinema.__version__}\n"
        done = subprocess.run([*command, "x"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "kinema: No such command 'x'.\n"


SLOW_ENCODER = """
    import sys, time
    from dataclasses import replace
    sys.path.insert(0, sys.argv.pop(1))
    import tiny
    from kinema import cli
    from kinema.codec import encoder
    from kinema.models import registry
    registry.load_model = lambda *_, **__: tiny.load_tiny()
    from kinema.codec import encoding
    encoding.load_model = registry.load_model
    code = encoder.Encoder.encode_batch
    def slow(*arguments, **settings):
        print("coding", flush=True)
        time.sleep(0.2)
        return code(*arguments, **settings)
    encoder.Encoder.encode_batch = slow
    cli.main()
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_ctrl_c_and_kill_leave_no_temporary_file(tmp_path, number):
    clip = KIT["write_clip"](tmp_path / "a.y4m", KIT["draw"](400, (16, 16)))
    folder = str(KIT["TINY"]["FOLDER"])
    command = [sys.executable, "-c", textwrap.dedent(SLOW_ENCODER), folder, "encode"]
    process = subprocess.Popen(
        [*command, str(clip), str(tmp_path / "a.kin")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=KIT["hear_ctrl_c"],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "coding\n"
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == 2  # the clip, and what is being written
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "kinema: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.y4m"]
