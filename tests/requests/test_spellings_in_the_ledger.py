"""The ledger keeps no identifiers, and still finds a person whom the cohort spells in another way."""

from __future__ import annotations

import json
import sqlite3
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetmi.cli import main
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import Same
from forgetmi.cohort.table import TableCohort
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvidenceError
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.processing import ForgetList, gather
from forgetmi.requests.subjects import read_subjects

KEY = b"0123456789abcdef"
NAMES = Pseudonyms(KEY)


def digest(identifier: str) -> str:
    return NAMES.digest("patient", identifier)


def cohort(folder: Path, patients: list[str], *same: Same, mapping: str = "") -> Cohort:
    Image.fromarray(np.full((2, 2), 7, np.uint8)).save(folder / "1.png")
    (folder / "key").write_bytes(KEY)
    lines = ["patient_id,study_id,image_id,image,report,label"]
    for row, patient in enumerate(patients):
        lines.append(f"{patient},s{row},i{row},1.png,Clear.,{row % 2}")
    path = folder / "cohort.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    who = None
    if mapping:
        who = folder / "map.csv"
        who.write_text(f"written,identifier\n{mapping}\n")
    return TableCohort(
        path, key_file=folder / "key", same_identifiers=same, identifier_map=who
    ).load()


def entered(folder: Path, *identifiers: str) -> Ledger:
    path = folder / "who.csv"
    path.write_text("patient_id\n" + "\n".join(identifiers) + "\n", encoding="utf-8")
    subjects = read_subjects(path, NAMES)
    ledger = Ledger.make(folder / "ledger.sqlite", key_id=NAMES.key_id)
    ledger.add(
        received=date(2026, 1, 1),
        due=date(2026, 2, 1),
        term="gdpr",
        ground="",
        scope="all_studies",
        patients=subjects.patients,
        readings=subjects.readings,
    )
    return ledger


def gathered(ledger: Ledger, of: Cohort) -> ForgetList:
    return gather(ledger, of, kind="patient")


@pytest.mark.parametrize(
    ("patient", "written", "rule"),
    [
        ("007", "7", "leading-zeros"),
        ("7", "0007", "leading-zeros"),
        ("P7", "p7", "case"),
        ("12-34", "1234", "punctuation"),
        ("p 7", "p7", "blanks"),
        ("p７", "p7", "unicode"),
    ],
)
def test_another_spelling_is_refused_until_the_user_says(
    tmp_path: Path, patient: str, written: str, rule: Same
) -> None:
    ledger = entered(tmp_path, written, "x")
    with pytest.raises(EvidenceError, match=r"R0001: a patient .* differs only in") as caught:
        gathered(ledger, cohort(tmp_path, [patient, "x", "y"]))
    assert digest(patient) in str(caught.value)

    # The cohort's rule reads the ledger, whatever it was when the request was entered
    of = cohort(tmp_path, [patient, "x", "y"], rule)
    found = gathered(ledger, of)
    assert [who for who, _ in found.rows] == [of.patient[0], digest("x")]

    # The ledger then names them as the cohort and its records do
    ledger.process(
        found.entries,
        write=lambda: None,
        never_trained=found.never_trained,
        named=found.named,
    )
    assert ledger.entries()[0].patients == (of.patient[0], digest("x"))

    # Two people: then one of them is not in the cohort
    apart = gather(ledger, cohort(tmp_path, [patient, "x", "y"], "never"), kind="patient", only=[1])
    assert [who for who, _ in apart.rows] == [digest("x")]
    assert "1 of 2 are not in this cohort" in apart.notes[0]


def test_two_spellings_in_one_request_are_one_patient(tmp_path: Path) -> None:
    ledger = entered(tmp_path, "7", "007")
    of = cohort(tmp_path, ["007", "7", "x"], "leading-zeros")
    found = gathered(ledger, of)
    assert [who for who, _ in found.rows] == [digest("7")]
    ledger.process(found.entries, write=lambda: None, named=found.named)
    assert ledger.entries()[0].patients == (digest("7"),)

    # With another cohort both are there again
    again = gather(ledger, cohort(tmp_path, ["007", "7", "x"], "never"), kind="patient", only=[1])
    assert [who for who, _ in again.rows] == [digest("7"), digest("007")]


def test_a_mapping_file_reads_the_ledger_too(tmp_path: Path) -> None:
    ledger = entered(tmp_path, "old-12")
    of = cohort(tmp_path, ["12", "old-12", "x"], mapping="old-12,12")
    assert [who for who, _ in gathered(ledger, of).rows] == [digest("12")]


def test_a_second_request_in_another_spelling_is_noted(tmp_path: Path) -> None:
    ledger = entered(tmp_path, "007", "x")
    entered(tmp_path, "7", "y").close()
    entered(tmp_path, "8").close()
    first, second, third = ledger.entries()
    assert ledger.twins(second) == [first]
    assert ledger.twins(third) == []


def test_somebody_else_is_not_in_the_cohort(tmp_path: Path) -> None:
    found = gathered(entered(tmp_path, "8", "x"), cohort(tmp_path, ["7", "x", "y"]))
    assert [who for who, _ in found.rows] == [digest("x")]
    assert "1 of 2 are not in this cohort" in found.notes[0]


def test_the_file_holds_no_identifier(tmp_path: Path) -> None:
    entered(tmp_path, "Smith-1964", "00123456").close()
    content = (tmp_path / "ledger.sqlite").read_bytes().lower()
    for raw in (b"smith", b"1964", b"123456"):
        assert raw not in content


def test_a_ledger_without_spellings_still_opens(tmp_path: Path) -> None:
    ledger = entered(tmp_path, "x", "7")
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.execute("DROP TABLE readings")
        database.execute("DROP TABLE named")
        database.execute("DROP TABLE seals")
    old = Ledger.make(tmp_path / "ledger.sqlite", key_id=NAMES.key_id)
    found = gathered(old, cohort(tmp_path, ["x", "y", "8"]))
    assert [who for who, _ in found.rows] == [digest("x")]


@pytest.mark.parametrize("cell", ["8.39860E+15", "7.0", "nan", "-"])
def test_a_damaged_list_is_not_entered(tmp_path: Path, cell: str) -> None:
    with pytest.raises(EvidenceError, match=r"who\.csv row 1 .*identifier is (damaged|blank)"):
        entered(tmp_path, cell)
    assert not (tmp_path / "ledger.sqlite").exists()


def test_a_list_without_a_header_quotes_nobody(tmp_path: Path, capsys) -> None:
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "who.csv").write_text("Surname Given 1964-08-12\n002\n")
    words = ["requests", "add", "--who", str(tmp_path / "who.csv")]
    words += ["--ledger", str(tmp_path / "l.sqlite"), "--key-file", str(tmp_path / "key")]
    assert main(words) == 2
    said = capsys.readouterr()
    assert "who.csv line 1: the first line looks like data" in said.err
    for word in ("Surname", "1964", "002"):
        assert word not in said.out + said.err


def test_the_list_as_json_has_digests_alone(tmp_path: Path, capsys) -> None:
    entered(tmp_path, "007").close()
    assert main(["requests", "list", "--as-json", "--ledger", str(tmp_path / "ledger.sqlite")]) == 0
    plain = json.loads(capsys.readouterr().out)[0]
    assert plain["patients"] == [digest("007")]
    assert not {"readings", "written"} & set(plain)
