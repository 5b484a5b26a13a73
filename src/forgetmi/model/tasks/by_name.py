"""The training half of a task, by the name that a cohort gives."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.core.registry import tasks
from forgetmi.core.task import Task, of_name
from forgetmi.model.tasks.classes import BINARY, CLASSES, GRADES
from forgetmi.model.tasks.findings import FINDINGS
from forgetmi.model.tasks.pairs import PAIRS
from forgetmi.model.tasks.value import VALUE

_BY_NAME: dict[str, Task] = {
    task.name: task for task in (GRADES, CLASSES, BINARY, FINDINGS, VALUE, PAIRS)
}


def training_task(task: str) -> Task:
    """What training and unlearning ask of a cohort's labels, by the task's name.

    Raises:
        SpecError: There is no such task.

    Examples:
        >>> training_task("findings").outputs(14)
        14
    """
    return of_name(task, _BY_NAME, tasks)


def outputs_of(task: str, names: Sequence[str]) -> int:
    """Columns of each head's logits for a task and its names of classes or findings.

    Raises:
        SpecError: There is no such task, or it needs more names.

    Examples:
        >>> outputs_of("grades", ("none", "mild", "severe")), outputs_of("pairs", ())
        (3, 0)
    """
    return training_task(task).outputs(len(names))
