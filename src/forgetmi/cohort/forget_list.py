"""Reads the list of patients, or of single studies, that are to be forgotten."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forgetmi.cohort.files import MOST, StringTable, capped, read_strings
from forgetmi.cohort.header import first_line_is_data, looks_like_data, shown_names
from forgetmi.cohort.identifier_damage import damage
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import canonical_cells
from forgetmi.cohort.spelling import Subject, digests_by, spelt_otherwise
from forgetmi.core.arrays import Strings
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import CohortError, Fault

# Columns that are read where none is named; the digests are what the ledger writes
PATIENT_COLUMNS = ("patient_id", "subject_id")
STUDY_COLUMN = "study_id"
PATIENT_DIGEST, STUDY_DIGEST = "patient_digest", "study_digest"
DIGEST = re.compile("[0-9a-f]{16}")
Unknown = Literal["refuse", "count"]
PLURAL = {"patient": "patients", "study": "studies"}


def read_forget_list(
    path: Path,
    *,
    cohort: Cohort,
    key: bytes,
    patient_column: str = "",
    study_column: str = "",
    unknown: Unknown = "refuse",
) -> ForgetRequest:
    """Read the identifiers of those who asked to be forgotten.

    Args:
        path: CSV or Parquet with one identifier a row, read by the rule that the cohort was read with; or, as the
            ledger writes it, one keyed digest a row in a column patient_digest or study_digest; further columns do not
            matter.
        cohort: The cohort they are in.
        key: The key its digests were made with; see `forgetmi.cohort.identifiers.load_key`.
        patient_column: Column of patient identifiers; default: patient_id or subject_id.
        study_column: Column of study identifiers, to forget single studies; read only where it is named or where the
            file has no column of patients (then study_id).
        unknown: What happens to those whom the cohort does not have: they are refused, or passed over and counted in
            the notices. Whoever the cohort may have in another spelling is refused in any case.

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

    # The cells as keyed digests by the cohort's rule, each of them one that the cohort has
    kind: Subject = "patient" if patient_column else "study"
    cells = canonical_cells(table.identifiers(column))
    digests = digests_by(cohort.spelling, kind, cells, pseudonyms)
    if column in (PATIENT_DIGEST, STUDY_DIGEST):
        digests = _given_digests(cells, digests)
    listed = _Listed(table, column, kind, cells, digests)
    faults = [*table.faults, *_cell_faults(listed, cohort, pseudonyms, unknown=unknown)]
    if faults:
        raise CohortError(faults)

    # Each person or study once
    named = tuple(dict.fromkeys(digests.tolist()))
    notices: tuple[str, ...] = ()
    if len(named) < len(table):
        notices = (f"the list's {len(table)} rows name {len(named)} {PLURAL[kind]}",)

    # Those whom the cohort does not have; without the option there is none left
    known = set(cohort.patient if kind == "patient" else cohort.study)
    there = tuple(digest for digest in named if digest in known)
    if len(there) < len(named):
        notices += (f"{len(named) - len(there)} of the list are not in the cohort",)
    named = there
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
    return [no_identifier_column(table)]


def no_identifier_column(table: StringTable) -> Fault:
    """The fault of a list without a column of identifiers; its first line may hold a name, and is not shown."""
    usual = (*PATIENT_COLUMNS, STUDY_COLUMN)
    if looks_like_data(tuple(table.columns)):
        return first_line_is_data(table.file, usual, among="one of them")
    return Fault(
        f"no column {', '.join(PATIENT_COLUMNS)} or {STUDY_COLUMN}",
        where=table.file,
        do=f"Name the column of identifiers so. The file has: {shown_names(table.columns)}.",
    )


@dataclass(frozen=True, eq=False)
class _Listed:
    """The identifiers of a list, r rows: where they stand, whose they are, as text and as digests."""

    table: StringTable
    column: str
    kind: Subject
    cells: Strings
    digests: Strings

    def where(self, row: int) -> str:
        """The place of a cell, in words."""
        return f"{self.table.where(row)}, column {self.column!r}"


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
    listed: _Listed, cohort: Cohort, pseudonyms: Pseudonyms, *, unknown: Unknown
) -> list[Fault]:
    """One fault for each cell that is blank or damaged, and for each that the cohort does not know."""
    known = set(cohort.patient if listed.kind == "patient" else cohort.study)
    decimals = "decimals" in cohort.spelling.rules

    # Blank, damaged or unknown: never the identifier itself in a message
    blank = []
    damaged = []
    absent = []
    for row, (cell, digest) in enumerate(zip(listed.cells, listed.digests, strict=True)):
        where = listed.where(row)
        if not cell:
            blank.append(Fault("the identifier is blank", where=where))
        elif reason := damage(cell, decimals=decimals):
            do = "Write it as text, as the cohort has it."
            damaged.append(Fault("the identifier is damaged", where=where, why=reason, do=do))
        elif digest not in known:
            fault = _absent(listed, row, cohort, pseudonyms, unknown=unknown)
            if fault is not None:
                absent.append(fault)

    # A limited number of each kind is spelled out
    file = listed.table.file
    faults = capped(blank[:MOST], len(blank), f"blank identifiers in {file}")
    faults += capped(damaged[:MOST], len(damaged), f"damaged identifiers in {file}")
    faults += capped(absent[:MOST], len(absent), f"unknown identifiers in {file}")
    return faults


def _absent(
    listed: _Listed, row: int, cohort: Cohort, pseudonyms: Pseudonyms, *, unknown: Unknown
) -> Fault | None:
    """The fault of an identifier that the cohort lacks, or has in another spelling; None = it is passed over."""
    where = listed.where(row)

    # What stands in a column of digests may be an identifier that looks like one
    if listed.column in (PATIENT_DIGEST, STUDY_DIGEST):
        if unknown == "count" and DIGEST.fullmatch(str(listed.cells[row])):
            return None
        do = "Check that the list is of this cohort, and was made with its identifier key."
        return Fault(f"no {listed.kind} of the cohort has this digest", where=where, do=do)

    what = f"{listed.kind} {listed.digests[row]} is not in the cohort"
    other, difference = spelt_otherwise(
        cohort.spelling, listed.kind, str(listed.cells[row]), pseudonyms
    )
    if not other:
        if unknown == "count":
            return None
        do = "Check the identifier's spelling, and that the list is of this cohort."
        return Fault(what, where=where, do=do)

    # Somebody there may be meant: neither passed over nor taken for granted
    return Fault(
        f"{what}, but differs only in {difference} from {listed.kind} {other}, who is",
        where=where,
        do="Write the identifier as the cohort has it; or read the cohort with --cohort.same-identifiers, if all such "
        "spellings are of one.",
    )
