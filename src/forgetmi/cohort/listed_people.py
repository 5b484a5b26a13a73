"""People of a list, found again in files: by keyed digest where forgetmi wrote them, as written where others did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.lib
import pyarrow.parquet

from forgetmi.cohort.files import read_strings
from forgetmi.cohort.forget_list import (
    PATIENT_COLUMNS,
    PATIENT_DIGEST,
    STUDY_COLUMN,
    STUDY_DIGEST,
    no_identifier_column,
)
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import canonical_cells
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.regular_file import open_regular

# Bytes of a text that are searched at once; identifiers across two pieces are found by their overlap
_PIECE, _OVERLAP = 2**22, 2**10


@dataclass(frozen=True, eq=False, repr=False)
class ListedPeople:
    """Whom somebody looks for. Raw identifiers stay inside.

    Args:
        patients, studies: Keyed digests; one of the two is empty.
        key_id: Of the key that made them; "" = not known.
    """

    patients: tuple[str, ...]
    studies: tuple[str, ...]
    _raw: tuple[str, ...] = field(default=())
    key_id: str = ""

    @property
    def digests(self) -> frozenset[str]:
        """All of them."""
        return frozenset((*self.patients, *self.studies))

    def named_in(self, text: str) -> bool:
        """Whether an identifier stands in a text as written, not as a part of a longer one."""
        pattern = _pattern(self._raw)
        return pattern is not None and pattern.search(text.encode()) is not None

    def named_in_file(self, path: Path) -> bool:
        """Whether an identifier stands in a file's bytes, or in a Parquet table's columns of text.

        Raises:
            OSError: The file cannot be read.
        """
        pattern = _pattern(self._raw)
        if pattern is None:
            return False
        if path.suffix == ".parquet":
            return any(pattern.search(cell.encode()) for cell in _cells(path))

        with open_regular(path) as file:
            before = b""
            while piece := file.read(_PIECE):
                if pattern.search(before + piece):
                    return True
                before = piece[-_OVERLAP:]
        return False


def read_people(path: Path, pseudonyms: Pseudonyms) -> ListedPeople:
    """The people of a list; no cohort is needed.

    Args:
        path: CSV or Parquet with a column patient_id (or subject_id, or study_id), or of keyed digests as the ledger
            writes them.
        pseudonyms: Made with the key of the digests.

    Raises:
        CohortError: There is no such column, or nobody is named.
    """
    table = read_strings(path)
    for column in (PATIENT_DIGEST, STUDY_DIGEST):
        if column in table.columns:
            digests = tuple(dict.fromkeys(table.identifiers(column).tolist()))
            return _people(digests, (), column == STUDY_DIGEST, table.file)

    column = next((one for one in (*PATIENT_COLUMNS, STUDY_COLUMN) if one in table.columns), None)
    if column is None:
        raise CohortError(no_identifier_column(table))
    raw = tuple(one for one in dict.fromkeys(canonical_cells(table.identifiers(column))) if one)
    kind = "study" if column == STUDY_COLUMN else "patient"
    digests = tuple(pseudonyms.digest(kind, one) for one in raw)
    return _people(digests, raw, column == STUDY_COLUMN, table.file, key_id=pseudonyms.key_id)


def _people(
    digests: tuple[str, ...], raw: tuple[str, ...], studies: bool, file: str, *, key_id: str = ""
) -> ListedPeople:
    if not digests:
        raise CohortError(
            Fault("the list names nobody", where=file, do="Give one row a patient or study.")
        )
    if studies:
        return ListedPeople((), digests, raw, key_id)
    return ListedPeople(digests, (), raw, key_id)


def _pattern(raw: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """Any of the identifiers, not within a longer word or number."""
    if not raw:
        return None
    longest_first = sorted(raw, key=len, reverse=True)
    either = b"|".join(re.escape(one.encode()) for one in longest_first)
    return re.compile(rb"(?<![0-9A-Za-z])(?:" + either + rb")(?![0-9A-Za-z])")


def _cells(path: Path) -> Iterator[str]:
    """Every text in a Parquet file."""
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.lib.ArrowException, ValueError) as error:
        raise OSError("no Parquet file, or damaged") from error
    for column in table.columns:
        for value in column.unique().to_pylist():
            if value is not None:
                yield str(value)
