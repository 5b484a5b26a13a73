"""Which patients or studies a request names: raw identifiers are read, and only their keyed digests leave this file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forgetmi.cohort.files import MOST, StringTable, capped, read_strings
from forgetmi.cohort.forget_list import PATIENT_COLUMNS, STUDY_COLUMN
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.core.errors import EvidenceError, Fault

_TELLING = 4  # letters and digits from which an identifier in free words is no accident


def read_subjects(
    path: Path,
    pseudonyms: Pseudonyms,
    *,
    words: tuple[str, ...] = (),
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keyed digests of patients and of studies.

    Args:
        path: CSV or Parquet with a column patient_id (or subject_id), or else study_id.
        pseudonyms: Made with the cohort's key.
        words: Free words that will be stored with them; they may not hold any of the identifiers.

    Raises:
        EvidenceError: There is no such column, a cell is blank, or the words hold an identifier.
    """
    table = read_strings(path)
    column = _identifier_column(table)
    identifiers = [cell.strip() for cell in table.columns[column]]

    # All faults at once, none of which repeats an identifier.
    faults = [
        *table.faults,
        *_blank_faults(table, identifiers),
        *_telling_faults(table, identifiers, words),
    ]
    if faults:
        raise EvidenceError(faults)

    # One digest a subject, in the order of the file.
    kind = "study" if column == STUDY_COLUMN else "patient"
    digests = pseudonyms.digests(kind, identifiers).tolist()
    unique = tuple(dict.fromkeys(digests))
    if kind == "study":
        return (), unique
    return unique, ()


def _identifier_column(table: StringTable) -> str:
    for column in (*PATIENT_COLUMNS, STUDY_COLUMN):
        if column in table.columns:
            return column

    raise EvidenceError(
        Fault(
            f"no column {', '.join(PATIENT_COLUMNS)} or {STUDY_COLUMN}",
            where=table.file,
            do="Name the column of identifiers so.",
        )
    )


def _blank_faults(table: StringTable, identifiers: Sequence[str]) -> list[Fault]:
    # A blank cell may be a patient nobody would forget
    blank = [row for row, identifier in enumerate(identifiers) if not identifier]
    faults = [Fault("the identifier is blank", where=table.where(row)) for row in blank[:MOST]]
    return capped(faults, len(blank), f"blank cells in {table.file}")


def _telling_faults(
    table: StringTable, identifiers: Sequence[str], words: Sequence[str]
) -> list[Fault]:
    """Rows whose identifier also occurs in the free words."""
    telling = []
    for row, identifier in enumerate(identifiers):
        long_enough = len(identifier) >= _TELLING
        if long_enough and any(identifier in text for text in words):
            telling.append(row)

    return [
        Fault(
            "the words hold this row's identifier",
            where=table.where(row),
            why="the ledger keeps no identifiers",
            do="Leave it out.",
        )
        for row in telling[:MOST]
    ]
