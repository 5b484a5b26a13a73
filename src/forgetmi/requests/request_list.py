"""A list of people who withdraw, as one request or several: raw identifiers are read, and only keyed digests leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from forgetmi.cohort.files import MOST, StringTable, capped, read_strings
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.requests.days import read_past_day
from forgetmi.requests.subjects import Subjects, subjects_of

# Columns that tell several requests of one list apart, and what each says
REQUEST, RECEIVED, GROUND = "request", "received", "ground"


@dataclass(frozen=True)
class ListedRequest:
    """One request as a list has it.

    Args:
        reference: The list's own number of it; "" = none.
        received: Day of receipt; None = the list does not say.
        ground: As written; "" = the list does not say.
        subjects: Whom it names.
    """

    reference: str
    received: date | None
    ground: str
    subjects: Subjects


def read_requests(
    path: Path, pseudonyms: Pseudonyms, *, words: Sequence[str] = ()
) -> tuple[ListedRequest, ...]:
    """The requests of a list, in the order in which they come.

    Rows with the same value in a column ``request`` are one request; without such a column, rows with the same day and
    ground are. Without any of these columns the list is one request.

    Args:
        path: CSV or Parquet with a column patient_id (or subject_id), or else study_id; it may have columns request,
            received (YYYY-MM-DD) and ground.
        pseudonyms: Made with the cohort's key.
        words: Free words that will be stored with them; they may not hold any of the identifiers.

    Raises:
        EvidenceError: The list is empty, an identifier is blank or damaged, the rows of one request differ, or words
            hold an identifier; all faults at once.
    """
    table = read_strings(path)
    keys = _keys(table)
    if not len(table):
        raise EvidenceError(
            Fault("the list names nobody", where=table.file, do="Give one row a person.")
        )

    # Rows of each request, in the order of the list
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key[0] if REQUEST in table.columns else "\x1f".join(key), []).append(row)

    faults = _differing(table, keys, rows) if REQUEST in table.columns else []
    days: dict[str, date | None] = {"": None}
    for row, (_, received, _) in enumerate(keys):
        if received in days:
            continue
        days[received] = None
        try:
            days[received] = read_past_day(received, f"{table.where(row)}, column {RECEIVED!r}")
        except SpecError as error:
            faults += error.faults

    free = {cell for key in keys for cell in (key[0], key[2]) if cell}
    subjects: list[Subjects] = []
    for of_request in rows.values():
        part = _part(table, of_request)
        try:
            subjects.append(subjects_of(part, pseudonyms, words=(*words, *sorted(free))))
        except EvidenceError as error:
            faults += error.faults
    if faults:
        raise EvidenceError(list(dict.fromkeys(faults)))

    found = []
    for of_request, named in zip(rows.values(), subjects, strict=True):
        reference, received, ground = keys[of_request[0]]
        found.append(ListedRequest(reference, days[received], ground, named))
    return tuple(found)


def _keys(table: StringTable) -> list[tuple[str, str, str]]:
    """Number, day and ground of each row."""
    cells = []
    for name in (REQUEST, RECEIVED, GROUND):
        column = table.columns.get(name, np.full(len(table), "", dtype=object))
        cells.append([str(cell).strip() for cell in column])
    return list(zip(*cells, strict=True))


def _differing(
    table: StringTable, keys: Sequence[tuple[str, str, str]], rows: dict[str, list[int]]
) -> list[Fault]:
    """Rows that say something else of their request than its first row, and rows without a request."""
    faults = []
    for key, of_request in rows.items():
        first = of_request[0]
        if not key:
            do = "Give every row a request, or leave the column out."
            faults.append(Fault("the request is blank", where=table.where(first), do=do))
            continue
        for row in of_request[1:]:
            if keys[row] != keys[first]:
                faults.append(
                    Fault(
                        "two rows of one request differ in day or ground",
                        where=table.where(row),
                        why=f"the first is {table.where(first)}",
                        do="Write the same day and ground in all rows of a request.",
                    )
                )
    return capped(faults[:MOST], len(faults), f"rows in {table.file}")


def _part(table: StringTable, rows: Sequence[int]) -> StringTable:
    """Some rows of a table, which keep their places."""
    chosen = np.array(rows, np.int64)
    return StringTable(
        table.file,
        {name: cells[chosen] for name, cells in table.columns.items()},
        row=table.row[chosen],
        line=None if table.line is None else table.line[chosen],
        faults=table.faults,
        decimals={name: cells[chosen] for name, cells in table.decimals.items()},
    )
