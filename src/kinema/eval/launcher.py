"""Run one command and note what it cost; a script of its own, started with `python -I -S`.

The kernel counts the memory of the process that forks into the peak of the process that is forked.
A small launcher in between keeps the size of the benchmark (torch, numpy) out of the measurement.
Standard library only: nothing else can be imported under `-I -S`.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def _wait_for(command: list[str]) -> tuple[int, int | None]:
    """Run `command`; return its exit status and its peak resident memory in bytes, if known."""
    if not hasattr(os, "wait4"):
        return subprocess.run(command, check=False).returncode, None  # noqa: S603  # our own command
    process_id = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process_id, 0)
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit_bytes


def main(arguments: list[str]) -> int:
    """Run `arguments[1:]` and write {seconds, peak_bytes, status} as JSON to `arguments[0]`."""
    report, *command = arguments
    started_s = time.perf_counter()
    status, peak_bytes = _wait_for(command)
    seconds = time.perf_counter() - started_s
    cost = {"seconds": seconds, "peak_bytes": peak_bytes, "status": status}
    Path(report).write_text(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
