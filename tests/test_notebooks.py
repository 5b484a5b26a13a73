"""The notebooks: whole, without stored outputs, and each cell runs and shows itself (slow)."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.figures import drawn_figures

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does: the value of its last line, if it is an expression, is shown."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return (
        None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    )


def test_there_are_four() -> None:
    assert {path.stem for path in NOTEBOOKS} == {
        "audit_one_patient",
        "compare_methods",
        "first_run",
        "own_model",
    }


@each
def test_a_notebook_is_whole_and_stores_no_output(path: Path) -> None:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["cells"][0]["cell_type"]) == (4, "markdown")
    assert "".join(book["cells"][0]["source"]).startswith("# ")
    names = [cell["id"] for cell in book["cells"]]
    assert len(set(names)) == len(names)
    for cell in book["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    for source in code(path):
        ast.parse(source)


@pytest.mark.slow
@each
def test_every_cell_runs_and_shows_itself(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "notebook"}
    pictures = 0
    with drawn_figures():
        for source in code(path):
            shown = run_cell(source, names)
            if hasattr(shown, "_repr_html_"):
                html = shown._repr_html_()
                assert html.startswith(("<table", "<figure", "<div"))
                pictures += "<svg" in html
    assert pictures or path.stem == "compare_methods"


@pytest.mark.slow
@each
def test_jupyter_runs_it(path: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="Jupyter is in no test environment")
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, resources={"metadata": {"path": str(tmp_path)}}).execute()
