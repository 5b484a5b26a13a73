"""Which column of a table is what: names that contradict each other, all at once, before a cell is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forgetmi.core.errors import Fault

# Columns whose values name or describe a single person or image
TELLING = ("patient", "study", "image_id", "image", "report")
# The unit that is forgotten must not be told apart by what differs from film to film
_OF_ONE_FILM = ("image_id", "image", "report")


def role_faults(
    column_of: Mapping[str, str], *, labels: Sequence[str], subgroups: Sequence[str]
) -> list[Fault]:
    """A fault for each column that cannot be what it is named as.

    Args:
        column_of: Role ("patient", "label", ...) to column; "" = the table has none.
        labels: Columns of findings.
        subgroups: Columns that results are reported by.
    """
    faults = []

    # Each film would be a person of its own: of one person some could be forgotten and others kept
    for role in _OF_ONE_FILM:
        if column_of["patient"] and column_of["patient"] == column_of[role]:
            faults.append(
                Fault(
                    f"column {column_of[role]!r} is both the patient and the {role.replace('_', ' ')}",
                    where="option patient_id",
                    why="every image would be a person of its own, and a person's other images would stay",
                    do="Name the column of the person; where only paths name them, write one first.",
                )
            )

    # What is predicted must not be what names somebody, nor what a set is drawn by
    predicted = [*labels, *filter(None, [column_of["label"]])]
    for name in predicted:
        roles = [role for role in (*TELLING, "split", "group") if column_of[role] == name]
        if roles:
            faults.append(
                Fault(
                    f"column {name!r} cannot be a label",
                    where="options label and labels",
                    why=f"it is the column of the {roles[0].replace('_', ' ')}",
                    do="Name columns of labels.",
                )
            )

    # Values of a subgroup are printed in pages
    telling = {column_of[role] for role in TELLING} - {""}
    for name in subgroups:
        if name in telling:
            faults.append(
                Fault(
                    f"column {name!r} cannot be a subgroup",
                    where="option subgroups",
                    why="its values identify people or images, and subgroups are named in reports",
                    do="Name columns such as sex or view.",
                )
            )
    return faults
