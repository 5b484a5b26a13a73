"""Reads the list of patients, or of single studies, that are to be forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from forgetmi.cohort.files import MOST, StringTable, capped, read_strings
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.core.arrays import Strings
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import CohortError, Fault

# Columns that are read where none is named; the digests are what the ledger writes
PATIENT_COLUMNS = ("patient_id", "subject_id")
STUDY_COLUMN = "study_id"
PATIENT_DIGEST, STUDY_DIGEST = "patient_digest", "study_digest"
DIGEST = re.compile("[0-9a-f]{16}")
PLURAL = {"patient": "patients", "study": "studies"}


def read_forget_list(
    path: Path,
    *,
    cohort: Cohort,
    key: bytes,
    patient_column: str = "",
    study_column: str = "",
) -> ForgetRequest:
    """Read the identifiers of those who asked to be forgotten.

    Args:
        path: CSV or Parquet with one identifier a row, or, as the ledger writes it, one keyed digest a row in a column
            patient_digest or study_digest; further columns do not matter.
        cohort: The cohort they are in.
        key: The key its digests were made with; see `forgetmi.cohort.identifiers.load_key`.
        patient_column: Column of patient identifiers; default: patient_id or subject_id.
        study_column: Column of study identifiers, to forget single studies; read only where it is named or where the
            file has no column of patients (then study_id).

    Returns:
        The request, in the order of the list, repeated identifiers once.

    Raises:
        CohortError: The file is unreadable, has no such column, blank cells or unknown identifiers, or the key is not
            the cohort's. Identifiers are reported as row and digest.
    """
    # Under another key every digest differs, and nobody on the list would be in the cohort
    pseudonyms = Pseudonyms(key)
    if pseudonyms.key_id != cohort.key_id:
        raise CohortError(
            Fault(
                "the identifier key is not the one the cohort was read with",
                why=f"key {pseudonyms.key_id}, the cohort's is {cohort.key_id}",
                do="Use the same key file for both.",
            )
        )

    # Which column names whom
    table = read_strings(path)
    if not patient_column and not study_column:
        patient_column, study_column = _default_columns(table)
    elif patient_column and study_column:
        raise CohortError(
            Fault(
                "both a patient column and a study column are named",
                where=table.file,
                do="Name only one. To forget whole patients, name the patient column.",
            )
        )
    column = patient_column or study_column
    if column not in table.columns:
        raise CohortError([*_missing_column(table, column), *table.faults])

    # The cells as keyed digests, each of them one that the cohort has
    kind = "patient" if patient_column else "study"
    cells = np.array([cell.strip() for cell in table.columns[column]], dtype=object)
    digests = pseudonyms.digests(kind, cells)
    if column in (PATIENT_DIGEST, STUDY_DIGEST):
        digests = _given_digests(cells, digests)
    known = cohort.patient if kind == "patient" else cohort.study
    faults = [*table.faults, *_cell_faults(table, column, kind, cells, digests, known)]
    if faults:
        raise CohortError(faults)

    # Each person or study once
    named = tuple(dict.fromkeys(digests.tolist()))
    notices: tuple[str, ...] = ()
    if len(named) < len(table):
        notices = (f"the list's {len(table)} rows name {len(named)} {PLURAL[kind]}",)
    if kind == "patient":
        return ForgetRequest(patients=named, notices=notices)
    return ForgetRequest(studies=named, notices=notices)


def _default_columns(table: StringTable) -> tuple[str, str]:
    """The patient column and the study column to read where none is named; one of them is ""."""
    # Patients go before studies
    for name in (*PATIENT_COLUMNS, PATIENT_DIGEST):
        if name in table.columns:
            return name, ""
    if STUDY_DIGEST in table.columns:
        return "", STUDY_DIGEST
    return "", STUDY_COLUMN


def _missing_column(table: StringTable, column: str) -> list[Fault]:
    """Why there is nothing to read: the named column is missing, or none of the usual ones is there."""
    if column != STUDY_COLUMN:
        return table.missing([column])
    return [
        Fault(
            f"no column {', '.join(PATIENT_COLUMNS)} or {STUDY_COLUMN}",
            where=table.file,
            do=f"Name the column of identifiers. The file has: {', '.join(table.columns)}.",
        )
    ]


def _given_digests(cells: Strings, digests: Strings) -> Strings:
    """The cells of a digest column as they are.

    A cell that is no digest is taken for an identifier: its own digest stands in, so that it is never printed.
    """
    result = digests.copy()
    for row, cell in enumerate(cells):
        if DIGEST.fullmatch(cell):
            result[row] = cell
    return result


def _cell_faults(
    table: StringTable, column: str, kind: str, cells: Strings, digests: Strings, known: Strings
) -> list[Fault]:
    """One fault for each cell that is blank, and for each that the cohort does not know."""
    # Blank or unknown: never the identifier itself in a message
    in_cohort = set(known)
    blank = []
    unknown = []
    for row, (cell, digest) in enumerate(zip(cells, digests, strict=True)):
        where = f"{table.where(row)}, column {column!r}"
        if not cell:
            blank.append(Fault("the identifier is blank", where=where))
        elif digest not in in_cohort:
            unknown.append(
                Fault(
                    f"{kind} {digest} is not in the cohort",
                    where=where,
                    do="Check the identifier's spelling, and that the list is of this cohort.",
                )
            )

    # A limited number of each kind is spelled out
    faults = capped(blank[:MOST], len(blank), f"blank identifiers in {table.file}")
    faults += capped(unknown[:MOST], len(unknown), f"unknown identifiers in {table.file}")
    return faults
