"""The labels of raw rows, by the task: classes and grades, findings, a value, or none."""

from __future__ import annotations

from typing import Any

import numpy as np

from forgetmi.cohort.finding_columns import FindingRules, read_findings
from forgetmi.cohort.label_column import read_labels
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.cohort.row_checks import Findings
from forgetmi.cohort.value_column import read_values
from forgetmi.core.errors import Fault


def labels_of_task(
    rows: RawRows,
    findings: Findings,
    *,
    task: str,
    classes: tuple[str, ...],
    rules: FindingRules,
) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """Labels in the form that a task has them.

    Args:
        rows: The raw rows, n.
        findings: Takes the faults.
        task: Name of the task.
        classes: Names of the classes, where they are named.
        rules: What uncertain and blank findings count as.

    Returns:
        The labels; names of the classes or findings, empty for a value; and notices.
    """
    if task == "findings":
        label, notices = read_findings(rows, findings, rules)
        return label, tuple(rows.labels), notices
    if task == "value":
        return read_values(rows, findings), (), ()
    if task == "pairs":
        return np.zeros(len(rows.patient), np.int64), (), ()

    label, names = read_labels(rows, findings, classes)
    if task == "binary" and len(names) != 2:
        findings.faults.append(
            Fault(
                f"a binary label has two classes, not {len(names)}",
                where=f"column {rows.columns.get('label', 'label')!r}",
                do="Name the two with --cohort.classes, or take the task classes.",
            )
        )
    return label, names, ()
