"""Help, lists and the ledger of requests answer without modules that take seconds to import."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

from forgetmi.cli import COMMANDS
from forgetmi.requests.ledger import Ledger

HEAVY = ("torch", "transformers", "pandas", "scipy", "sklearn", "matplotlib", "pyarrow")
SUBCOMMANDS = [
    ["requests", "add"],
    ["requests", "list"],
    ["requests", "due"],
    ["requests", "process"],
    ["requests", "close"],
    ["requests", "inform"],
    ["requests", "advise"],
    ["requests", "drift"],
    ["cohort", "make"],
    ["cohort", "make", "--like", "mimic"],
    ["cohort", "check"],
    ["cohort", "show"],
    ["cohort", "canaries"],
    ["cache", "show"],
    ["cache", "forget"],
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

# Runs pieces of code one after another; after each, prints which heavy modules are imported by then.
PROGRAM = """
import contextlib
import os
import sys

silent = open(os.devnull, "w")
for code in {pieces!r}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(silent):
        exec(code)
    print(*[name for name in {heavy!r} if name in sys.modules])
"""


def heavy_modules(pieces: list[str]) -> dict[str, list[str]]:
    """The pieces of code after which a fresh process has imported heavy modules, and which."""
    program = PROGRAM.format(pieces=pieces, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    imported = [line.split() for line in done.stdout.splitlines()]
    return {piece: names for piece, names in zip(pieces, imported, strict=True) if names}


def command(*words: str) -> str:
    """Code that runs a command."""
    return f"from forgetmi.cli import main; main({list(words)!r})"


def test_the_check_can_fail() -> None:
    pieces = ["import json", "import scipy", "raise SystemExit"]
    assert heavy_modules(pieces) == {"import scipy": ["scipy"], "raise SystemExit": ["scipy"]}


def test_modules_and_help_pages_are_light() -> None:
    pieces = [f"import {module}" for module in LIGHT_MODULES]
    pieces.append(command("--help"))
    for words in [*([verb] for verb in COMMANDS), *SUBCOMMANDS]:
        pieces.append(command(*words, "--help"))
    assert heavy_modules(pieces) == {}


def test_the_ledger_is_listed_without_heavy_modules(tmp_path: Path) -> None:
    path = tmp_path / "requests.sqlite"
    ledger = Ledger.make(path, key_id="0123456789abcdef")
    ledger.add(
        received=date(2026, 1, 1),
        due=date(2026, 2, 1),
        term="gdpr",
        ground="Art. 17",
        scope="all_studies",
        patients=["a"],
    )
    actions = ("list", "due", "drift")
    pieces = [command("requests", action, "--ledger", str(path)) for action in actions]
    assert heavy_modules(pieces) == {}
