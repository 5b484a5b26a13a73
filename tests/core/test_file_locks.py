"""Locks end with the process that holds them."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from forgetmi.core.file_locks import is_taken, locked, take

_COUNT = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from forgetmi.core.file_locks import locked
    file = Path(sys.argv[1])
    for _ in range(20):
        with locked(file.with_suffix(".lock")):
            number = int(file.read_text())
            time.sleep(0.002)
            file.write_text(str(number + 1))
""")

_HOLD = textwrap.dedent("""
    import sys, time
    from forgetmi.core.file_locks import take
    with open(sys.argv[1], "r+b") as file:
        take(file)
        print("taken", flush=True)
        time.sleep(60)
""")


def test_no_change_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("0")
    counting = [subprocess.Popen([sys.executable, "-c", _COUNT, str(file)]) for _ in range(3)]
    assert [process.wait() for process in counting] == [0, 0, 0]
    assert file.read_text() == "60"


def test_a_file_is_taken_until_its_process_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert not is_taken(file)
    command = [sys.executable, "-c", _HOLD, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == "taken\n"
        assert is_taken(file)
        holding.send_signal(signal.SIGKILL)

    ended = time.monotonic() + 10
    while is_taken(file) and time.monotonic() < ended:
        time.sleep(0.01)
    assert not is_taken(file)


def test_an_error_gives_the_lock_back(tmp_path: Path) -> None:
    for _ in range(2):
        try:
            with locked(tmp_path / "lock"):
                raise KeyError
        except KeyError:
            pass
    with (tmp_path / "lock").open("r+b") as file:
        take(file)
        assert is_taken(tmp_path / "lock")
    assert not is_taken(tmp_path / "lock")
