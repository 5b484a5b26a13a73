"""The page about the paper's table says what the published values say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "studies" / "paper_table.py"))


def test_the_page_has_the_figures_of_its_script() -> None:
    assert SCRIPT["figures"]() in (ROOT / "docs" / "paper_table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("percent", "odd"), [(3, [("multi_delete", 0.806)]), (6, []), (10, [])])
def test_attack_values_are_counts_of_batches(percent: int, odd: list[tuple[str, float]]) -> None:
    assert SCRIPT["fractions"](percent) == (odd, 13)


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        ("forget_mi", 1, (0.169, 0.021, 0.068)),
        ("multi_delete", 1, (0.292, 0.203, 0.384)),
        ("forget_mi", 3, (0.001, 0.103, 0.064)),
        ("multi_delete", 3, (0.004, 0.066, 0.027)),
    ],
)
def test_distances_to_retrain(row: str, column: int, expected: tuple[float, float, float]) -> None:
    assert [SCRIPT["gap"](row, percent)[column] for percent in (3, 6, 10)] == pytest.approx(
        expected, abs=1e-9
    )
