"""The rows of a CSV text as columns of strings; rows that do not fit the header are left out and reported."""

from __future__ import annotations

import csv
import io
from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from forgetmi.cohort.header import is_column_name
from forgetmi.cohort.identity import visible
from forgetmi.cohort.string_table import MOST, MOST_CELLS, MOST_COLUMNS, StringTable, capped
from forgetmi.core.arrays import Strings
from forgetmi.core.errors import CohortError, Fault

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def csv_table(file: str, data: bytes) -> StringTable:
    """The columns of a CSV file.

    Args:
        file: The file's name.
        data: Its content: UTF-8 with or without BOM, commas, any line ends.

    Raises:
        CohortError: It is not UTF-8, a row cannot be read, the header is wrong, or there are too many cells.
    """
    # The header is checked before any row
    _require_text(file, data)
    parsed = _parsed(file, data)
    faults = header_faults(file, parsed.header)
    if faults:
        raise CohortError(faults)

    # Each list goes as soon as its array is there; without rows each column is empty
    columns: dict[str, Strings] = {}
    for name in reversed(parsed.header):
        cells = np.array(parsed.columns.pop(), dtype=object)
        columns.setdefault(name, cells)
    columns = {name: columns[name] for name in parsed.header}

    return StringTable(
        file,
        columns,
        row=np.array(parsed.numbers, np.int64),
        line=np.array(parsed.lines, np.int64),
        faults=tuple(_row_faults(file, parsed)),
    )


def header_faults(file: str, header: list[str]) -> list[Fault]:
    """What is wrong with the names of columns; names that may be data are not shown.

    Args:
        file: The file's name.
        header: The names, in order.
    """
    if not header:
        return [Fault("the file is empty", where=file)]
    if len(header) > MOST_COLUMNS:
        do = "Leave out what is not needed."
        return [Fault(f"the table has more than {MOST_COLUMNS} columns", where=file, do=do)]

    # Blank names may repeat: nobody can ask for such a column
    faults = []
    for name, times in Counter(header).items():
        if times == 1 or not name:
            continue
        shown = repr(name) if is_column_name(name) else f"number {header.index(name) + 1}"
        do = "Give each column a name of its own, in the first line."
        faults.append(Fault(f"column {shown} occurs {times} times", where=file, do=do))
    faults = capped(faults[:MOST], len(faults), "columns that occur several times")

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


def _require_text(file: str, data: bytes) -> None:
    """Refuse what is no text in UTF-8, with or without BOM."""
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The line of the first byte that is no UTF-8
        line = data.count(b"\n", 0, error.start) + 1
        raise CohortError(
            Fault(
                "the file is not UTF-8",
                where=f"{file} line {line}",
                why="it is UTF-16" if data.startswith(_UTF_16) else "",
                do="Save the table as UTF-8.",
            )
        ) from None

    # A binary file, or UTF-16 without its mark
    if b"\0" in data:
        raise CohortError(
            Fault(
                "the file holds NUL characters",
                where=file,
                why="it is not a text table",
                do="Save the table as CSV in UTF-8.",
            )
        )


@dataclass
class _Parsed:
    """The rows of a CSV file.

    Args:
        header: Column names.
        columns: Cells of each column, of data rows with as many cells as the header.
        numbers, lines: Their row number, from 1, and the line each begins in.
        ragged: Rows with another number of cells: row number, line, cells.
        repeated: Rows that repeat the header: row number, line.
    """

    header: list[str] = field(default_factory=list)
    columns: list[list[str]] = field(default_factory=list)
    numbers: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))
    ragged: list[tuple[int, int, int]] = field(default_factory=list)
    repeated: list[tuple[int, int]] = field(default_factory=list)


def _parsed(file: str, data: bytes) -> _Parsed:
    """Sort the rows of a CSV text into columns; empty lines are no rows."""
    # Decoded a piece at a time: the text of a large file would be several times its bytes
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    parsed = _Parsed()
    count = 0
    read_cells = 0
    next_line = 1
    try:
        for cells in reader:
            # A row may go over several lines: the next begins after the last line read
            line, next_line = next_line, reader.line_num + 1
            if not cells:
                continue
            if not parsed.header:
                parsed.header = [visible(cell) for cell in cells]
                parsed.columns = [[] for _ in cells]
                continue

            # Rows are numbered without the header
            count += 1
            read_cells += len(cells)
            if read_cells > MOST_CELLS:
                raise too_many_cells(file)
            if len(cells) != len(parsed.header):
                parsed.ragged.append((count, line, len(cells)))
            elif _is_header(cells, parsed.header):
                parsed.repeated.append((count, line))
            else:
                _append(parsed.columns, cells)
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


def _append(columns: list[list[str]], cells: list[str]) -> None:
    """Add a row; a cell that repeats the one above it, as a patient's or a report's does, is kept once."""
    for column, cell in zip(columns, cells, strict=True):
        column.append(column[-1] if column and column[-1] == cell else cell)


def too_many_cells(file: str) -> CohortError:
    """The error of a table with more cells than are read."""
    do = "Leave out columns and rows that are not needed."
    return CohortError(Fault(f"the table has more than {MOST_CELLS:,} cells", where=file, do=do))


def _is_header(cells: list[str], header: list[str]) -> bool:
    """Whether a row repeats the header; the first cell decides in most rows."""
    return visible(cells[0]) == header[0] and [visible(cell) for cell in cells] == header


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
