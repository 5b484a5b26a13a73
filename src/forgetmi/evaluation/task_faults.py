"""What is wrong with labels that are not of their task; labels themselves are never said."""

from __future__ import annotations

from forgetmi.core.errors import Fault


def wrong_kind(task: str, expected: str) -> Fault:
    """Labels of another kind than the task's.

    Args:
        task: Its name.
        expected: What its labels are.
    """
    return Fault(
        f"the labels are not those of the task {task}",
        where="label",
        why=f"its labels are {expected}",
        do="Name the task of these labels (--cohort.task), or correct the column.",
    )


def nothing_known(task: str, why: str) -> Fault:
    """Labels that are all unknown, or all the same.

    Args:
        task: Its name.
        why: In words.
    """
    return Fault(
        f"the task {task} cannot be measured with these labels",
        where="label",
        why=why,
        do="Give a cohort in which it varies.",
    )
