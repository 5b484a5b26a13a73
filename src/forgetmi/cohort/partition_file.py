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
    plain: dict[str, Any] = {
        "cohort": partition.cohort,
        "whole_patients": partition.whole_patients,
        "notes": list(partition.notes),
        **{name: partition.rows(name).tolist() for name in SETS},
    }
    if len(partition.earlier):
        plain["earlier"] = partition.earlier.tolist()
    if path.exists():
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
        changed = [name for name in {**plain, **stored} if stored.get(name) != plain.get(name)]
        if changed:
            raise PartitionError(
                Fault(
                    "the cohort or the forget list changed since this was begun",
                    where=path.name,
                    why=f"these differ: {', '.join(changed)}",
                    do="Choose another --out, or restore the files.",
                )
            )
        return
    write_json(path, plain)


def stored_rows(stored: Mapping[str, Any]) -> dict[str, Ints]:
    """The row numbers in a stored partition's values; `earlier` is absent where nobody was forgotten before."""
    return {
        name: np.asarray(rows, np.int64)
        for name, rows in (
            *((name, stored[name]) for name in SETS),
            ("earlier", stored.get("earlier", ())),
        )
    }


def read_partition(path: Path, cohort: Cohort) -> Partition:
    """Read what `write_partition` wrote, for the same cohort.

    Raises:
        PartitionError: It cannot be read, or is of another cohort.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        rows = stored_rows(stored)
        of, whole, notes = stored["cohort"], stored["whole_patients"], tuple(stored["notes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PartitionError(
            Fault(
                "the partition cannot be read",
                where=path.name,
                why=type(error).__name__,
                do="Give the partition.json of a run, train or unlearn.",
            )
        ) from error
    if of != cohort.digest:
        raise PartitionError(
            Fault(
                "the partition is of another cohort",
                where=path.name,
                do="Give the cohort it was made with.",
            )
        )
    return Partition(
        **rows,
        patient=codes(cohort.patient)[0],
        group=codes(cohort.group)[0],
        cohort=cohort.digest,
        whole_patients=whole,
        notes=notes,
    )
