"""Whatever stands in columns of labels and measurements, and in CheXpert's files: a cohort, or clear errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cohort.chexpert import ChexpertCohort
from forgetmi.cohort.finding_columns import CHEXPERT
from forgetmi.cohort.table import TableCohort
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault
from tests.fuzzing import damaged, fuzz

pytestmark = pytest.mark.slow

PATIENTS = 6
ODD_CELLS = [
    *("", "nan", "-", "NaN", "None", "0", "1", "1.0", "-1", "-1.0", "2", "0.5", "+1", "1e0", "01"),
    *("inf", "-inf", "1e400", "1e-400", "9" * 400, "\u0661", "1,5", " 1 ", "1\u200b", "1_0"),
    *("0x1", "true", "qzxk", "\ud800", "\0", "1" * 5000),
]
CELLS = st.one_of(st.sampled_from(ODD_CELLS), st.floats().map(str), st.text(max_size=8))


def read_or_refused(read: Callable[[], Cohort]) -> Cohort | None:
    """What a reader makes, or None where it refuses in words that quote no cell."""
    faults: tuple[Fault, ...] = ()
    cohort = None
    try:
        cohort = read()
    except CohortError as error:
        faults = error.faults

    assert cohort is not None or faults
    for fault in faults:
        assert "\n" not in str(fault)
        assert "qzxk" not in str(fault).lower()
    return cohort


def write_table(folder: Path, columns: dict[str, list[str]]) -> Path:
    """A table of six patients with those columns beside the usual ones."""
    lines = [",".join(["patient_id", "study_id", "image_id", "image", "report", *columns])]
    for number in range(PATIENTS):
        cells = [column[number] for column in columns.values()]
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
        usual = [f"P{number}", f"s{number}", f"i{number}", f"f{number}.png", f"text {number}"]
        lines.append(",".join([*usual, *quoted]))
    path = folder / "cohort.csv"
    path.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(PATIENTS):
        (tmp_path / f"f{number}.png").write_bytes(b"")
    (tmp_path / "key").write_bytes(bytes(range(32)))
    return tmp_path


def columns_of(*names: str) -> st.SearchStrategy[dict[str, list[str]]]:
    """Six cells of each column: sound ones, with up to four that are anything."""
    sound = st.lists(st.sampled_from(["0", "1"]), min_size=PATIENTS, max_size=PATIENTS)
    places = st.tuples(st.sampled_from(names), st.integers(0, PATIENTS - 1), CELLS)

    def changed(drawn: Any) -> dict[str, list[str]]:
        cells, changes = drawn
        columns = {name: list(column) for name, column in zip(names, cells, strict=True)}
        for name, row, value in changes:
            columns[name][row] = value
        return columns

    whole = st.tuples(*(sound for _ in names))
    return st.tuples(whole, st.lists(places, max_size=4)).map(changed)


def test_fuzz_findings(folder: Path) -> None:
    names = ("Edema", "Fracture", "No Finding")

    @given(
        columns_of(*names),
        st.sampled_from(["ignore", "zero", "one"]),
        st.sampled_from(["unknown", "zero"]),
    )
    def findings_are_read_or_refused(columns: Any, uncertain: Any, blank: Any) -> None:
        reader = TableCohort(
            write_table(folder, columns),
            key_file=folder / "key",
            labels=names,
            uncertain=uncertain,
            blank=blank,
        )
        if cohort := read_or_refused(reader.load):
            label = np.asarray(cohort.label)
            assert bool((np.isin(label, (0, 1)) | np.isnan(label)).all())

    fuzz(findings_are_read_or_refused)


@pytest.mark.parametrize("task", ["value", "binary"])
def test_fuzz_one_label(folder: Path, task: Any) -> None:
    @given(columns_of("label"))
    def labels_are_read_or_refused(columns: Any) -> None:
        reader = TableCohort(write_table(folder, columns), key_file=folder / "key", task=task)
        if cohort := read_or_refused(reader.load):
            label = np.asarray(cohort.label)
            sound = np.isin(label, (-1, 0, 1)) if task == "binary" else ~np.isinf(label)
            assert bool(sound.all())

    fuzz(labels_are_read_or_refused)


def test_fuzz_label_tables(folder: Path) -> None:
    path = write_table(folder, {})
    lines = ["study_id,Edema,Fracture", "s0,1,0", "s1,0,1", "s2,-1,", "s3,1,qzxk", "s9,0,0"]
    reader = TableCohort(
        path,
        key_file=folder / "key",
        label_table=folder / "labels.csv",
        labels=("Edema", "Fracture"),
    )
    content = "\n".join(lines).replace("qzxk", "1").encode()
    (folder / "labels.csv").write_bytes(content)
    assert read_or_refused(reader.load) is not None

    @given(damaged(content) | damaged("\n".join(lines).encode()))
    def tables_are_read_or_refused(changed: bytes) -> None:
        (folder / "labels.csv").write_bytes(changed)
        read_or_refused(reader.load)

    fuzz(tables_are_read_or_refused)


def test_fuzz_measured_columns(folder: Path) -> None:
    @given(columns_of("label", "age", "ward"))
    def measurements_are_read_or_refused(columns: Any) -> None:
        reader = TableCohort(
            write_table(folder, columns),
            key_file=folder / "key",
            numeric=("age",),
            categorical=("ward",),
        )
        if cohort := read_or_refused(reader.load):
            assert cohort.table is not None
            assert not bool(np.isinf(cohort.table).any())

    fuzz(measurements_are_read_or_refused)


def published(folder: Path) -> tuple[ChexpertCohort, dict[str, bytes]]:
    """CheXpert's table and CheXpert Plus's reports of four people, as files in a folder."""
    films = [f"CheXpert-v1.0/train/patient{p:05d}/study1/view1_frontal.jpg" for p in range(1, 5)]
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(CHEXPERT)
    values = ("1.0", "0.0", "-1.0", "")
    table = [header]
    for film, value in zip(films, values, strict=True):
        table.append(f"{film},Female,61,Frontal,AP" + f",{value}" * 14)
    reports = ["path_to_image,section_findings,section_impression"]
    # CheXpert Plus writes its paths without the data set's folder
    reports += [f"{film.split('/', 1)[1]},Qzxk clear lungs.,No qzxk." for film in films]

    files = {
        "train.csv": ("\n".join(table) + "\n").encode(),
        "reports.csv": ("\n".join(reports) + "\n").encode(),
    }
    for film in films:
        (folder / film).parent.mkdir(parents=True)
        (folder / film).touch()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    reader = ChexpertCohort(
        path=folder / "train.csv",
        root=folder,
        reports=folder / "reports.csv",
        key_file=folder / "key",
    )
    return reader, files


@pytest.mark.parametrize("name", ["train.csv", "reports.csv"])
def test_fuzz_chexpert(folder: Path, name: str) -> None:
    reader, files = published(folder)
    assert read_or_refused(reader.load) is not None

    @given(damaged(files[name]))
    def tables_are_read_or_refused(content: bytes) -> None:
        (folder / name).write_bytes(content)
        read_or_refused(reader.load)

    fuzz(tables_are_read_or_refused)
