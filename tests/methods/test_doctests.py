"""Every registered method shows an example of its use, and all examples of both rooms are true."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import forgetmi
from forgetmi.core.registry import methods

SOURCE = Path(forgetmi.__file__).parent
ROOMS = ("methods", "unlearning")
MODULES = [
    f"forgetmi.{room}.{path.stem}"
    for room in ROOMS
    for path in sorted((SOURCE / room).glob("*.py"))
    if path.stem != "__init__"
]
NAMES = [name for name in methods.names() if methods.target(name).startswith("forgetmi.methods.")]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_method_has_an_example(name: str) -> None:
    text = inspect.getdoc(methods.get(name)) or ""
    assert "Examples:\n    >>> " in text
