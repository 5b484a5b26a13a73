"""Labels of a table cohort that stand in a second table: joined by an identifier, with a count of the rows found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.cohort.identity import Identity, canonical_cells, folded_cells
from forgetmi.cohort.joined import joined_columns
from forgetmi.cohort.string_table import StringTable
from forgetmi.core.arrays import Flags, Strings
from forgetmi.core.errors import CohortError, Fault


@dataclass(frozen=True, eq=False)
class JoinedLabels:
    """Cells of labels for n rows.

    Args:
        cells: Column to n cells, "" for rows that are not in the label table.
        found: Bool[n], which rows are in it.
        notice: How many.
    """

    cells: dict[str, Strings]
    found: Flags
    notice: str


def join_labels(
    path: Path, key: str, columns: Sequence[str], table: StringTable, identity: Identity
) -> JoinedLabels:
    """Each row's labels from a second table.

    Args:
        path: The second table; it may have more rows, and several of one identifier that agree.
        key: Column of the identifier, in both tables.
        columns: Its columns of labels, at least one.
        table: The cohort's own table.
        identity: What the user said about spellings of identifiers; decimals matter here.

    Raises:
        CohortError: The tables cannot be joined: a column is missing, an identifier has two values, no row is found.
    """
    if missing := table.missing([key]):
        raise CohortError(missing, table.faults)
    if key in columns:
        do = "Name columns of labels, and the identifier apart from them."
        fault = Fault(
            f"column {key!r} is both the identifier and a label", "option label_key", do=do
        )
        raise CohortError(fault)

    # Both sides in one spelling
    decimals = "decimals" in identity.rules
    identifiers = canonical_cells(table.identifiers(key))
    if decimals:
        identifiers = folded_cells(identifiers, ("decimals",))
    cells, found, notice = joined_columns(path, key, columns, identifiers, decimals=decimals)
    return JoinedLabels(cells, found, f"labels: {notice}")
