"""The label column: class names or class indices become class indices."""

from __future__ import annotations

import re

import numpy as np

from forgetmi.cohort.raw_rows import UNKNOWN, RawRows
from forgetmi.cohort.row_checks import Findings, stripped
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.errors import Fault


def read_labels(
    rows: RawRows, findings: Findings, classes: tuple[str, ...]
) -> tuple[Ints, tuple[str, ...]]:
    """Class indices and class names; a fault for each row whose label is neither a class name nor a class index.

    Args:
        rows: The raw rows, n.
        findings: Takes the faults.
        classes: Names of the k classes; empty = the integers 0..k-1 in the rows.

    Returns:
        Int64[n], -1 = unknown; and the names.
    """
    code, distinct = codes(stripped(rows.label))

    # The classes: as named, or the integers that occur
    if classes:
        class_faults = _name_faults(classes)
    else:
        numbers = _distinct_integers(distinct)
        classes = tuple(str(number) for number in range(len(numbers)))
        class_faults = _gap_faults(numbers, rows.columns.get("label", "label"))
    findings.faults.extend(class_faults)

    # Each distinct label once
    outside = len(classes)
    index_of_name = {name: index for index, name in enumerate(classes)}
    values = []
    for label in distinct:
        if label.lower() in UNKNOWN:
            values.append(-1)
        elif label in index_of_name:
            values.append(index_of_name[label])
        else:
            number = _integer(label)
            in_range = number is not None and number < len(classes)
            values.append(number if in_range else outside)
    value = np.array(values, np.int64)[code]

    # Where the classes themselves are wrong, no row can be judged
    if not class_faults:
        findings.add(
            np.flatnonzero(value == outside),
            "label",
            "the label is not one of the classes",
            why=f"classes {', '.join(classes)}, by name or by number from 0; blank, -1 or nan = unknown",
        )
    return value, classes


def _distinct_integers(labels: Strings) -> list[int]:
    """The whole numbers among known labels, ascending."""
    numbers = set()
    for label in labels:
        number = _integer(label)
        if label.lower() not in UNKNOWN and number is not None:
            numbers.add(number)
    return sorted(numbers)


def _integer(text: str) -> int | None:
    """A whole number, also written as 1.0; None = it is none."""
    match = re.fullmatch(r"(\d{1,9})(\.0+)?", text)
    return None if match is None else int(match[1])


def _gap_faults(numbers: list[int], column: str) -> list[Fault]:
    """One fault where labels without class names are not 0, 1, 2, ..."""
    if len(numbers) > 1 and numbers == list(range(len(numbers))):
        return []
    return [
        Fault(
            "the labels are not the integers 0, 1, 2, ... without a gap",
            where=f"column {column!r}",
            why=f"{len(numbers)} different integers occur",
            do="Name the classes, in order, with the option `classes`.",
        )
    ]


def _name_faults(classes: tuple[str, ...]) -> list[Fault]:
    """What is wrong with the class names."""
    where = "option classes"
    faults = []
    if len(classes) < 2:
        faults.append(
            Fault(
                "fewer than two classes are named",
                where=where,
                do="Name two or more, or none to use the integers of the label column.",
            )
        )

    # A name that also means "unknown", or stands for two classes
    means_unknown = any(name.strip().lower() in UNKNOWN for name in classes)
    if means_unknown or len(set(classes)) < len(classes):
        faults.append(
            Fault(
                "class names are repeated, or mean 'unknown'",
                where=where,
                do="Give each class a name of its own other than -1 and nan.",
            )
        )

    # A number as a name, in another place than its own
    for index, name in enumerate(classes):
        if _integer(name) not in (None, index):
            faults.append(
                Fault(
                    f"class number {index} is named {name!r}, a different number",
                    where=where,
                    why="a label in the table could then mean either class",
                    do="Number the classes from 0, or use words.",
                )
            )
            break
    return faults
