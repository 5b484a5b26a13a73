"""A partition as a file: rows of each set and how they were drawn; rows are numbers, not identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.arrays import Ints, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, PartitionError, SpecError
from forgetmi.core.files import write_json
from forgetmi.core.json_text import read_json
from forgetmi.core.partition import SETS, Partition
from forgetmi.core.plain_text import Source
from forgetmi.core.serialization import from_plain


def write_partition(path: Path, partition: Partition) -> None:
    """Write a partition, or go on with the same one.

    Raises:
        PartitionError: The file holds another partition: the cohort or the forget list changed since it was written.
    """
    # What determines the partition
    plain: dict[str, Any] = {
        "cohort": partition.cohort,
        "whole_patients": partition.whole_patients,
        "notes": list(partition.notes),
    }
    for name in SETS:
        plain[name] = partition.rows(name).tolist()

    # Absent where nobody was forgotten before, as in older files
    if len(partition.earlier):
        plain["earlier"] = partition.earlier.tolist()
    if partition.unproved:
        plain["unproved"] = partition.unproved

    # A run that goes on must go on with the same partition
    if path.exists():
        _require_same(path, plain)
    else:
        write_json(path, plain)


def _require_same(path: Path, plain: Mapping[str, Any]) -> None:
    """Refuse to go on where the stored partition is another."""
    do = "Restore it, or choose another --out."
    stored = read_json(path, what="the stored partition", do=do, error=PartitionError)
    if not isinstance(stored, dict):
        raise _source(path.name).refused("it is no mapping of keys to values")

    # A field may be missing on either side
    changed = [name for name in {**plain, **stored} if stored.get(name) != plain.get(name)]
    if changed:
        raise PartitionError(
            Fault(
                "the cohort or the forget list has changed since this run was started",
                where=path.name,
                why=f"these differ: {', '.join(changed)}",
                do="Choose another --out, or restore the files.",
            )
        )


@dataclass(frozen=True)
class StoredPartition:
    """The content of partition.json.

    Args:
        cohort: Digest of the cohort.
        rows: Rows of each set, and of those forgotten before ("earlier").
        whole_patients: False when single studies were requested.
        notes: How the sets were drawn, in words.
        unproved: See `Partition`.
    """

    cohort: str
    rows: dict[str, Ints]
    whole_patients: bool
    notes: tuple[str, ...]
    unproved: str = ""


def read_stored(path: Path) -> StoredPartition:
    """A partition as stored, whatever cohort it is of.

    Args:
        path: A partition.json.

    Raises:
        PartitionError: It cannot be read, or a field is missing or of another type.
    """
    source = _source(path.name)
    stored = read_json(path, what=source.what, do=source.do, error=PartitionError)
    if not isinstance(stored, dict):
        raise source.refused("it is no mapping of keys to values")

    # A set that is missing is a damaged file; `earlier` is absent where nobody was forgotten before
    rows = {}
    for name in (*SETS, "earlier"):
        numbers = stored.get(name, [] if name == "earlier" else None)
        if not _are_rows(numbers):
            raise source.refused(f"{name} is no list of different row numbers")
        rows[name] = np.asarray(numbers, np.int64)

    # What else it holds
    known = {name: stored[name] for name in _FACTS if name in stored}
    try:
        facts = from_plain(_Facts, known, where=path.name)
    except SpecError as error:
        raise PartitionError(error.faults) from None
    return StoredPartition(facts.cohort, rows, facts.whole_patients, facts.notes, facts.unproved)


@dataclass(frozen=True)
class _Facts:
    """All of partition.json but the rows."""

    cohort: str
    whole_patients: bool
    notes: tuple[str, ...]
    unproved: str = ""


_FACTS = ("cohort", "whole_patients", "notes", "unproved")


def _are_rows(numbers: Any) -> bool:
    """Whether a value is a list of different whole numbers, 0 or more."""
    if not isinstance(numbers, list):
        return False
    if not all(type(number) is int and number >= 0 for number in numbers):
        return False
    return len(set(numbers)) == len(numbers)


def read_partition(path: Path, cohort: Cohort) -> Partition:
    """Read what `write_partition` wrote, for the same cohort.

    Raises:
        PartitionError: It cannot be read, or is of another cohort.
    """
    stored = read_stored(path)

    # Row numbers mean nothing in another cohort
    if stored.cohort != cohort.digest:
        raise PartitionError(
            Fault(
                "the partition belongs to another cohort",
                where=path.name,
                why="its digest is not this cohort's",
                do="Give the cohort that the partition was made with.",
            )
        )

    check_rows(stored, len(cohort), path.name)
    return Partition(
        **stored.rows,
        patient=codes(cohort.patient)[0],
        group=codes(cohort.group)[0],
        cohort=cohort.digest,
        whole_patients=stored.whole_patients,
        notes=stored.notes,
        unproved=stored.unproved,
    )


def check_rows(stored: StoredPartition, count: int, where: str) -> None:
    """Refuse rows that a cohort does not have.

    Args:
        stored: The partition.
        count: Rows of the cohort.
        where: Name of the file.

    Raises:
        PartitionError: Some row is beyond the last one.
    """
    for name, rows in stored.rows.items():
        if len(rows) and rows.max() >= count:
            raise _source(where).refused(f"{name} names rows that the cohort does not have")


def _source(name: str) -> Source:
    """What is read, for messages."""
    return Source(
        name, "the partition", "Give the partition.json of a run, train or unlearn.", PartitionError
    )
