"""The page on models of one's own: its example is the file, and its table says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from forgetmi.core.registry import methods
from forgetmi.model.factory import build_own
from forgetmi.run.applicable import applicable
from tests.contract.foreign import NAMES, prepared_for

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bring_your_own_model.md"


def table(small: Any) -> str:
    """Methods x foreign models: applies, or why not."""
    kinds = [kind for kind in NAMES if kind]
    reasons: dict[str, dict[str, str]] = {}
    for kind in kinds:
        net = build_own(prepared_for(kind, small.prepared).spec, seed=0)
        reasons[kind] = applicable(net, "grades")

    lines = [f"| method | {' | '.join(kinds)} |", f"|---{'|---' * len(kinds)}|"]
    for name in methods.names():
        if methods.target(name).startswith("forgetmi."):
            cells = [reasons[kind][name] or "applies" for kind in kinds]
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_table_says_what_is_so(small: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = re.search(r"<!-- applies: begin -->\n(.*)\n<!-- applies: end -->", page, re.S)
    assert found
    assert found.group(1) == table(small)


def test_the_example_is_the_file_and_short() -> None:
    example = (ROOT / "examples" / "own_model.py").read_text(encoding="utf-8")
    assert f"```python\n{example}```" in PAGE.read_text(encoding="utf-8")

    # What a user writes for this package, without blank lines and comments
    adapter = example.partition("# What forgetmi is told of it")[2].partition("if __name__")[0]
    assert len([line for line in adapter.splitlines() if line.strip()]) <= 40
