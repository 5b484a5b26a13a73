"""The pages about methods say what is true, and the example they show works from another package."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from forgetmi.cli import main
from forgetmi.commands.methods import page
from forgetmi.core.registry import methods
from forgetmi.run import workflow
from forgetmi.unlearning.info import MethodInfo

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_method"
PAGE = (ROOT / "docs" / "write_a_method.md").read_text(encoding="utf-8")


def test_the_page_of_methods_is_up_to_date(capsys: Any) -> None:
    stored = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert stored == page(), "run: forgetmi methods --markdown > docs/methods.md"
    assert main(["methods", "--markdown"]) == 0
    assert capsys.readouterr().out == stored


def test_the_page_shows_every_method() -> None:
    names = [name for name in methods.names() if methods.target(name).startswith("forgetmi.")]
    assert len(names) >= 30
    assert [line.split("`")[1] for line in page().splitlines() if line.startswith("| `")] == names


def test_the_page_shows_the_example_as_it_is() -> None:
    blocks = dict(re.findall(r"```(python|toml)\n(.*?)```", PAGE, re.DOTALL))
    assert blocks["python"] == (EXAMPLE / "last_head.py").read_text(encoding="utf-8")
    assert blocks["toml"] == (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    assert len(blocks["python"].splitlines()) <= 45


def test_the_page_names_every_field_of_a_description() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {field.name for field in dataclasses.fields(MethodInfo)} <= named


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example as pip would leave it: the module, and beside it what its pyproject.toml declares."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for path in EXAMPLE.glob("*.py"):
        shutil.copy(path, tmp_path)
    about = tmp_path / f"own_method-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (about / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
            for group, entries in project["entry-points"].items()
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_another_packages_method_is_found_and_works(
    installed: None, small: Any, capsys: Any
) -> None:
    assert main(["methods"]) == 0
    assert "last_head  -  Last head" in capsys.readouterr().out
    dry = ["--out", "unused", "--dry-run", "--cohort.patients", "24", "--cohort.size", "32"]
    assert main(["run", "--method", "last_head", "--method.epochs", "2", *dry]) == 0
    assert "kind: last_head\n  epochs: 2" in capsys.readouterr().out
    wrong = ["--method.epochs=-1", "--method.lr", "0", *dry]
    assert main(["run", "--method", "last_head", *wrong]) == 2
    error = capsys.readouterr().err
    assert "method.epochs must be at least 0" in error
    assert "method.lr must be above 0" in error
    original = workflow.build(small.prepared.spec, seed=0).eval()
    done = workflow.unlearn(
        prepared=small.prepared,
        partition=small.partition,
        model=original,
        method=methods.get("last_head")(epochs=2),
    )
    assert {name for name in done.trace.changed if not name.startswith("gate.")} == {
        "img_model.fc1.weight",
        "img_model.fc1.bias",
        "text_model.classifier.weight",
        "text_model.classifier.bias",
    }
    assert "last_head" not in page()
