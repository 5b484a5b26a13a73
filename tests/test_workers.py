"""Worker processes end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import os, sys, time
from pathlib import Path

from forgetmi.workers import Job, run_jobs


def work(folder, name, tell):
    partial = Path(folder, name + ".partial")
    partial.write_text(str(os.getpid()))
    partial.rename(Path(folder, name))
    time.sleep(60)


if __name__ == "__main__":
    run_jobs([Job(name, work, (sys.argv[1], name)) for name in ("one", "two")], workers=2)
"""


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def within(seconds: float, files: list[Path]) -> bool:
    end = time.monotonic() + seconds
    while not all(file.exists() for file in files) and time.monotonic() < end:
        time.sleep(0.05)
    return all(file.exists() for file in files)


def test_no_worker_outlives_a_killed_command(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = subprocess.Popen([sys.executable, str(tmp_path / "program.py"), str(tmp_path)])
    names = [tmp_path / "one", tmp_path / "two"]
    started = within(60, names)
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert started
    workers = [int(name.read_text()) for name in names]
    end = time.monotonic() + 10
    while any(map(running, workers)) and time.monotonic() < end:
        time.sleep(0.1)
    left = [pid for pid in workers if running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
