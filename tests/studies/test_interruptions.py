"""The soak of kills: every verb is killed, resumed, and ends with the same bits and nothing left over.

FORGETMI_SOAK_KILLS=300 pytest -m slow tests/studies/test_interruptions.py kills more often.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "studies" / "interruptions.py"


@pytest.mark.slow
def test_killed_commands_end_with_the_same_bits_and_leave_nothing() -> None:
    kills = os.environ.get("FORGETMI_SOAK_KILLS", "21")
    words = [sys.executable, str(PROGRAM), "--kills", kills]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| `")]
    verbs = {line.split("`")[1] for line in rows}
    assert verbs == {"train", "unlearn", "predict", "run", "sweep", "shadows", "requests"}
