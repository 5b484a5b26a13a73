"""Help, lists and the ledger of requests answer without modules that take seconds to import."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from forgetmi.cli import COMMANDS
from forgetmi.requests.ledger import Ledger

HEAVY = ("torch", "transformers", "pandas", "scipy", "sklearn", "matplotlib", "pyarrow")
SUBCOMMANDS = [
    ["requests", "add"],
    ["requests", "list"],
    ["requests", "due"],
    ["requests", "process"],
    ["requests", "close"],
    ["requests", "advise"],
    ["requests", "drift"],
    ["cohort", "make"],
    ["cohort", "make", "--like", "mimic"],
    ["cohort", "check"],
    ["cohort", "show"],
    ["cohort", "canaries"],
    ["checkpoint"],
    ["checkpoint", "convert"],
]
LIGHT_MODULES = [
    "forgetmi",
    "forgetmi.cli",
    "forgetmi.run.spec",
    "forgetmi.run.console",
    "forgetmi.requests.ledger",
    "forgetmi.requests.processing",
    "forgetmi.commands.options",
    "forgetmi.authors_code.entry",
]

# Runs a piece of code, then prints which heavy modules it has imported.
PROGRAM = """
import contextlib
import os
import sys

with contextlib.suppress(SystemExit), contextlib.redirect_stdout(open(os.devnull, "w")):
    {code}
print(*[name for name in {heavy!r} if name in sys.modules])
"""


def heavy_modules(code: str) -> list[str]:
    """The heavy modules that a fresh process imports for a piece of code."""
    program = PROGRAM.format(code=code, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout.split()


def heavy_modules_of_command(words: list[str]) -> list[str]:
    return heavy_modules(f"from forgetmi.cli import main; main({words!r})")


def test_the_check_can_fail() -> None:
    assert heavy_modules("import scipy") == ["scipy"]


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_modules_of_the_command_line_are_light(module: str) -> None:
    assert heavy_modules(f"import {module}") == []


def test_the_ledger_is_listed_without_heavy_modules(tmp_path: Path) -> None:
    path = tmp_path / "requests.sqlite"
    ledger = Ledger(path, key_id="0123456789abcdef")
    ledger.add(
        received=date(2026, 1, 1),
        due=date(2026, 2, 1),
        term="gdpr",
        ground="Art. 17",
        scope="all_studies",
        patients=["a"],
    )
    for action in ("list", "due", "drift"):
        assert heavy_modules_of_command(["requests", action, "--ledger", str(path)]) == []


def test_the_list_of_commands_is_light() -> None:
    assert heavy_modules_of_command(["--help"]) == []


@pytest.mark.xfail(reason="the methods' modules import torch at their top")
def test_the_list_of_methods_is_light() -> None:
    assert heavy_modules_of_command(["methods"]) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_light(command: str) -> None:
    assert heavy_modules_of_command([command, "--help"]) == []


@pytest.mark.parametrize("words", SUBCOMMANDS, ids=" ".join)
def test_help_of_a_subcommand_is_light(words: list[str]) -> None:
    assert heavy_modules_of_command([*words, "--help"]) == []
