"""Reads CSV and Parquet tables, packed or not, as columns of strings."""

from __future__ import annotations

from pathlib import Path, PurePath

from forgetmi.cohort.csv_table import csv_table
from forgetmi.cohort.header import looks_like_data
from forgetmi.cohort.parquet_table import parquet_table
from forgetmi.cohort.string_table import MOST, StringTable, capped
from forgetmi.cohort.table_bytes import table_bytes
from forgetmi.core.errors import CohortError, Fault

__all__ = ["MOST", "StringTable", "capped", "read_strings", "stem"]

_PARQUET = b"PAR1"
_PACKED = {".gz", ".zip"}


def read_strings(path: Path) -> StringTable:
    """Read a CSV file (UTF-8 with or without BOM, comma, any line ends) or a Parquet file, also packed (.gz, .zip).

    Nothing is guessed: cells stay text, blank cells stay blank. Rows that repeat the header or have too many or too few
    cells are left out and reported in `StringTable.faults`, so that the caller can report them with its own.

    Args:
        path: The file; see `forgetmi.cohort.table_bytes` for what may be packed, and how large it may be.

    Raises:
        CohortError: The file is absent, unreadable, too large, not UTF-8, not a table, or has no rows.
    """
    data = table_bytes(path)

    # How the content begins decides; a file named as Parquet must be one
    named = PurePath(path.stem if path.suffix.lower() in _PACKED else path.name)
    is_parquet = data.startswith(_PARQUET) or named.suffix.lower() in {".parquet", ".pq"}
    table = parquet_table(path.name, data) if is_parquet else csv_table(path.name, data)

    if len(table) == 0 and not table.faults:
        headless = looks_like_data(tuple(table.columns))
        raise CohortError(
            Fault(
                "the table has no rows",
                where=table.file,
                why="it ends after its first line"
                + (", which looks like data" if headless else ", the header"),
                do="Write the names of the columns into the first line." if headless else "",
            )
        )
    return table


def stem(path: Path) -> str:
    """A table's file name without its endings: cohort of cohort.csv.gz."""
    name = path.stem if path.suffix.lower() in _PACKED else path.name
    return PurePath(name).stem
