"""Who a request names: raw identifiers are read from a list, and only their keyed digests go on."""

from __future__ import annotations

from pathlib import Path

from forgetmi.cohort.files import MOST, capped, read_strings
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
    column = next((name for name in (*PATIENT_COLUMNS, STUDY_COLUMN) if name in table.columns), "")
    if not column:
        raise EvidenceError(
            Fault(
                f"no column {', '.join(PATIENT_COLUMNS)} or {STUDY_COLUMN}",
                where=table.file,
                do="Name the column of identifiers so.",
            )
        )
    raw = [cell.strip() for cell in table.columns[column]]
    blank = [number for number, cell in enumerate(raw) if not cell]
    faults = [
        *table.faults,
        *capped(
            [
                Fault("the identifier is blank", where=table.where(number))
                for number in blank[:MOST]
            ],
            len(blank),
            f"blank cells in {table.file}",
        ),
    ]
    telling = [
        number
        for number, cell in enumerate(raw)
        if len(cell) >= _TELLING and any(cell in text for text in words)
    ]
    faults += [
        Fault(
            "the words hold this row's identifier",
            where=table.where(number),
            why="the ledger keeps no identifiers",
            do="Leave it out.",
        )
        for number in telling[:MOST]
    ]
    if faults:
        raise EvidenceError(faults)
    digests = tuple(
        dict.fromkeys(
            pseudonyms.digests("study" if column == STUDY_COLUMN else "patient", raw).tolist()
        )
    )
    return ((), digests) if column == STUDY_COLUMN else (digests, ())
