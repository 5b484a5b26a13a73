"""The split column: which set each row was given."""

from __future__ import annotations

import re

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

    # Words that name no set; shown only where the column cannot hold anything private
    strange = np.array([word is None for word in split], dtype=bool)
    may_be_shown = bool(strange.any()) and _only_words(distinct, rows)
    findings.add(
        np.flatnonzero(strange),
        "split",
        "the split is not known",
        why=f"accepted: blank, {', '.join(word for word in SPLITS if word)}",
        do=rows.no_split,
        shown=cells if may_be_shown else None,
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


def _only_words(distinct: Strings, rows: RawRows) -> bool:
    """Whether a column's values can only be words of a split: few, short, and none like an identifier or a report."""
    if len(distinct) > 2 * len(SPLITS):
        return False
    for word in distinct:
        if len(word) > 20 or re.search(r"\d{3}", word):
            return False

    # None of them may stand in a private column, too
    words = {*distinct} - {""}
    private = [rows.patient, rows.study, rows.image_id, rows.report]
    if rows.group is not None:
        private.append(rows.group)
    values: set[str] = set()
    for column in private:
        values.update(value.strip() for value in column)
    return words.isdisjoint(values)
