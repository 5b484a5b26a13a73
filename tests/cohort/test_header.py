"""A first line of data is told from one of column names, and nothing of it is quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgetmi.cohort.files import read_strings
from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.header import is_column_name, looks_like_data, shown_names
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.cohort.table import TableCohort
from forgetmi.core.errors import CohortError

FIELD = Path(__file__).parents[2] / ".." / "shared" / "field" / "tables"
NEEDED = ("patient_id", "study_id", "image_id", "image", "report", "label")
KEY = bytes(range(32))


NAMES = """
patient_id subject_id study_id image_id image report label split fold edeme_severity dicom_id ViewPosition gender
patientId PatientID MRN mrn image_path text_masked label_name source_url view sex age image2 reprot StudyDate
AccessionNumber finding patient_digest request
"""
DATA = [
    *("", "1", "007", "p007", "S0010", "Smith", "Surname Given 1964-08-12", "1964-08-12"),
    *("img/001_0.png", "lungs are clear no effusion", "john@ward.org", "patience", "Muñoz", "12.5"),
    *("nan", "x" * 99, "image of John Smith", "patient 1234567", "9f86d081884c7d65"),
]


@pytest.mark.parametrize("name", [*NAMES.split(), "Patient ID", "report text", "image-file"])
def test_names_of_columns(name: str) -> None:
    assert is_column_name(name)


@pytest.mark.parametrize("cell", DATA)
def test_what_may_be_data(cell: str) -> None:
    assert not is_column_name(cell)
    assert shown_names([cell, "patient_id"]) == "patient_id and 1 that may be data and is not shown"


HEADLESS = [
    ["001", "S0010", "I0010", "img/001_0.png", "lungs are clear no effusion", "1"],
    ["p1", "s1", "i1", "a.png", "Clear.", "0", "train"],
    ["p1", "s1", "i1", "a/1.png", "No edema", "normal", "test", "view"],
    ["Surname Given 1964-08-12"],
    ["10000032", "50414267", "02aa804e-bde0afdd", "0", "TEST"],
]


@pytest.mark.parametrize("cells", HEADLESS)
def test_a_table_without_a_header(cells: list[str], tmp_path: Path) -> None:
    assert looks_like_data(cells)
    path = tmp_path / "cohort.csv"
    path.write_text(",".join(cells) + "\n" + ",".join("x" * len(cells)) + "\n")
    found = read_strings_or_faults(path)
    assert len(found) == 1
    assert "cohort.csv line 1: the first line looks like data" in found[0]
    for cell in cells:
        if len(cell) > 2:
            assert cell not in found[0].replace("'", " ").split()


def read_strings_or_faults(path: Path) -> list[str]:
    """The faults of a table that is read as a cohort."""
    with pytest.raises(CohortError) as caught:
        TableCohort(path).load()
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    "header", [NEEDED, ("patient_id", "text", "path"), ("subject_id", "anchor", "gender")]
)
def test_a_header_is_none(header: tuple[str, ...]) -> None:
    assert not looks_like_data(header)


def test_names_that_may_be_people_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("patient_id,report,Jane Roe,John Doe\np1,Clear.,1,0\n")
    found = read_strings_or_faults(path)
    assert "The file has: patient_id, report and 2 that may be data and are not shown." in found[0]
    assert not any(name in one for one in found for name in ("Roe", "Doe"))


def test_a_column_twice_is_named_only_where_it_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text("John Doe,John Doe,image,image\n1,2,3,4\n")
    found = read_strings_or_faults(path)
    assert "column number 1 occurs 2 times" in found[0]
    assert "column 'image' occurs 2 times" in found[1]


def test_only_one_line(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("Jane Roe\n")
    with pytest.raises(CohortError, match="ends after its first line, which looks like data"):
        read_strings(path)
    path.write_text("patient_id\n")
    with pytest.raises(CohortError, match="ends after its first line, the header"):
        read_strings(path)


@pytest.mark.parametrize("first", ["Surname Given 1964-08-12", "Jane Roe", "P000001", "0000001"])
def test_a_list_without_a_header(first: str, tmp_path: Path) -> None:
    cohort = SyntheticCohort(patients=12, size=16).load()
    path = tmp_path / "list.csv"
    path.write_text(f"{first}\nP000001\n")
    with pytest.raises(CohortError, match="line 1: the first line looks like data") as caught:
        read_forget_list(path, cohort=cohort, key=KEY)
    assert first not in str(caught.value)
    assert "patient_id" in str(caught.value)


@pytest.mark.skipif(not FIELD.is_dir(), reason="the folder of field inputs is absent")
def test_the_tables_without_a_header() -> None:
    found = read_strings_or_faults(FIELD / "no_header.csv")
    assert len(found) == 1
    assert "the first line looks like data" in found[0]
    for word in ("001", "S0010", "img", "lungs"):
        assert word not in found[0]

    cohort = SyntheticCohort(patients=12, size=16).load()
    with pytest.raises(CohortError, match="the first line looks like data") as caught:
        read_forget_list(FIELD / "withdrawn_no_header.csv", cohort=cohort, key=KEY)
    assert not any(word in str(caught.value) for word in ("Surname", "1964", "002"))


def test_a_cell_as_long_as_allowed_takes_no_longer_than_its_length() -> None:
    assert looks_like_data(["label", "a" * 131_072, "b c d " * 20_000])
