"""The columns of a Parquet file as strings, a limited number of rows at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from forgetmi.cohort.csv_table import header_faults, too_many_cells
from forgetmi.cohort.string_table import MOST_CELLS, StringTable
from forgetmi.cohort.table_bytes import MOST_BYTES
from forgetmi.core.arrays import Strings
from forgetmi.core.errors import CohortError, Fault

# Bits of a short floating-point number to the whole numbers that it keeps
_EXACT = {16: 2**11, 32: 2**24}

_ROWS_AT_ONCE = 1000  # a few bytes of a file can stand for a million equal cells


def parquet_table(file: str, data: bytes) -> StringTable:
    """The columns of a Parquet file; nested ones are left out.

    Args:
        file: The file's name.
        data: Its content.

    Raises:
        CohortError: It is not readable, its header is wrong, or it is too large.
    """
    import pyarrow as pa  # imported late: only Parquet files need it
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(pa.BufferReader(data))
        names = source.schema_arrow.names
        if faults := header_faults(file, names):
            raise CohortError(faults)
        if source.metadata.num_rows * max(1, len(names)) > MOST_CELLS:
            raise too_many_cells(file)

        columns, decimals = _columns(file, source, names)
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        raise CohortError(
            Fault(
                "the file is not a readable Parquet table",
                where=file,
                do="Write it again, or save the table as CSV.",
            )
        ) from None

    rows = np.arange(1, source.metadata.num_rows + 1)
    return StringTable(file, columns, row=rows, decimals=decimals)


def _columns(
    file: str, source: Any, names: list[str]
) -> tuple[dict[str, Strings], dict[str, Strings]]:
    """The columns as text, and those of floating-point numbers as such."""
    import pyarrow as pa  # imported late: only Parquet files need it

    cells: dict[str, list[str]] = {name: [] for name in names}
    exact: dict[str, list[str]] = {}
    size = 0
    for batch in source.iter_batches(batch_size=_ROWS_AT_ONCE):
        # The text of all cells is bounded as that of a CSV file is
        size += batch.nbytes
        if size > MOST_BYTES:
            raise CohortError(
                Fault(
                    "the table is too large",
                    where=file,
                    why=f"its cells have more than {MOST_BYTES // 2**20} MiB",
                    do="Leave out columns and rows that are not needed.",
                )
            )

        for name in list(cells):
            column = batch.column(names.index(name))
            found = _text(column)
            if found is None:
                del cells[name]
                continue
            cells[name] += found
            if pa.types.is_floating(column.type):
                largest = _EXACT.get(column.type.bit_width, math.inf)
                found = [_as_decimal(value, largest) for value in column.to_pylist()]
                exact.setdefault(name, []).extend(found)

    columns = {name: np.array(found, dtype=object) for name, found in cells.items()}
    return columns, {name: np.array(found, dtype=object) for name, found in exact.items()}


def _text(column: Any) -> list[str] | None:
    """Cells of a Parquet column as text; None where their type has none (nested columns)."""
    import pyarrow as pa  # imported late: only Parquet files need it

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)

    # 17.0 in a column with gaps was the whole number 17
    if pa.types.is_floating(column.type):
        return [_number(value) for value in column.to_pylist()]

    try:
        # Everything else that has a text form
        cells = column.cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return ["" if cell is None else cell for cell in cells]


def _as_decimal(value: float | None, largest: float) -> str:
    """A number as what it is, "" for none; one whose last digits are lost as a power of ten."""
    if value is None:
        return ""
    return f"{value:e}" if largest <= abs(value) < math.inf else repr(value)


def _number(value: float | None) -> str:
    """A number as text: "" for none, whole numbers without a point."""
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else str(value)
