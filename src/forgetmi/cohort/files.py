"""Reads CSV and Parquet tables as columns of strings, and remembers where each row stands in its file."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.errors import CohortError, Fault

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
        return len(self.row)

    def where(self, i: int) -> str:
        """Where the i-th of the n rows stands, in words."""
        line = "" if self.line is None else f" (line {self.line[i]})"
        return f"{self.file} row {self.row[i]}{line}"

    def missing(self, names: Collection[str]) -> list[Fault]:
        """One fault for each of the columns that the file does not have."""
        faults = []
        for name in dict.fromkeys(names):
            if name not in self.columns:
                near = get_close_matches(name, self.columns, n=1)
                hint = f"Did you mean {near[0]!r}? " if near else ""
                faults.append(
                    Fault(
                        f"column {name!r} is missing",
                        where=self.file,
                        do=f"{hint}The file has: {', '.join(self.columns)}.",
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
    table = (
        _parquet(path.name, data)
        if path.suffix.lower() in {".parquet", ".pq"}
        else _csv(path.name, data)
    )
    if len(table) == 0 and not table.faults:
        raise CohortError(Fault("the table has no rows", where=table.file))
    return table


def capped(faults: list[Fault], total: int, rest: str) -> list[Fault]:
    """The first faults of a kind, and one that counts the others."""
    if total <= MOST:
        return faults
    return [*faults[:MOST], Fault(f"... and {total - MOST} more: {rest}")]


def _csv(file: str, data: bytes) -> StringTable:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CohortError(
            Fault(
                "the file is not UTF-8", where=f"{file} line {line}", do="Save the table as UTF-8."
            )
        ) from None
    if "\0" in text:
        raise CohortError(
            Fault(
                "the file holds NUL characters",
                where=file,
                why="it is not a text table",
                do="Save the table as CSV in UTF-8.",
            )
        )
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    number: list[int] = []
    lines: list[int] = []
    ragged: list[tuple[int, int, int]] = []
    repeated: list[tuple[int, int]] = []
    count, begin = 0, 1
    try:
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not cells:
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                continue
            count += 1
            if len(cells) != len(header):
                ragged.append((count, line, len(cells)))
            elif cells[0].strip() == header[0] and [cell.strip() for cell in cells] == header:
                repeated.append((count, line))
            else:
                rows.append(cells)
                number.append(count)
                lines.append(line)
    except csv.Error:
        raise CohortError(
            Fault(
                "the row cannot be read",
                where=f"{file} line {begin}",
                why="a quotation mark is not closed, or a cell is longer than 131,072 characters",
                do="Quote every cell that holds a comma, a line end or a quotation mark.",
            )
        ) from None
    faults = _header_faults(file, header)
    if faults:
        raise CohortError(faults)
    form = capped(
        [
            Fault(
                f"the row has {cells} cells, the header {len(header)}",
                where=f"{file} row {i} (line {line})",
                do="Quote cells that hold a comma or a line end.",
            )
            for i, line, cells in ragged[:MOST]
        ],
        len(ragged),
        "rows with another number of cells than the header",
    )
    form += capped(
        [
            Fault(
                "the row repeats the header", where=f"{file} row {i} (line {line})", do="Remove it."
            )
            for i, line in repeated[:MOST]
        ],
        len(repeated),
        "rows that repeat the header",
    )
    columns = {
        name: np.array(cells, dtype=object)
        for name, cells in zip(
            header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True
        )
    }
    return StringTable(
        file, columns, np.array(number, np.int64), np.array(lines, np.int64), tuple(form)
    )


def _header_faults(file: str, header: list[str]) -> list[Fault]:
    if not header:
        return [Fault("the file is empty", where=file)]
    faults = [
        Fault(
            f"column {name!r} occurs {times} times",
            where=file,
            do="Give each column a name of its own.",
        )
        for name, times in Counter(header).items()
        if times > 1 and name
    ]
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError):
        raise CohortError(Fault("the file is not a readable Parquet table", where=file)) from None
    if faults := _header_faults(file, table.column_names):
        raise CohortError(faults)
    columns = {name: _text(table.column(name)) for name in table.column_names}
    return StringTable(
        file,
        {name: cells for name, cells in columns.items() if cells is not None},
        np.arange(1, table.num_rows + 1),
    )


def _text(column: Any) -> Strings | None:
    """A Parquet column as text; None where its type has none (nested columns)."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):  # 17.0 in a column with gaps was the whole number 17
        return np.array([_number(value) for value in column.to_pylist()], dtype=object)
    try:
        cells = column.cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return np.array(["" if cell is None else cell for cell in cells], dtype=object)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else str(value)
