"""The house: rooms on floors, arrows downhill only, no circle, and no module named in a string that does not exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.parsed import parsed

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "forgetmi"

# From the ground up. A room imports rooms on lower floors only; on one floor no room imports another.
FLOORS = (
    ("core",),
    ("data", "evaluation", "evidence", "jobs", "model"),
    ("audit", "cohort", "unlearning"),
    ("methods", "report", "requests"),
    ("run",),
    ("benchmark", "search", "service"),
    ("commands",),
    ("authors_code",),
)
FRONT_DOOR = {
    "__init__",
    "__main__",
    "cli",
}  # the only modules outside a room; no room imports them

# Arrows that would run downhill and are forbidden all the same, each with its reason.
FORBIDDEN = {
    ("audit", "model"): "an audit reads stored signals and runs no model",
    ("report", "model"): "a page is made of results and runs no model",
    ("methods", "audit"): "a method never sees how it is judged",
    ("methods", "evaluation"): "a method never sees how it is measured",
    ("unlearning", "evaluation"): "a method never sees how it is measured",
}
# Pure functions of arrays: these rooms hold no tensor.
WITHOUT_TORCH = {"audit", "evaluation", "evidence", "requests"}

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))
MODULE_IN_TEXT = re.compile(r"forgetmi(?:\.[A-Za-z_]\w*)+(?::[A-Za-z_]\w*)?")
GROUPS = {
    "attacks",
    "cohorts",
    "methods",
    "tasks",
    "towers",
    "task_measures",
    "commands",
}  # entry-point groups are called forgetmi.GROUP


def module_of(path: Path, source: Path = SOURCE) -> str:
    """The dotted name of a file."""
    parts = ("forgetmi", *path.relative_to(source).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def imported(text: str, modules: set[str]) -> set[str]:
    """Every module of the package that a file imports, also inside functions and under TYPE_CHECKING."""
    found = set()
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            parent = node.module or ""
            for alias in node.names:
                inner = f"{parent}.{alias.name}"
                found.add(inner if inner in modules else parent)
    return {name for name in found if name.split(".")[0] == "forgetmi"}


def room_of(module: str) -> str:
    """The room a module is in; the front door's modules are their own."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@cache
def arrows() -> dict[str, set[str]]:
    """What every module of the package imports of it."""
    return {module_of(path): imported(path.read_text("utf-8"), MODULES) for path in FILES}


def wrong_arrow(source: str, target: str) -> str:
    """Why one module may not import another; empty = it may."""
    here, there = room_of(source), room_of(target)
    if here == there or here in FRONT_DOOR:
        return ""
    if there in FRONT_DOOR:
        return f"{source} imports the front door ({target})"
    if (here, there) in FORBIDDEN:
        return f"{source} imports {target}: {FORBIDDEN[here, there]}"
    if FLOOR[there] >= FLOOR[here]:
        return f"{source} (floor {FLOOR[here] + 1}) imports {target} (floor {FLOOR[there] + 1}): only lower floors"
    return ""


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Every group of modules that import each other, by repeatedly taking away those that import nothing left."""
    left = {name: targets & set(arrows) for name, targets in arrows.items()}
    for direction in range(2):
        while True:
            free = {name for name, targets in left.items() if not targets}
            if not free:
                break
            left = {name: targets - free for name, targets in left.items() if name not in free}
        if not direction:  # the same from the other side, so that only the circle itself is left
            left = {
                name: {other for other, targets in left.items() if name in targets} for name in left
            }
    return [sorted(left)] if left else []


def missing_names(text: str, modules: set[str]) -> list[str]:
    """Modules and attributes named in a file's strings, outside docstrings too, that do not exist."""
    wrong = []
    for node in ast.walk(parsed(text)):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        if MODULE_IN_TEXT.fullmatch(node.value) and not exists(node.value, modules):
            wrong.append(node.value)
    return wrong


def exists(name: str, modules: set[str]) -> bool:
    """Whether a dotted name, or module:attribute, is there."""
    module, _, attribute = name.partition(":")
    if module in modules:
        return not attribute or attribute in defined(module)
    parent, _, last = module.rpartition(".")
    if parent == "forgetmi" and last in GROUPS:
        return True
    return parent in modules and last in defined(parent)


@cache
def defined(module: str) -> set[str]:
    """The names a module has at its top level."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    names = set()
    for node in parsed(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        else:
            names |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            names |= {alias.asname or alias.name for alias in getattr(node, "names", ())}
    return names


def test_every_folder_is_a_room_and_nothing_is_loose() -> None:
    folders = {
        path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    assert folders == set(FLOOR)
    assert {path.stem for path in SOURCE.glob("*.py")} == FRONT_DOOR
    assert {path.name for path in SOURCE.iterdir() if path.is_file()} == {
        f"{name}.py" for name in FRONT_DOOR
    } | {"py.typed"}


def test_arrows_run_downhill() -> None:
    wrong = []
    for source, targets in arrows().items():
        wrong += [wrong_arrow(source, target) for target in sorted(targets)]
    assert not [reason for reason in wrong if reason]


@pytest.mark.parametrize("room", sorted(WITHOUT_TORCH))
def test_rooms_of_arrays_hold_no_tensor(room: str) -> None:
    for path in sorted((SOURCE / room).rglob("*.py")):
        tree = parsed(path.read_text(encoding="utf-8"))
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not [name for name in names if name.split(".")[0] in ("torch", "transformers")], path


def test_no_circle() -> None:
    assert not circles({source: targets - {source} for source, targets in arrows().items()})


def test_every_module_named_in_a_string_exists() -> None:
    wrong = {path: missing_names(path.read_text("utf-8"), MODULES) for path in FILES}
    assert not {path: names for path, names in wrong.items() if names}


def test_every_entry_point_exists() -> None:
    named = re.findall(
        r'= "(forgetmi\.[\w.]+:\w+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert len(named) > 50
    assert not [name for name in named if not exists(name, MODULES)]


def test_the_checks_can_fail() -> None:
    late = "def f():\n    from forgetmi.report.pages import render\n    return render\n"
    assert imported(late, MODULES) == {"forgetmi.report.pages"}
    assert "only lower floors" in wrong_arrow("forgetmi.data.tokenizer", "forgetmi.report.pages")
    assert "only lower floors" in wrong_arrow(
        "forgetmi.data.tokenizer", "forgetmi.model.train"
    )  # one floor
    assert "never sees" in wrong_arrow("forgetmi.methods.scrub", "forgetmi.evaluation.suite")
    assert "never sees" in wrong_arrow("forgetmi.methods.scrub", "forgetmi.audit.decision")
    assert "front door" in wrong_arrow("forgetmi.run.spec", "forgetmi")
    assert not wrong_arrow("forgetmi.cli", "forgetmi.commands.run")
    guarded = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from forgetmi.run import spec\n"
    )
    assert imported(guarded, MODULES) == {"forgetmi.run.spec"}
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [
        ["a", "b", "c"]
    ]
    assert not circles({"a": {"b"}, "b": {"c"}, "c": set()})
    assert missing_names('X = "forgetmi.model.trainXX"', MODULES) == ["forgetmi.model.trainXX"]
    assert missing_names('X = "forgetmi.commands.run:runn"', MODULES) == [
        "forgetmi.commands.run:runn"
    ]
    assert not missing_names('X = "forgetmi.commands.run:run"', MODULES)
