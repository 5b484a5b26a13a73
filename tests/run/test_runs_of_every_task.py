"""A whole run of every task, from a table to a record that can be checked."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.cohort.synthetic_making import make_synthetic
from forgetmi.cohort.table import TableCohort
from forgetmi.evidence.verify import verify
from forgetmi.run.finish import finish
from forgetmi.run.recompute import metrics
from forgetmi.run.recompute_verdict import verdict
from forgetmi.run.spec import RunSpec
from tests.runs import TINY

COLUMNS = {"value": "score", "binary": "two", "pairs": "label"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated cohort with a number and two classes beside its grades."""
    folder = tmp_path_factory.mktemp("tasks") / "cohort"
    make_synthetic(folder, patients=40, seed=3, size=32)
    path = folder / "cohort.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["no edema", "vascular congestion", "interstitial edema", "alveolar edema"]
    for number, row in enumerate(rows):
        grade = names.index(row["label"])
        row["score"], row["two"] = f"{grade + number % 7 / 10:.1f}", str(int(grade > 0))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def spec_of(task: str, table: Path) -> RunSpec:
    if task == "findings":
        cohort: object = SyntheticCohort(patients=40, seed=3, size=32, task="findings")
    else:
        cohort = TableCohort(table, label=COLUMNS[task], task=task, classes=())  # type: ignore[arg-type]
    return dataclasses.replace(TINY, cohort=cohort, duplicates=False)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "findings", "pairs", "value"])
def test_a_run_ends_with_pages_and_a_record_that_holds(
    task: str, table: Path, tmp_path: Path
) -> None:
    root = tmp_path / task
    finish(spec_of(task, table), root, command=["forgetmi", "run"])
    for page in ("report.html", "engineer.html", "letter.html"):
        assert (root / page).stat().st_size > 1000
    record = verify(root).record
    assert record.decision.outcome in ("NOT RESOLVABLE", "NOT FORGOTTEN", "OVER-FORGOTTEN")
    compared, largest = metrics(root, record)
    assert compared > 20
    assert largest < 1e-9
    assert verdict(root, record) == record.decision.outcome
