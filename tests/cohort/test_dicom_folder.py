"""A folder of DICOM files becomes a table: patients by PatientID, reports joined, nothing named in messages."""

from __future__ import annotations

import csv
import gzip
import io
import re
import stat
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.cohort.dicom_folder import COLUMNS, DicomTable, dicom_table
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.table import TableCohort
from forgetmi.core.errors import CohortError
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from tests.data.dicom_files import dicom, file_bytes

KEY = Pseudonyms(bytes(range(32)))
REPORT = "INDICATION: cough.\nFINDINGS: Mild interstitial edema.\nIMPRESSION: As above."


def image(patient: str, study: int, number: int = 0, **tags: object) -> bytes:
    elements = {
        "PatientID": f"SECRET-{patient}",
        "StudyInstanceUID": f"1.2.{patient}.{study}",
        "SOPInstanceUID": f"1.2.{patient}.{study}.{number}",
        "AccessionNumber": f"A{patient}{study}",
        **tags,
    }
    return file_bytes(dicom(**elements))


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """Three patients, two studies each, as on a disc: no endings, no preamble, packed; and other files."""
    folder = tmp_path / "disc"
    (folder / "A" / "B").mkdir(parents=True)
    for patient in (1, 2, 3):
        for study in (0, 1):
            content = image(str(patient), study)
            if patient == 2:
                content = content[132:]
            if patient == 3:
                content = gzip.compress(content)
            (folder / "A" / "B" / f"IM{patient}{study}").write_bytes(content)
    (folder / "README.TXT").write_text("SECRET")
    (folder / "._IM10").write_bytes(b"SECRET")
    return folder


def make(disc: Path, reports: Path) -> DicomTable:
    return dicom_table(disc, reports, pseudonyms=KEY)


def rows_of(table: DicomTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.text)))


def folder_of(tmp_path: Path, names: list[str], text: str = REPORT) -> Path:
    folder = tmp_path / "reports"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.txt").write_text(text)
    return folder


@pytest.mark.parametrize(
    "name",
    ["1.2.{p}.{s}", "1.2.{p}.{s}.0", "A{p}{s}", "IM{p}{s}"],
    ids=["study", "image", "accession", "file"],
)
def test_reports_of_a_folder(name: str, disc: Path, tmp_path: Path) -> None:
    names = [name.format(p=patient, s=study) for patient in (1, 2, 3) for study in (0, 1)]
    table = make(disc, folder_of(tmp_path, names))
    rows = rows_of(table)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == table.images == 6
    assert {row["patient_id"] for row in rows} == {"SECRET-1", "SECRET-2", "SECRET-3"}
    assert all(row["study_id"] + ".0" == row["image_id"] for row in rows)
    assert {row["report"] for row in rows} == {"Mild interstitial edema. As above."}
    assert {row["label"] for row in rows} == {"interstitial edema"}
    assert table.graded
    words = " ".join(table.notices)
    assert "1 files are no DICOM images" in words
    assert "1 files of macOS" in words
    assert "6 of 6 rows were found" in words
    assert "SECRET" not in words + repr(table)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("study_id", "1.2.2.1"),
        ("StudyInstanceUID", "1.2.2.1"),
        ("image_id", "1.2.2.1.0"),
        ("accession_number", "A21"),
        ("image", "A/B/IM21"),
        ("path", "IM21"),
    ],
)
def test_reports_of_a_table_and_its_labels(
    column: str, value: str, disc: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.csv").write_text(f"{column},report,label\n{value},Clear.,2\nother,Clear.,1\n")
    table = make(disc, tmp_path / "r.csv")
    (row,) = rows_of(table)
    assert (row["image"], row["report"], row["label"]) == ("A/B/IM21", "Clear.", "2")
    assert not table.graded
    assert "5 images have no report and are left out" in table.notices
    assert any("1 of 6 rows were found in r.csv" in notice for notice in table.notices)


def test_a_report_of_a_patient_counts_for_the_only_study(disc: Path, tmp_path: Path) -> None:
    (disc / "one").write_bytes(image("4", 0))
    (tmp_path / "r.csv").write_text("patient_id,report\nSECRET-4,Clear.\n")
    assert [row["patient_id"] for row in rows_of(make(disc, tmp_path / "r.csv"))] == ["SECRET-4"]

    (tmp_path / "r.csv").write_text("patient_id,report\nSECRET-1,Clear.\n")
    with pytest.raises(CohortError, match="several studies") as caught:
        make(disc, tmp_path / "r.csv")
    assert KEY.digest("patient", "SECRET-1") in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_copies_are_passed_over_and_an_image_without_study_is_one(
    disc: Path, tmp_path: Path
) -> None:
    (disc / "copy").write_bytes(image("1", 0))
    (disc / "alone").write_bytes(file_bytes(dicom(PatientID="SECRET-9", SOPInstanceUID="9.9")))
    table = make(disc, folder_of(tmp_path, ["A10", "9.9"]))
    studies = {(row["patient_id"], row["study_id"]) for row in rows_of(table)}
    assert studies == {("SECRET-1", "1.2.1.0"), ("SECRET-9", "9.9")}
    words = " ".join(table.notices)
    assert "1 files repeat an image" in words
    assert "1 images lack StudyInstanceUID" in words


def test_all_faults_at_once_by_number_and_digest(disc: Path, tmp_path: Path) -> None:
    (disc / "SECRET-a").write_bytes(image("5", 0, PatientID=None))
    (disc / "SECRET-b").write_bytes(image("5", 0, PatientID="nan"))
    (disc / "SECRET-c").write_bytes(image("6", 0, SOPInstanceUID="1.2.1.0.0"))
    with pytest.raises(CohortError) as caught:
        make(disc, folder_of(tmp_path, ["A10"]))
    text = str(caught.value)
    assert text.count("lacks PatientID") == 2
    assert "one SOPInstanceUID" in text
    assert "SECRET" not in text
    assert re.search(r"file \d+ of \d+, digest [0-9a-f]{16}", text)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"StudyInstanceUID": "1.2.1.0"}, "two patients"),
        ({"PatientID": "SECRET-1", "IssuerOfPatientID": "SECRET HOSPITAL"}, "two issuers"),
    ],
)
def test_people_are_not_merged(
    tags: dict[str, str], words: str, disc: Path, tmp_path: Path
) -> None:
    (disc / "Z1").write_bytes(image("7", 0, **tags))
    (disc / "Z2").write_bytes(
        image("1", 3, IssuerOfPatientID="OTHER") if "two issuers" in words else image("8", 0)
    )
    with pytest.raises(CohortError, match=words) as caught:
        make(disc, folder_of(tmp_path, ["A10"]))
    assert "SECRET" not in str(caught.value)


