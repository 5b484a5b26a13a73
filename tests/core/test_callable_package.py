"""A package that is a verb stays a package."""

from __future__ import annotations

import importlib
import pickle
from types import ModuleType

import pytest

import forgetmi


@pytest.mark.parametrize("name", ["audit", "report"])
def test_the_verb_is_the_package(name: str) -> None:
    package = importlib.import_module(f"forgetmi.{name}")
    assert getattr(forgetmi, name) is package
    assert isinstance(package, ModuleType)
    assert importlib.import_module(f"forgetmi.{name}.front_door").__name__.startswith(
        package.__name__
    )
    with pytest.raises(TypeError, match="missing"):
        package()


def test_classes_of_it_are_still_pickled() -> None:
    from forgetmi.audit.rule import Rule

    assert pickle.loads(pickle.dumps(Rule())) == Rule()
