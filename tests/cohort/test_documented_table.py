"""The table of docs/your_own_data.md is read as the page says."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetmi.cohort.table import TableCohort

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_data.md").read_text(encoding="utf-8")
COLUMNS = re.findall(r"^\| `(\w+)` \| .* \| (yes|or .*) \|$", PAGE, re.MULTILINE)
CELLS = {"report": "FINDINGS: clear lungs.", "image": "film.png"}


def table(folder: Path, names: list[str]) -> Path:
    """Six rows with those columns."""
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(folder / "film.png")
    path = folder / "cohort.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in range(6):
            usual = {**CELLS, "label": ("none", "mild", "severe")[row % 3]}
            writer.writerow([usual.get(name, f"{name[0].upper()}{row}") for name in names])
    return path


@pytest.mark.parametrize("least", [False, True])
def test_a_table_with_the_columns_of_the_page_is_a_cohort(least: bool, tmp_path: Path) -> None:
    names = [name for name, needed in COLUMNS if needed == "yes" or not least]
    assert {"patient_id", "image", "report", "label"} <= set(names)

    # Columns that may be left out are left out by the option that the page names
    left_out = {name: "" for name, needed in COLUMNS if needed != "yes"} if least else {}
    for name, needed in COLUMNS:
        assert needed == "yes" or needed == f'or `--cohort.{name.replace("_", "-")} ""`'

    cohort = TableCohort(table(tmp_path, names), classes=("none", "mild", "severe"), **left_out)
    assert cohort.load().label.tolist() == [0, 1, 2, 0, 1, 2]


def test_options_in_the_text_are_columns_of_the_reader() -> None:
    options = set(re.findall(r"--cohort\.([a-z-]+)", PAGE))
    known = {name.replace("_", "-") for name in TableCohort.__dataclass_fields__}
    assert options <= known
    assert "patient-id" in options