def test_a_report_that_fits_two_patients_is_refused(disc: Path, tmp_path: Path) -> None:
    (disc / "A" / "X").write_bytes(image("4", 0, AccessionNumber="SECRET-1"))
    with pytest.raises(CohortError, match="one report fits the images of two patients") as caught:
        make(disc, folder_of(tmp_path, ["SECRET-1"]))
    assert "SECRET" not in str(caught.value)

    table = tmp_path / "r.csv"
    (disc / "A" / "X").write_bytes(image("4", 0, AccessionNumber="A21"))
    table.write_text("accession_number,report,label\nA21,Clear.,2\n")
    with pytest.raises(CohortError, match="two patients"):
        make(disc, table)


def test_an_identifier_with_a_backslash_stays_whole(disc: Path, tmp_path: Path) -> None:
    (disc / "A" / "X").write_bytes(image("4\\5", 0, StudyInstanceUID="1.9", SOPInstanceUID="1.9.1"))
    rows = rows_of(make(disc, folder_of(tmp_path, ["1.9"])))
    assert [row["patient_id"] for row in rows] == ["SECRET-4\\5"]


def test_a_report_of_no_text_is_refused(disc: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="NUL") as caught:
        make(disc, folder_of(tmp_path, ["1.2.1.0"], "SECRET\0"))
    assert "SECRET" not in str(caught.value)


def test_what_cannot_be_joined_is_refused(disc: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="none of 6 rows"):
        make(disc, folder_of(tmp_path, ["other"]))
    (tmp_path / "r.csv").write_text("name,report\nSECRET,Clear.\n")
    with pytest.raises(CohortError, match="no column of images or studies") as caught:
        make(disc, tmp_path / "r.csv")
    assert "SECRET" not in str(caught.value)
    (tmp_path / "r.csv").write_text("study_id,report\n1.2.1.0,Clear.\n1.2.1.0,Edema.\n")
    with pytest.raises(CohortError, match="another report"):
        make(disc, tmp_path / "r.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CohortError, match="no DICOM image"):
        make(tmp_path / "empty", tmp_path / "r.csv")


def test_from_the_command_line_to_a_cohort(
    disc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = folder_of(
        tmp_path, [f"A{patient}{study}" for patient in (1, 2, 3) for study in (0, 1)]
    )
    out = tmp_path / "out"
    words = ["cohort", "make", "--from-dicom", str(disc), "--reports", str(reports)]
    assert main([*words, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "SECRET" not in printed.out + printed.err
    assert "6 images" in printed.out

    # The table is its owner's alone, and not written again.
    assert stat.S_IMODE((out / "cohort.csv").stat().st_mode) == 0o600
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert main([*words, "--out", str(out)]) == 2

    assert main(["cohort", "check", "--spec", str(out / "spec.yaml")]) == 0
    assert "6 images, 6 studies, 3 patients" in capsys.readouterr().out
    cohort = TableCohort(
        path=out / "cohort.csv", image_root=disc, classes=("a", "interstitial edema")
    ).load()
    store = build_image_store(cohort, ImagePreprocessing(size=16), cache=tmp_path / "cache")
    assert len(store) == 6
