"""The order of rows decides sets and weights: it is said, told by a digest, and a run does not go on in another one."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from forgetmi.cli import main
from forgetmi.cohort.partition import partition
from forgetmi.cohort.partition_file import write_partition
from forgetmi.cohort.row_order import rows_digest
from forgetmi.cohort.synthetic import synthetic_table
from forgetmi.cohort.synthetic_making import make_synthetic
from forgetmi.core.errors import PartitionError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_synthetic(tmp_path / "made", patients=24, size=16)
    return tmp_path / "made"


def shuffle(folder: Path) -> None:
    """The same rows in another order."""
    path = folder / "cohort.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    random.Random(0).shuffle(rows)
    path.write_text(header + "".join(rows), encoding="utf-8")


def test_two_orders_are_told_apart(folder: Path) -> None:
    before = synthetic_table(folder).load()
    sets = partition(before, forget=20.0)
    shuffle(folder)
    after = synthetic_table(folder).load()
    assert sorted(before.image_id) == sorted(after.image_id)
    assert before.digest != after.digest
    assert rows_digest(before) == rows_digest(after)

    # Which is why it matters: other patients are forgotten
    others = partition(after, forget=20.0)
    assert set(before.patient[sets.forget]) != set(after.patient[others.forget])


def test_other_rows_have_another_digest(folder: Path) -> None:
    before = synthetic_table(folder).load()
    path = folder / "cohort.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",M,", ",F,", 1), encoding="utf-8")
    assert rows_digest(synthetic_table(folder).load()) != rows_digest(before)


def test_a_run_does_not_go_on_in_another_order(folder: Path, tmp_path: Path) -> None:
    cohort = synthetic_table(folder).load()
    write_partition(tmp_path / "partition.json", partition(cohort, forget=20.0))
    write_partition(tmp_path / "partition.json", partition(cohort, forget=20.0))

    shuffle(folder)
    other = synthetic_table(folder).load()
    with pytest.raises(PartitionError, match="has changed since this run was started"):
        write_partition(tmp_path / "partition.json", partition(other, forget=20.0))


def test_the_check_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cohort", "check", "--cohort", "table", "--cohort.path", str(folder / "cohort.csv")]
    words += ["--images.size", "16", "--cohort.classes"]
    words += synthetic_table(folder).classes

    said = []
    for _ in range(2):
        assert main(words) == 0
        said.append(capsys.readouterr().out)
        shuffle(folder)
    assert all("the order of rows matters" in one for one in said)

    # The content digest differs, that of the rows in any order does not
    lines = [next(line for line in one.splitlines() if "digest" in line) for one in said]
    contents, rows = np.transpose([line.split("; of the rows in any order ") for line in lines])
    assert contents[0] != contents[1]
    assert rows[0] == rows[1]
