"""Named parts: twins, misspelt names, and parts that are declared but not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

import forgetmi.core.registry as registry_module
from forgetmi.core.errors import SpecError
from forgetmi.core.registry import Registry


def test_registry_refuses_twins_and_names_the_nearest() -> None:
    registry = Registry("part", "forgetmi.no-such-group")
    registry.add("alpha", int)
    with pytest.raises(SpecError, match="exists already"):
        registry.add("alpha", str)
    with pytest.raises(SpecError, match="Did you mean 'alpha'"):
        registry.get("alpah")
    registry.remove("alpha")
    assert registry.names() == ()


def test_a_part_that_is_declared_but_not_installed_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[project.entry-points."forgetmi.methods"]\nmy_method = "my.module:Mine"\n')
    monkeypatch.setattr(registry_module, "_PROJECT", project)
    with pytest.raises(SpecError, match=r"'my_method' is not installed.*pip install -e \."):
        registry_module.methods.get("my_method")
    with pytest.raises(SpecError, match="there is no method named 'my_methods'"):
        registry_module.methods.get("my_methods")


def test_an_installed_package_has_no_project_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_PROJECT", tmp_path / "pyproject.toml")
    with pytest.raises(SpecError, match="Did you mean 'scrub'"):
        registry_module.methods.get("scrubb")
