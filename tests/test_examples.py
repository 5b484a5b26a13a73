"""Every script in examples/ runs, on a clean import, and prints something."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert SCRIPTS


# Whose every step is tested on its own: tests/run/test_doctests.py, tests/run/test_withdrawal.py
SLOW = {"main_job", "withdrawals"}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            script, id=script.stem, marks=[pytest.mark.slow] if script.stem in SLOW else []
        )
        for script in SCRIPTS
    ],
)
def test_the_example_runs(
    script: Path, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip()
