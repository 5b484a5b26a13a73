"""Reads CSV and Parquet tables as columns of strings, and remembers where in its file each row is."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.suggest import did_you_mean

MOST = 20  # faults of one kind that are spelled out


@dataclass(frozen=True, eq=False)
class StringTable:
    """The columns of a file, every cell as text, blank cells as "".

    Args:
        file: The file's name, for messages.
        columns: Column name to n strings.
        row: n data-row numbers, from 1.
        line: n line numbers where the rows begin; None where the format has no lines.
        faults: What is wrong with the file's form (rows that were left out of `columns`).
    """

    file: str
    columns: Mapping[str, Strings]
    row: Ints
    line: Ints | None = None
    faults: tuple[Fault, ...] = ()

    def __len__(self) -> int:
        """n, the number of rows."""
        return len(self.row)

    def where(self, i: int) -> str:
        """The place of the i-th of the n rows, in words."""
        line = "" if self.line is None else f" (line {self.line[i]})"
        return f"{self.file} row {self.row[i]}{line}"

    def missing(self, names: Collection[str]) -> list[Fault]:
        """One fault for each of the columns that the file does not have."""
        faults = []
        for name in dict.fromkeys(names):
            if name in self.columns:
                continue
            then = f"The file has: {', '.join(self.columns)}."
            faults.append(
                Fault(
                    f"column {name!r} is missing",
                    where=self.file,
                    do=did_you_mean(name, self.columns, then=then),
                )
            )
        return faults


def read_strings(path: Path) -> StringTable:
    """Read a CSV file (UTF-8 with or without BOM, comma, any line ends) or a Parquet file (name ends in .parquet).

    Nothing is guessed: cells stay text, blank cells stay blank. Rows that repeat the header or have too many or too few
    cells are left out and reported in `StringTable.faults`, so that the caller can report them with its own.

    Raises:
        CohortError: The file is absent, unreadable, not UTF-8, not a table, or has no rows.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CohortError(
            Fault(
                "the file cannot be read",
                where=str(path),
                why=error.strerror or type(error).__name__,
                do="Check the path.",
            )
        ) from None

    # The ending decides, not the content
    is_parquet = path.suffix.lower() in {".parquet", ".pq"}
    table = _parquet(path.name, data) if is_parquet else _csv(path.name, data)
    if len(table) == 0 and not table.faults:
        raise CohortError(
            Fault("the table has no rows", where=table.file, why="it ends after its header")
        )
    return table


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


def _csv(file: str, data: bytes) -> StringTable:
    """The columns of a CSV file."""
    # The header is checked before any row
    parsed = _parsed(file, _decoded(file, data))
    faults = _header_faults(file, parsed.header)
    if faults:
        raise CohortError(faults)

    # Rows become columns; without rows each column is empty
    columns: dict[str, Strings] = {}
    for position, name in enumerate(parsed.header):
        cells = [row[position] for row in parsed.rows]
        columns[name] = np.array(cells, dtype=object)

    return StringTable(
        file,
        columns,
        row=np.array(parsed.numbers, np.int64),
        line=np.array(parsed.lines, np.int64),
        faults=tuple(_row_faults(file, parsed)),
    )


