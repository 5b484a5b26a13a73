"""Checks of columns that every reader needs: blank, repeated and contradicting cells, and the faults they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.errors import Fault


def stripped(values: Strings) -> Strings:
    """Cells without blanks around them."""
    return np.array([value.strip() for value in values], dtype=object)


def blank(values: Strings) -> Ints:
    """Rows whose cell is blank."""
    return np.flatnonzero(values == "")


def first_rows(values: Strings) -> Ints:
    """For each row, the first row with the same value."""
    code, _ = codes(values)

    # The first row of each code, then of each row
    first = np.unique(code, return_index=True)[1]
    return first[code].astype(np.int64)


def repeated(values: Strings) -> Ints:
    """Rows whose value, not blank, occurred before."""
    earlier = first_rows(values) != np.arange(len(values))
    return np.flatnonzero(earlier & (values != ""))


def changed_within(unit: Strings, value: Strings | Ints) -> Ints:
    """Rows whose value differs from that of the first row of their unit (blank units have none)."""
    differs = value != value[first_rows(unit)]
    return np.flatnonzero(differs & (unit != ""))


@dataclass(frozen=True)
class Findings:
    """Collects faults: a limited number of each kind, and never the content of a cell that may identify somebody.

    Args:
        rows: The rows that are checked.
        patient: Keyed digests of their patients.
        faults: The faults so far; `add` appends to them.
    """

    rows: RawRows
    patient: Strings
    faults: list[Fault]

    def add(
        self,
        rows: Ints,
        role: str,
        what: str,
        *,
        why: str = "",
        do: str = "",
        compared: Strings | None = None,
    ) -> None:
        """Record one kind of fault.

        Args:
            rows: The rows that have it.
            role: The column, by its role.
            what, why, do: As in `Fault`.
            compared: The column in which each row contradicts the first row of the same value, named as the reason.
        """
        column = self.rows.columns.get(role, role)
        first = first_rows(compared) if compared is not None and len(rows) else None

        faults = []
        for row in rows[:MOST].tolist():
            # What is wrong, or which earlier row contradicts it
            reason = why
            if first is not None:
                reason = f"compare {self.rows.where(int(first[row]))}"

            # The patient's digest finds the row, whatever the file's name
            where = f"{self.rows.where(row)}, column {column!r}"
            if self.patient[row]:
                where += f", patient {self.patient[row]}"
            faults.append(Fault(what, where=where, why=reason, do=do))

        self.faults.extend(capped(faults, len(rows), f"{what} (column {column!r})"))
