"""The examples in the docstrings of evaluation and search run, and every registered attack has one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import forgetmi
from forgetmi.core import registry

SOURCE = Path(forgetmi.__file__).parent
MODULES = sorted(
    ".".join(("forgetmi", *path.relative_to(SOURCE).with_suffix("").parts))
    for room in ("evaluation", "search")
    for path in (SOURCE / room).rglob("*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", registry.attacks.names())
def test_every_attack_has_an_example(name: str) -> None:
    text = registry.attacks.get(name).__doc__ or ""
    assert "Examples:" in text
    assert ">>> " in text