def _decoded(file: str, data: bytes) -> str:
    """The text of a file in UTF-8, with or without BOM."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The line of the first byte that is no UTF-8
        line = data.count(b"\n", 0, error.start) + 1
        raise CohortError(
            Fault(
                "the file is not UTF-8", where=f"{file} line {line}", do="Save the table as UTF-8."
            )
        ) from None

    # A binary file, or UTF-16 without its mark
    if "\0" in text:
        raise CohortError(
            Fault(
                "the file holds NUL characters",
                where=file,
                why="it is not a text table",
                do="Save the table as CSV in UTF-8.",
            )
        )
    return text


@dataclass
class _Parsed:
    """The rows of a CSV file.

    Args:
        header: Column names.
        rows: Data rows with as many cells as the header.
        numbers, lines: Their row number, from 1, and the line each begins in.
        ragged: Rows with another number of cells: row number, line, cells.
        repeated: Rows that repeat the header: row number, line.
    """

    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    ragged: list[tuple[int, int, int]] = field(default_factory=list)
    repeated: list[tuple[int, int]] = field(default_factory=list)


def _parsed(file: str, text: str) -> _Parsed:
    """Sort the rows of a CSV text; empty lines are no rows."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    parsed = _Parsed()
    count = 0
    next_line = 1
    try:
        for cells in reader:
            # A row may go over several lines: the next begins after the last line read
            line, next_line = next_line, reader.line_num + 1
            if not cells:
                continue
            if not parsed.header:
                parsed.header = [cell.strip() for cell in cells]
                continue

            # Rows are numbered without the header
            count += 1
            if len(cells) != len(parsed.header):
                parsed.ragged.append((count, line, len(cells)))
            elif _is_header(cells, parsed.header):
                parsed.repeated.append((count, line))
            else:
                parsed.rows.append(cells)
                parsed.numbers.append(count)
                parsed.lines.append(line)
    except csv.Error:
        raise CohortError(
            Fault(
                "the row cannot be read",
                where=f"{file} line {next_line}",
                why="a quotation mark is not closed, or a cell is longer than 131,072 characters",
                do="Quote every cell that holds a comma, a line end or a quotation mark.",
            )
        ) from None
    return parsed


def _is_header(cells: list[str], header: list[str]) -> bool:
    """Whether a row repeats the header; the first cell decides in most rows."""
    return cells[0].strip() == header[0] and [cell.strip() for cell in cells] == header


def _row_faults(file: str, parsed: _Parsed) -> list[Fault]:
    """A limited number of faults for rows that were left out."""
    ragged = []
    for number, line, cells in parsed.ragged[:MOST]:
        ragged.append(
            Fault(
                f"the row has {cells} cells, the header {len(parsed.header)}",
                where=f"{file} row {number} (line {line})",
                do="Quote cells that hold a comma or a line end.",
            )
        )

    repeated = []
    for number, line in parsed.repeated[:MOST]:
        repeated.append(
            Fault(
                "the row repeats the header",
                where=f"{file} row {number} (line {line})",
                do="Remove it.",
            )
        )

    # A limited number of each kind is spelled out
    faults = capped(ragged, len(parsed.ragged), "rows with another number of cells than the header")
    faults += capped(repeated, len(parsed.repeated), "rows that repeat the header")
    return faults


def _header_faults(file: str, header: list[str]) -> list[Fault]:
    """What is wrong with column names."""
    if not header:
        return [Fault("the file is empty", where=file)]

    faults = []

    # Blank names may repeat: nobody can ask for such a column
    for name, times in Counter(header).items():
        if times > 1 and name:
            faults.append(
                Fault(
                    f"column {name!r} occurs {times} times",
                    where=file,
                    do="Give each column a name of its own.",
                )
            )

    # Semicolons, tabs or bars in the only column: cells were separated by them
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        faults.append(
            Fault(
                "the header has one column only",
                where=file,
                why="cells are not separated by commas",
                do="Save the table with commas between the cells.",
            )
        )
    return faults


def _parquet(file: str, data: bytes) -> StringTable:
    """The columns of a Parquet file; nested ones are left out."""
    import pyarrow as pa  # imported late: only Parquet files need it
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError):
        raise CohortError(
            Fault(
                "the file is not a readable Parquet table",
                where=file,
                do="Write it again, or save the table as CSV.",
            )
        ) from None
    if faults := _header_faults(file, table.column_names):
        raise CohortError(faults)

    columns: dict[str, Strings] = {}
    for name in table.column_names:
        cells = _text(table.column(name))
        if cells is not None:
            columns[name] = cells
    return StringTable(file, columns, row=np.arange(1, table.num_rows + 1))


def _text(column: Any) -> Strings | None:
    """A Parquet column as text; None where its type has none (nested columns)."""
    import pyarrow as pa  # imported late: only Parquet files need it

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)

    # 17.0 in a column with gaps was the whole number 17
    if pa.types.is_floating(column.type):
        numbers = [_number(value) for value in column.to_pylist()]
        return np.array(numbers, dtype=object)

    try:
        # Everything else that has a text form
        cells = column.cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return np.array(["" if cell is None else cell for cell in cells], dtype=object)


def _number(value: float | None) -> str:
    """A number as text: "" for none, whole numbers without a point."""
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else str(value)
