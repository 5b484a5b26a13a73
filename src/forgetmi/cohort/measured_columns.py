"""What was measured beside film and report (age, vital signs, laboratory values), and what a row lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.cohort.row_checks import Findings, stripped
from forgetmi.cohort.value_column import UNKNOWN_VALUE, finite_number
from forgetmi.core.arrays import Flags, Strings, codes
from forgetmi.core.errors import Fault
from forgetmi.core.modalities import IMAGE, TABLE, TEXT

Column = npt.NDArray[np.float32]

# What to do with a row that lacks its film, its report or all that was measured
Missing = Literal["refuse", "allow"]

_MOST_CATEGORIES = 1000
_LACKING: Mapping[str, str] = {IMAGE: "film", TEXT: "report", TABLE: "measured value"}
_DO = "Leave such rows out, or keep them with --cohort.missing allow."


@dataclass(frozen=True, eq=False)
class Measured:
    """Measured columns.

    Args:
        values: Float32[n, c], NaN = missing, categories as codes; None = there are no columns.
        columns: Names of the c columns, numbers first.
        categorical: Names of those that hold codes.
    """

    values: Column | None = None
    columns: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()


def measured_faults(
    numeric: Sequence[str],
    categorical: Sequence[str],
    labels: Sequence[str],
    column_of: Mapping[str, str],
) -> list[Fault]:
    """A fault for each column that cannot be measured: it is named twice, identifies somebody, or is the label.

    Args:
        numeric, categorical: Names of the columns.
        labels: Columns of findings.
        column_of: Role ("patient", "label", ...) to column.
    """
    faults: list[Fault] = []
    for name, times in Counter([*numeric, *categorical]).items():
        if times > 1:
            why = "a column is read once, as numbers or as categories"
            faults.append(Fault(f"column {name!r} is named twice", _OPTIONS, why))

        # A model that reads the answer learns nothing else
        roles = [role for role, column in column_of.items() if column == name]
        if name in labels or "label" in roles:
            why = "it is what the model predicts"
            faults.append(Fault(f"column {name!r} cannot be read by a model", _OPTIONS, why))
        elif roles:
            why = f"it is the column of the {roles[0].replace('_', ' ')}"
            faults.append(Fault(f"column {name!r} cannot be read by a model", _OPTIONS, why))
    return faults


_OPTIONS = "options numeric and categorical"


def read_measured(rows: RawRows, findings: Findings) -> Measured:
    """Measured columns as numbers.

    Args:
        rows: The raw rows, n.
        findings: Takes the faults: a cell that is no number, a column without any value, too many categories.
    """
    columns: dict[str, Column] = {}
    for name, cells in rows.numeric.items():
        columns[name] = _numbers(name, cells, rows, findings)
    for name, cells in rows.categorical.items():
        columns[name] = _categories(name, cells, findings)
    if not columns:
        return Measured()

    for name, values in columns.items():
        if len(values) and np.isnan(values).all() and not findings.faults:
            findings.faults.append(Fault("the column has no value", where=f"column {name!r}"))
    values = np.stack(list(columns.values()), axis=1)
    return Measured(values, tuple(columns), tuple(rows.categorical))


def _numbers(name: str, cells: Strings, rows: RawRows, findings: Findings) -> Column:
    """Float32[n]; each distinct text is read once."""
    code, distinct = codes(stripped(cells))
    values, wrong = [], []
    for text in distinct:
        number = finite_number(text)
        values.append(np.nan if number is None else number)
        wrong.append(number is None and text.lower() not in UNKNOWN_VALUE)

    # The cell itself is never shown
    is_wrong = np.flatnonzero(np.array(wrong, dtype=bool)[code])
    faults = []
    for row in is_wrong[:MOST].tolist():
        where = f"{rows.where(row)}, column {name!r}"
        why = "digits with a decimal point; blank or nan = missing"
        faults.append(Fault("the value is not a number", where, why))
    findings.faults.extend(capped(faults, len(is_wrong), f"values in column {name!r}"))
    return np.array(values, np.float32)[code]


def _categories(name: str, cells: Strings, findings: Findings) -> Column:
    """Float32[n], codes 0, 1, 2, ... of the names in alphabetical order; NaN = missing."""
    code, distinct = codes(stripped(cells))
    names = sorted(text for text in distinct if text.lower() not in UNKNOWN_VALUE)
    if len(names) > _MOST_CATEGORIES:
        findings.faults.append(
            Fault(
                f"the column has {len(names)} categories",
                where=f"column {name!r}",
                why=f"at most {_MOST_CATEGORIES} are possible",
                do="Name a column of numbers with --cohort.numeric, or leave it out.",
            )
        )
    number = {text: place for place, text in enumerate(names)}
    values = [number.get(text, np.nan) for text in distinct]
    return np.array(values, np.float32)[code]


def what_is_there(
    rows: RawRows,
    findings: Findings,
    locators: Strings,
    reports: Strings,
    measured: Measured,
    *,
    missing_allowed: bool,
) -> dict[str, Flags]:
    """Modality to Bool[n], whether each row has it; only modalities that some rows lack.

    Args:
        rows: The raw rows, n.
        findings: Takes the faults: a row without any value although this is not allowed; a row that has nothing.
        locators, reports: As read, "" = none.
        measured: As read.
        missing_allowed: Whether a row may lack a modality.
    """
    there: dict[str, Flags] = {}
    if measured.values is not None:
        there[TABLE] = np.asarray(~np.isnan(measured.values).all(axis=1), dtype=bool)
        if not missing_allowed:
            for row in np.flatnonzero(~there[TABLE])[:MOST].tolist():
                fault = Fault("no measured column has a value", rows.where(row), do=_DO)
                findings.faults.append(fault)
    if missing_allowed:
        there[TEXT] = np.asarray(reports != "", dtype=bool)
        if rows.image is not None:
            there[IMAGE] = np.asarray(locators != "", dtype=bool)

        # Nothing can be said of a row that has nothing
        anything = np.any(list(there.values()), axis=0)
        for row in np.flatnonzero(~anything)[:MOST].tolist():
            what = "the row has neither a film nor a report nor a measured value"
            findings.faults.append(Fault(what, rows.where(row), do="Leave it out."))
    return {name: there[name].astype(bool) for name in sorted(there) if not there[name].all()}


def missing_notices(present: Mapping[str, Flags]) -> tuple[str, ...]:
    """How many rows lack what, in words."""
    notices = []
    for name, there in present.items():
        notices.append(f"{int((~there).sum())} rows have no {_LACKING[name]}")
    return tuple(notices)
