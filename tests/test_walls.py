"""The direction of flow: a room imports only rooms to its left and the ground floor."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "forgetmi"
ROOMS = ("cohort", "batch", "model", "methods", "evaluation", "report")
GROUND = {"types", "errors", "registry", "seeding", "decode", "cost", "plain", "files", "processes"}
FILES = sorted(SOURCE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Second part of every ``forgetmi.X`` import in a file, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        if isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path.name} uses a relative import")
        for name in names:
            parts = name.split(".")
            if parts[0] == "forgetmi":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


def allowed(room: str) -> set[str]:
    """What the files of a room may import."""
    if room in ROOMS:
        left = set(ROOMS[:ROOMS.index(room) + 1])
        return GROUND | (left - {"methods"} if room == "evaluation" else left)
    return GROUND


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_arrows_point_left(path: Path) -> None:
    parts = path.relative_to(SOURCE).parts
    if len(parts) > 1 and parts[0] in ROOMS:
        assert imports(path) <= allowed(parts[0])
    elif len(parts) == 1 and path.stem in GROUND:
        assert imports(path) <= GROUND
    elif parts[0] not in {"release"}:
        assert "release" not in imports(path)


def test_the_check_can_fail(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def f():\n    from forgetmi.report.pages import render\n    return render\n")
    assert not imports(wrong) <= allowed("methods")
    wrong.write_text("import forgetmi.methods.base\n")
    assert not imports(wrong) <= allowed("evaluation")
