"""Columns of a second table, looked up by identifier: how many rows matched is said, and none is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from forgetmi.cohort.files import MOST, StringTable, capped, read_strings
from forgetmi.cohort.identity import canonical_cells, folded_cells
from forgetmi.core.arrays import Flags, Strings
from forgetmi.core.errors import CohortError, Fault


def looked_up(
    path: Path, key: str, column: str, identifiers: Strings, *, decimals: bool = False
) -> tuple[Strings, str]:
    """A table's values of n identifiers in one column; see `looked_up_columns`."""
    found, notice = looked_up_columns(path, key, (column,), identifiers, decimals=decimals)
    return found[column], notice


def looked_up_columns(
    path: Path,
    key: str,
    columns: Sequence[str],
    identifiers: Strings,
    *,
    decimals: bool = False,
) -> tuple[dict[str, Strings], str]:
    """A table's values of n identifiers, and a notice; see `joined_columns`."""
    found, _, notice = joined_columns(path, key, columns, identifiers, decimals=decimals)
    return found, notice


def joined_columns(
    path: Path,
    key: str,
    columns: Sequence[str],
    identifiers: Strings,
    *,
    decimals: bool = False,
) -> tuple[dict[str, Strings], Flags, str]:
    """A table's values of n identifiers, "" where it has none; and a notice of how many it has. It is read once.

    Args:
        path: The table.
        key: Its column of identifiers.
        columns: Its columns of values, at least one.
        identifiers: n canonical identifiers.
        decimals: Whether 7.0 is 7.

    Returns:
        Column to n values; Bool[n], which identifiers the table has; and the notice.

    Raises:
        CohortError: It cannot be read, lacks a column, gives an identifier two values, or has none of the identifiers.
    """
    table = read_strings(path)
    if missing := table.missing([key, *columns]):
        raise CohortError(missing, table.faults)

    keys = canonical_cells(table.identifiers(key))
    if decimals:
        keys = folded_cells(keys, ("decimals",))

    found: dict[str, Strings] = {}
    notice = ""
    there = np.zeros(len(identifiers), dtype=bool)
    for column in columns:
        value_of = _values(table, keys, table.columns[column])
        values = [value_of.get(identifier, "") for identifier in identifiers]
        found[column] = np.array(values, dtype=object)
        notice = matched(identifiers, value_of, table.file, key)
        there = np.array([identifier in value_of for identifier in identifiers], dtype=bool)
    return found, there, notice


def matched(identifiers: Strings, known: Mapping[str, str], file: str, key: str) -> str:
    """A notice of how many rows a second table has.

    Args:
        identifiers: n identifiers.
        known: Those of the table.
        file: The table's name.
        key: The column by which they are looked up.

    Raises:
        CohortError: It has none of them.
    """
    count = sum(identifier in known for identifier in identifiers)
    if count == 0 and len(identifiers):
        raise CohortError(
            Fault(
                f"none of {len(identifiers)} rows is in the table",
                where=file,
                why=f"they are looked up by {key}",
                do="Check that it is the table of these data, and how it writes its identifiers.",
            )
        )
    return f"{count} of {len(identifiers)} rows were found in {file} (by {key})"


def _values(table: StringTable, keys: Strings, cells: Strings) -> dict[str, str]:
    """Identifier to value; a blank identifier has none.

    Raises:
        CohortError: An identifier has two values.
    """
    values: dict[str, str] = {}
    faults: list[Fault] = []
    for row, (identifier, cell) in enumerate(zip(keys, cells, strict=True)):
        value = cell.strip()
        if identifier and values.setdefault(identifier, value) != value:
            faults.append(
                Fault(
                    "the identifier has another value in an earlier row",
                    where=table.where(row),
                    do="Leave one of the rows out.",
                )
            )
    if faults:
        rest = f"identifiers with two values in {table.file}"
        raise CohortError(capped(faults[:MOST], len(faults), rest))
    return values
