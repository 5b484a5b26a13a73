"""What docs/release_run.md names can be imported, and is called as it says."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "release_run.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|`]+) \| `(forgetmi\.[\w.]+)` \| (.+) \|$", PAGE, re.MULTILINE)
PARTS = {
    "reading a checkpoint",
    "forward",
    "text features",
    "reading an image",
    "the split",
    "ranking loss",
    "gate",
    "the four losses",
    "one step",
    "the SVM attack",
}


def resolved(dotted: str) -> Any:
    """The module, class or function of a dotted path."""
    head, _, last = dotted.rpartition(".")
    try:
        return import_module(dotted)
    except ModuleNotFoundError:
        return getattr(resolved(head), last)


def test_every_part_has_one_path() -> None:
    assert {what for what, _, _ in ROWS} >= PARTS
    assert len({what for what, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("dotted", sorted(set(re.findall(r"\bforgetmi(?:\.[A-Za-z_]\w*)+", PAGE))))
def test_every_dotted_path_exists(dotted: str) -> None:
    assert resolved(dotted) is not None


@pytest.mark.parametrize(
    ("module", "call"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_calls_are_as_written(module: str, call: str) -> None:
    code = " ".join(re.findall(r"`([^`]+)`", call))
    called = re.findall(r"([\w.]+)\(", code)
    functions = [resolved(f"{module}.{name}") for name in called or re.findall(r"\w+", code)]
    assert functions
    assert all(callable(one) for one in functions)
    keywords = {name for one in functions for name in inspect.signature(one).parameters}
    assert set(re.findall(r"(\w+)=", code)) <= keywords
