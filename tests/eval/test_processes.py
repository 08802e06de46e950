import sys

import pytest

from kinema.errors import ConfigError, VideoError
from kinema.eval.processes import import_extra, run_measured

SPEND = "import time; block = bytearray(b'1') * 200_000_000; time.sleep(0.2)"


def test_time_and_peak_memory_are_those_of_the_program():
    small = run_measured([sys.executable, "-S", "-c", "pass"], what="nothing")
    large = run_measured([sys.executable, "-S", "-c", SPEND], what="a big block")
    assert large.seconds >= 0.2
    if small.peak_bytes is None or large.peak_bytes is None:
        pytest.skip("this system does not tell the peak memory of a process")
    assert small.peak_bytes < 60e6  # not that of the test run, which holds numpy
    assert 200e6 < large.peak_bytes < 300e6


def test_the_last_line_of_a_failing_program_is_passed_on():
    program = "import sys; sys.exit('first line\\nno such model')"
    with pytest.raises(VideoError, match=r"the coder ended with status 1, .*no such model$"):
        run_measured([sys.executable, "-c", program], what="the coder")


def test_a_program_that_is_not_there_is_an_error_of_ours():
    with pytest.raises(VideoError, match="the coder"):
        run_measured(["no-such-program-anywhere"], what="the coder")


def test_a_missing_extra_names_the_command_that_installs_it():
    with pytest.raises(ConfigError, match=r"pip install kinema\[bench\]"):
        import_extra("no_such_module")
