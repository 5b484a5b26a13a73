"""The default method is part of every command's help, which must not wait for the tensor libraries."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from forgetmi.methods import forget_mi
from forgetmi.unlearning import four_losses, info

LIGHT = (forget_mi, four_losses, info)
ALLOWED = {f"forgetmi.unlearning.{name}" for name in ("four_losses", "info")}


@pytest.mark.parametrize("module", LIGHT, ids=lambda module: module.__name__)
def test_importing_it_imports_nothing_heavy(module: object) -> None:
    """At the top level of the file; imports inside functions and for type checkers do not count."""
    source = Path(str(getattr(module, "__file__", ""))).read_text(encoding="utf-8")
    imported = [
        node.module or "" for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)
    ]
    standard = {"__future__", "collections.abc", "dataclasses", "typing"}
    assert set(imported) <= standard | ALLOWED
    assert not [node for node in ast.parse(source).body if isinstance(node, ast.Import)]
