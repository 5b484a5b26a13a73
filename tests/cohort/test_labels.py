"""Labels by the task: findings under each policy, numbers, two classes, none."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetmi.cohort.finding_columns import CHEXPERT
from forgetmi.cohort.table import TableCohort
from forgetmi.core.errors import CohortError

nan = np.nan

# Edema, Fracture, No Finding of six patients
CELLS = [
    ("1.0", "0", ""),
    ("0.0", "-1", "1"),
    ("-1.0", "1", ""),
    ("", "", "1.0"),
    ("1", "nan", "0"),
    ("0", "0.0", "-1"),
]
NAMES = ("Edema", "Fracture", "No Finding")


def table(folder: Path, cells: Any = CELLS, names: tuple[str, ...] = NAMES) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [",".join(("patient_id", "study_id", "image_id", "image", "report", *names))]
    for number, row in enumerate(cells):
        (folder / f"f{number}.png").write_bytes(b"")
        line = (f"P{number}", f"s{number}", f"i{number}", f"f{number}.png", f"text {number}", *row)
        lines.append(",".join(line))
    path = folder / "cohort.csv"
    path.write_text("\n".join(lines) + "\n")
    (folder / "key").write_bytes(bytes(32))
    return path


def read(folder: Path, cells: Any = CELLS, names: tuple[str, ...] = NAMES, **options: Any) -> Any:
    options.setdefault("labels", names)
    return TableCohort(table(folder, cells, names), key_file=folder / "key", **options).load()


UNCERTAIN = {"ignore": nan, "zero": 0.0, "one": 1.0}


@pytest.mark.parametrize(
    ("uncertain", "blank"), list(itertools.product(UNCERTAIN, ("unknown", "zero")))
)
def test_findings_under_each_policy(tmp_path: Path, uncertain: Any, blank: Any) -> None:
    cohort = read(tmp_path, uncertain=uncertain, blank=blank)
    u, b = UNCERTAIN[uncertain], {"unknown": nan, "zero": 0.0}[blank]
    expected = [[1, 0, b], [0, u, 1], [u, 1, b], [b, b, 1], [1, b, 0], [0, 0, u]]
    assert cohort.task == "findings"
    assert cohort.classes == NAMES
    assert cohort.label.dtype == np.float32
    assert np.array_equal(cohort.label, np.array(expected, np.float32), equal_nan=True)

    words = " ".join(cohort.notices)
    means = {"ignore": "unknown", "zero": "absent", "one": "present"}[uncertain]
    counts = "Edema 1, Fracture 1, No Finding 1"
    assert f"uncertain findings (-1) count as {means}: {counts}" in words
    verb = "are unknown" if blank == "unknown" else "count as absent"
    assert f"findings that are blank {verb}: Edema 1, Fracture 2, No Finding 2" in words


def test_a_policy_is_part_of_the_digest(tmp_path: Path) -> None:
    digests = {read(tmp_path, uncertain=one).digest for one in UNCERTAIN}
    assert len(digests) == 3
    other = read(tmp_path, names=("Edema", "Fracture", "Other"))
    assert other.digest not in digests


def test_order_of_columns_is_that_of_the_option(tmp_path: Path) -> None:
    cohort = read(tmp_path, labels=("Fracture", "Edema"))
    assert cohort.classes == ("Fracture", "Edema")
    assert cohort.label[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        ([("2", "0", "1"), *CELLS[1:]], {}, "row 1 (line 2), column 'Edema'"),
        ([("yes", "0", "1"), *CELLS[1:]], {}, "not 1, 0, -1 or blank"),
        ([("0", *row[1:]) for row in CELLS], {}, "nobody has the finding"),
        ([("1", *row[1:]) for row in CELLS], {}, "nobody is known to be without"),
        (CELLS, {"labels": ("Edema", "Edema")}, "named twice"),
        (CELLS, {"labels": ("Edema", "Odema")}, "Odema"),
        (CELLS, {"labels": ("Edema", "")}, "a column without a name"),
        (CELLS, {"labels": (), "task": "findings"}, "no column of findings is named"),
        (CELLS, {"task": "grades"}, "the task grades has one label"),
        (CELLS, {"labels": ("Edema", "study_id")}, "it is the column of the study"),
        (CELLS, {"patient_id": "image"}, "both the patient and the image"),
        (CELLS, {"patient_id": "report"}, "both the patient and the report"),
        (CELLS, {"subgroups": ("patient_id",)}, "cannot be a subgroup"),
    ],
)
def test_what_is_refused(tmp_path: Path, cells: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CohortError) as error:
        read(tmp_path, cells, **options)
    assert message in str(error.value)
    assert "yes" not in str(error.value)


def test_contradicting_options_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(CohortError) as error:
        read(tmp_path, labels=("Edema", "Edema"), patient_id="image", numeric=("Edema",))
    message = str(error.value)
    assert "named twice" in message
    assert "both the patient and the image" in message
    assert "it is what the model predicts" in message


def test_films_alone_and_reports_alone_need_no_other_column(tmp_path: Path) -> None:
    for absent in ("report", "image"):
        cohort = read(tmp_path, missing="allow", **{absent: ""})
        assert len(cohort) == len(CELLS)
        assert list(cohort.present) == [{"report": "text"}.get(absent, absent)]
    with pytest.raises(CohortError, match="report"):
        read(tmp_path, report="")


def test_a_finding_that_nobody_is_without_may_be_read_with_blanks_as_absent(
    tmp_path: Path,
) -> None:
    cells = [("1", "0"), ("", "1"), ("1", "0")]
    with pytest.raises(CohortError, match=r"--cohort\.blank zero"):
        read(tmp_path, cells, ("A", "B"))
    cohort = read(tmp_path, cells, ("A", "B"), blank="zero")
    assert cohort.label[:, 0].tolist() == [1.0, 0.0, 1.0]


def one(folder: Path, cells: list[str], **options: Any) -> Any:
    rows = [(cell,) for cell in cells]
    return read(folder, rows, ("label",), labels=(), **options)


def test_a_value_is_a_number_and_minus_one_is_one(tmp_path: Path) -> None:
    cohort = one(tmp_path, ["-1", "2.5", "", "1e2", "nan", "0"], task="value")
    expected = np.array([-1, 2.5, nan, 100, nan, 0], np.float32)
    assert np.array_equal(cohort.label, expected, equal_nan=True)
    assert cohort.classes == ()
    assert "2 rows have no known label" in cohort.notices
    for cells, message in (
        (["1", "two"], "row 2 (line 3), column 'label'"),
        (["1", "inf"], "the label is not a number"),
        (["1_0", "2"], "the label is not a number"),
        (["3", "3", ""], "all known values are equal"),
        (["", "nan"], "no value is known"),
    ):
        with pytest.raises(CohortError) as error:
            one(tmp_path, cells, task="value")
        assert message in str(error.value)
        assert "two" not in str(error.value)


def test_two_classes_and_no_label(tmp_path: Path) -> None:
    cohort = one(tmp_path, ["0", "1", "-1"], task="binary")
    assert (cohort.task, cohort.label.tolist()) == ("binary", [0, 1, -1])
    with pytest.raises(CohortError, match="a binary label has two classes, not 3"):
        one(tmp_path, ["0", "1", "2"], task="binary")

    pairs = read(tmp_path, [(), ()], (), labels=(), task="pairs")
    assert (pairs.task, pairs.label.tolist(), pairs.classes) == ("pairs", [0, 0], ())


def test_the_published_findings_are_fourteen_in_order() -> None:
    assert len(CHEXPERT) == 14
    assert list(CHEXPERT) == sorted(CHEXPERT)


def two_tables(
    folder: Path, label_rows: list[str], header: str = "study_id,Edema,Fracture"
) -> Path:
    """A cohort of six rows without labels, and a second table."""
    folder.mkdir(exist_ok=True)
    path = table(folder, [()] * 6, names=())
    (folder / "labels.csv").write_text("\n".join([header, *label_rows]) + "\n")
    return path


def joined(folder: Path, path: Path, **options: Any) -> Any:
    options = {"labels": ("Edema", "Fracture"), **options}
    second = folder / "labels.csv"
    return TableCohort(path, key_file=folder / "key", label_table=second, **options).load()


def test_labels_of_a_second_table_are_joined_and_counted(tmp_path: Path) -> None:
    # In another order, twice the same, one of nobody here, and without s4 and s5
    rows = ["s3,0,-1", "s0,1,0", "s0,1,0", "s99,1,1", "s1,,1", "s2,0,0"]
    path = two_tables(tmp_path, rows)
    cohort = joined(tmp_path, path)
    expected = [[1, 0], [nan, 1], [0, 0], [0, nan], [nan, nan], [nan, nan]]
    assert np.array_equal(cohort.label, np.array(expected, np.float32), equal_nan=True)
    assert "labels: 4 of 6 rows were found in labels.csv (by study_id)" in cohort.notices

    # Blank counts as absent where the table says so, and not where it says nothing
    zero = joined(tmp_path, path, blank="zero")
    assert zero.label[1].tolist() == [0.0, 1.0]
    assert np.isnan(zero.label[4:]).all()
    assert "findings that are blank count as absent: Edema 1" in zero.notices


def test_a_single_label_of_a_second_table_by_another_column(tmp_path: Path) -> None:
    path = two_tables(tmp_path, ["P0,2", "P1,0", "P5,1"], header="patient_id,grade")
    cohort = joined(tmp_path, path, labels=(), label="grade", label_key="patient_id", task="grades")
    assert cohort.label.tolist() == [2, 0, -1, -1, -1, 1]


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (["s0,1,0", "s0,0,0"], {}, "another value in an earlier row"),
        (["x,1,0"], {}, "none of 6 rows is in the table"),
        (["s0,1,0", "s1,0,1"], {"label_key": "visit"}, "visit"),
        (["s0,1,0", "s1,0,1"], {"labels": ("Edema", "Oedema")}, "Oedema"),
        (["s0,1,0", "s1,0,1"], {"labels": ("Edema", "study_id")}, "cannot be a label"),
        (["s0,1,0", "s1,0,1"], {"labels": (), "task": "pairs"}, "pairs have no label"),
        (["s0,1,0", "s1,0,2"], {}, "not 1, 0, -1 or blank"),
    ],
)
def test_a_second_table_that_cannot_be_joined(
    tmp_path: Path, rows: list[str], options: dict[str, Any], said: str
) -> None:
    path = two_tables(tmp_path, rows)
    with pytest.raises(CohortError, match=said) as error:
        joined(tmp_path, path, **options)
    assert "s0" not in str(error.value)


def test_a_key_without_a_second_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="there is no second table"):
        read(tmp_path, label_key="study_id")
