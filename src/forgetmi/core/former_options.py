"""The option ``ordinal`` of the version before, which the option ``task`` replaced, read in this version only."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from forgetmi.core.errors import Fault, SpecError

FORMER, PRESENT = "ordinal", "task"


def task_of(*, ordinal: bool) -> str:
    """The task of labels that are grades, or are not.

    Examples:
        >>> task_of(ordinal=True), task_of(ordinal=False)
        ('grades', 'classes')
    """
    return "grades" if ordinal else "classes"


def was_renamed(names: Collection[str]) -> bool:
    """Whether a class with options of these names had the former one, too."""
    return PRESENT in names and FORMER not in names


def present_values(
    values: Mapping[str, Any], names: Collection[str], *, where: str
) -> dict[str, Any]:
    """Values of a stored or written file under the present name.

    Args:
        values: As read.
        names: Of the options that there are.
        where: Name of the file, for messages.

    Raises:
        SpecError: Both names are given.

    Examples:
        >>> present_values({"path": "x.csv", "ordinal": True}, {"path", "task"}, where="spec.yaml")
        {'path': 'x.csv', 'task': 'grades'}
    """
    given = values.get(FORMER)
    if not was_renamed(names) or not isinstance(given, bool):
        return dict(values)
    if PRESENT in values:
        raise SpecError(
            Fault(f"{PRESENT!r} and its former name {FORMER!r} are given", where, do="Keep task.")
        )

    # In its place, so that the order of the keys stays
    renamed = {}
    for name, value in values.items():
        renamed |= {PRESENT: task_of(ordinal=given)} if name == FORMER else {name: value}
    return renamed


def present_words(words: Sequence[str], prefix: str = "") -> list[str]:
    """Words of a command line with the former flag (``--ordinal``, ``--no-ordinal``) under the present name.

    Args:
        words: As typed.
        prefix: Before the option's name, e.g. "cohort.".

    Examples:
        >>> present_words(["--cohort.no-ordinal", "--seed", "1"], "cohort.")
        ['--cohort.task', 'classes', '--seed', '1']
    """
    option = f"--{prefix}{PRESENT}"
    flags = {f"--{prefix}{FORMER}": True, f"--{prefix}no-{FORMER}": False}

    present = []
    for word in words:
        if word not in flags:
            present.append(word)
            continue

        task = task_of(ordinal=flags[word])
        print(
            f"note: {word} is now {option} {task}; the old name is accepted for one version more",
            file=sys.stderr,
        )
        present += [option, task]
    return present
