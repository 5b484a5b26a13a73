"""The split column: which set each row was given."""

from __future__ import annotations

import numpy as np

from forgetmi.cohort.raw_rows import SPLITS, RawRows
from forgetmi.cohort.row_checks import Findings, changed_within, stripped
from forgetmi.core.arrays import Strings, codes


def read_splits(
    rows: RawRows, findings: Findings, patient: Strings, group: Strings | None
) -> Strings:
    """The set each of n rows was given, in one spelling; a fault for each row that is in conflict.

    Args:
        rows: The raw rows.
        findings: Takes the faults.
        patient, group: Identifiers without blanks around them.
    """
    if rows.split is None:
        return np.full(len(patient), "", dtype=object)

    cells = stripped(rows.split)
    code, distinct = codes(cells)
    splits = [SPLITS.get(word.lower()) for word in distinct]
    split = np.array(splits, dtype=object)[code]

    # Words that name no set; a cell may hold anything, and is not shown
    strange = np.array([word is None for word in split], dtype=bool)
    findings.add(
        np.flatnonzero(strange),
        "split",
        "the split is not known",
        why=f"accepted: blank, {', '.join(word for word in SPLITS if word)}",
        do=rows.no_split,
    )

    # A patient lies in one set, and so does a group; a patient in two is reported once
    conflicting = changed_within(patient, split)
    findings.add(
        conflicting,
        "split",
        "the patient is in two splits",
        do=f"Give every row of a patient the same split. {rows.no_split}".rstrip(),
        compared=patient,
    )
    if group is not None:
        findings.add(
            np.setdiff1d(changed_within(group, split), conflicting),
            "split",
            "the group is in two splits",
            do=f"Give every row of a group the same split. {rows.no_split}".rstrip(),
            compared=group,
        )
    return split
