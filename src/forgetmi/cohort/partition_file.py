"""A partition as a file: rows of each set and how they were drawn; rows are numbers, not identifiers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.arrays import Ints, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, PartitionError
from forgetmi.core.files import write_json
from forgetmi.core.partition import SETS, Partition


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

    # A run that goes on must go on with the same partition
    if path.exists():
        _require_same(path, plain)
    else:
        write_json(path, plain)


def _require_same(path: Path, plain: Mapping[str, Any]) -> None:
    """Refuse to go on where the stored partition is another."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PartitionError(
            Fault(
                "the stored partition cannot be read",
                where=path.name,
                why="the file is damaged",
                do="Restore it, or choose another --out.",
            )
        ) from error

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


def stored_rows(stored: Mapping[str, Any]) -> dict[str, Ints]:
    """The row numbers in a stored partition's values; `earlier` is absent where nobody was forgotten before."""
    # A set that is missing is a damaged file; `earlier` may be missing
    rows = {name: np.asarray(stored[name], np.int64) for name in SETS}
    earlier = np.asarray(stored.get("earlier", ()), np.int64)
    return {**rows, "earlier": earlier}


def read_partition(path: Path, cohort: Cohort) -> Partition:
    """Read what `write_partition` wrote, for the same cohort.

    Raises:
        PartitionError: It cannot be read, or is of another cohort.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        rows = stored_rows(stored)
        digest = stored["cohort"]
        whole_patients = stored["whole_patients"]
        notes = tuple(stored["notes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PartitionError(
            Fault(
                "the partition cannot be read",
                where=path.name,
                why=type(error).__name__,
                do="Give the partition.json of a run, train or unlearn.",
            )
        ) from error

    # Row numbers mean nothing in another cohort
    if digest != cohort.digest:
        raise PartitionError(
            Fault(
                "the partition belongs to another cohort",
                where=path.name,
                why="its digest is not this cohort's",
                do="Give the cohort that the partition was made with.",
            )
        )

    return Partition(
        **rows,
        patient=codes(cohort.patient)[0],
        group=codes(cohort.group)[0],
        cohort=cohort.digest,
        whole_patients=whole_patients,
        notes=notes,
    )
