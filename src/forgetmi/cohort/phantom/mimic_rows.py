"""Rows of a MIMIC-CXR split list: made up or read from a given list, and written with lists of patients to forget."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.cohort.files import read_strings
from forgetmi.cohort.mimic_split_list import SEVERITY
from forgetmi.cohort.phantom.patient import draw_patient
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.seeding import derive, numpy_generator

SPLIT = "split.csv"
FORGET_PERCENT = (3, 6, 10)
_FIRST_SUBJECT, _FIRST_STUDY = 90_000_001, 95_000_001  # MIMIC's own begin with 1 and 5
_LISTED = re.compile(r"\d{8} \d{8} [\w-]+ [0-3]")


@dataclass(frozen=True)
class Row:
    """One image of a split list.

    Args:
        subject, study, dicom: Its identifiers.
        grade: Grade of edema, 0 to 3.
        fold: "1" to "5", or "TEST".
    """

    subject: str
    study: str
    dicom: str
    grade: int
    fold: str

    def cells(self) -> tuple[str, ...]:
        """The row as it is written."""
        return self.subject, self.study, self.dicom, str(self.grade), self.fold


def made_up_rows(patients: int, seed: int) -> Iterator[Row]:
    """Rows of made-up patients; one in ten is in TEST."""
    # Studies are numbered through all patients
    first_study = _FIRST_STUDY
    for k in range(patients):
        patient = draw_patient(seed, "mimic", k, ordinal=True)
        fold = "TEST" if k % 10 == 5 else str(1 + k % 5)

        for image, study in enumerate(patient.study):
            yield Row(
                subject=str(_FIRST_SUBJECT + k),
                study=str(first_study + study),
                dicom=_dicom_identifier(seed, k, image),
                grade=int(patient.label[study]),
                fold=fold,
            )

        first_study += len(patient.label)


def _dicom_identifier(seed: int, k: int, image: int) -> str:
    """Five groups of eight hex digits, as MIMIC-CXR's own."""
    groups = []
    for part in range(5):
        number = derive(seed, "mimic", "dicom", k, image, part)
        groups.append(f"{number & 0xFFFFFFFF:08x}")
    return "-".join(groups)


def listed_rows(split: Path) -> list[Row]:
    """Read the rows of a given split list.

    Raises:
        CohortError: A column is missing, or a row is not of a split list.
    """
    table = read_strings(split)
    severity = next((name for name in SEVERITY if name in table.columns), SEVERITY[0])

    # Either spelling of the column of grades
    names = ("subject_id", "study_id", "dicom_id", severity, "fold")
    if missing := table.missing(names):
        raise CohortError(missing, table.faults)

    rows = []
    faults = [*table.faults]
    columns = [table.columns[name] for name in names]
    for index, cells in enumerate(zip(*columns, strict=True)):
        if not _LISTED.fullmatch(" ".join(cells[:4])):
            faults.append(
                Fault(
                    "the row does not have the form of a split list",
                    where=table.where(index),
                    why="eight digits each for subject and study, and a grade from 0 to 3, are expected",
                )
            )
            continue
        subject, study, dicom, grade, fold = cells
        rows.append(Row(subject, study, dicom, int(grade), fold))

    if faults:
        raise CohortError(faults)
    return rows


def write_lists(folder: Path, rows: list[Row], split: Path | None, seed: int) -> None:
    """The split list (a given one byte for byte) and nested lists of whole patients to forget."""
    # A given list is copied, so that not a byte of it changes
    if split is None:
        _write_rows(folder / SPLIT, SEVERITY[1], rows, "\r\n")
    else:
        shutil.copyfile(split, folder / SPLIT)

    # Images of each patient on the training side
    images: dict[str, int] = {}
    for row in rows:
        if row.fold != "TEST":
            images[row.subject] = images.get(row.subject, 0) + 1

    # One random order for all percentages, so that each list holds the smaller ones
    order = numpy_generator(seed, "mimic", "forget").permutation(len(images))
    subjects = np.array(list(images))[order]
    counts = [images[subject] for subject in subjects]
    share = 100 * np.cumsum(counts) / len(rows)

    for percent in FORGET_PERCENT:
        # The number of patients whose images come closest to the percentage
        last = int(np.argmin(np.abs(share - percent)))
        chosen = set(subjects[: 1 + last])
        forgotten = [row for row in rows if row.subject in chosen]
        _write_rows(folder / forget_name(percent), SEVERITY[0], forgotten, "\n")


def forget_name(percent: int) -> str:
    """The file name of a forget list."""
    return f"forget_set_{percent}per.csv"


def _write_rows(path: Path, severity: str, rows: Iterable[Row], line_end: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator=line_end)
        table.writerow(("subject_id", "study_id", "dicom_id", severity, "fold"))
        table.writerows(row.cells() for row in rows)
