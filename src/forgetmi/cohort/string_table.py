"""A table as columns of strings that knows where in its file each row is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from forgetmi.cohort.header import missing_columns
from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.errors import Fault

MOST = 20  # faults of one kind that are spelled out

# Most columns and cells of a table; a cell has at most 131,072 characters (Python's csv module)
MOST_COLUMNS = 10_000
MOST_CELLS = 50_000_000


@dataclass(frozen=True, eq=False)
class StringTable:
    """The columns of a file, every cell as text, blank cells as "".

    Args:
        file: The file's name, for messages.
        columns: Column name to n strings.
        row: n data-row numbers, from 1.
        line: n line numbers where the rows begin; None where the format has no lines.
        faults: What is wrong with the file's form (rows that were left out of `columns`).
        decimals: Columns of floating-point numbers to n strings that show them as such ("7.0", where `columns` has 7).
    """

    file: str
    columns: Mapping[str, Strings]
    row: Ints
    line: Ints | None = None
    faults: tuple[Fault, ...] = ()
    decimals: Mapping[str, Strings] = field(default_factory=dict)

    def __len__(self) -> int:
        """n, the number of rows."""
        return len(self.row)

    def where(self, i: int) -> str:
        """The place of the i-th of the n rows, in words."""
        line = "" if self.line is None else f" (line {self.line[i]})"
        return f"{self.file} row {self.row[i]}{line}"

    def identifiers(self, name: str) -> Strings:
        """A column of identifiers, which are never taken for whole numbers where the file holds floating-point ones."""
        return self.decimals.get(name, self.columns[name])

    def missing(self, names: Collection[str]) -> list[Fault]:
        """One fault for each of the columns that the file does not have; one in all where it has no header line."""
        return missing_columns(self.columns, names, file=self.file)


def capped(faults: list[Fault], total: int, rest: str) -> list[Fault]:
    """The first faults of a kind, and one that counts the others.

    Args:
        faults: At least the first `MOST` of them.
        total: How many there are.
        rest: What the others are, in words.
    """
    if total <= MOST:
        return faults
    return [*faults[:MOST], Fault(f"... and {total - MOST} more: {rest}")]
