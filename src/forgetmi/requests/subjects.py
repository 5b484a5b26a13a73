"""Which patients or studies a request names: raw identifiers are read, and only their keyed digests leave this file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.cohort.files import MOST, StringTable, capped, read_strings
from forgetmi.cohort.forget_list import PATIENT_COLUMNS, STUDY_COLUMN, no_identifier_column
from forgetmi.cohort.identifier_damage import damage
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import canonical_cells, likeness
from forgetmi.cohort.named_people import likenesses_in
from forgetmi.cohort.spelling import Subject, readings
from forgetmi.core.errors import EvidenceError, Fault


@dataclass(frozen=True)
class Subjects:
    """Whom a request names.

    Args:
        patients, studies: Keyed digests; one of the two is empty.
        readings: Of each of them, the digests of its other spellings; see `forgetmi.cohort.spelling.readings`.
    """

    patients: tuple[str, ...]
    studies: tuple[str, ...]
    readings: Mapping[str, Mapping[str, str]]


def read_subjects(
    path: Path,
    pseudonyms: Pseudonyms,
    *,
    words: tuple[str, ...] = (),
) -> Subjects:
    """Keyed digests of patients or of studies.

    Args:
        path: CSV or Parquet with a column patient_id (or subject_id), or else study_id.
        pseudonyms: Made with the cohort's key.
        words: Free words that will be stored with them; they may not hold any of the identifiers.

    Raises:
        EvidenceError: There is no such column, a cell is blank or damaged, or the words hold an identifier.
    """
    return subjects_of(read_strings(path), pseudonyms, words=words)


def subjects_of(
    table: StringTable, pseudonyms: Pseudonyms, *, words: tuple[str, ...] = ()
) -> Subjects:
    """Keyed digests of the patients or studies in a table; see `read_subjects`."""
    column = _identifier_column(table)
    identifiers = canonical_cells(table.identifiers(column)).tolist()

    # All faults at once, none of which repeats an identifier.
    faults = [
        *table.faults,
        *_blank_faults(table, identifiers),
        *_damage_faults(table, identifiers),
        *_telling_faults(table, identifiers, words),
    ]
    if faults:
        raise EvidenceError(faults)

    # One digest a subject, in the order of the file. Under which rule it will be read, its cohort decides.
    kind: Subject = "study" if column == STUDY_COLUMN else "patient"
    known: dict[str, Mapping[str, str]] = {}
    for identifier in dict.fromkeys(identifiers):
        digest = pseudonyms.digest(kind, identifier)
        known[digest] = readings(kind, identifier, pseudonyms)
    if kind == "study":
        return Subjects((), tuple(known), known)
    return Subjects(tuple(known), (), known)


def _identifier_column(table: StringTable) -> str:
    for column in (*PATIENT_COLUMNS, STUDY_COLUMN):
        if column in table.columns:
            return column
    raise EvidenceError(no_identifier_column(table))


def _damage_faults(table: StringTable, identifiers: Sequence[str]) -> list[Fault]:
    """Rows whose identifier a spreadsheet damaged."""
    faults = []
    for row, identifier in enumerate(identifiers):
        if reason := damage(identifier):
            do = "Write it as text, as the cohort has it."
            faults.append(
                Fault("the identifier is damaged", where=table.where(row), why=reason, do=do)
            )
    return capped(faults[:MOST], len(faults), f"damaged identifiers in {table.file}")


def _blank_faults(table: StringTable, identifiers: Sequence[str]) -> list[Fault]:
    # A blank cell may be a patient nobody would forget
    blank = [row for row, identifier in enumerate(identifiers) if not identifier]
    faults = [Fault("the identifier is blank", where=table.where(row)) for row in blank[:MOST]]
    return capped(faults, len(blank), f"blank cells in {table.file}")


def _telling_faults(
    table: StringTable, identifiers: Sequence[str], words: Sequence[str]
) -> list[Fault]:
    """Rows whose identifier also occurs in the free words."""
    found = set()
    for text in words:
        found |= likenesses_in(text)

    telling = []
    for row, identifier in enumerate(identifiers):
        if identifier and not found.isdisjoint(likeness(identifier)):
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
