"""Exact standby: members of a pool that never saw anybody of a list, to serve while the model is repaired."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.cohort.listed_people import ListedPeople
from forgetmi.core.errors import Fault, SpecError
from forgetmi.run.pool_making import PoolDirectory
from forgetmi.run.pool_plan import Member, read_folds, read_plan


@dataclass(frozen=True)
class Standby:
    """A member that may serve at once.

    Args:
        member: Which.
        checkpoint: Its folder; None = its weights were not kept.
    """

    member: Member
    checkpoint: Path | None


def count_unknown(root: Path, people: ListedPeople) -> int:
    """How many of a list are not among the patients of a pool."""
    known = {*read_folds(root, read_plan(root)).patients}
    return len({*people.patients} - known)


def standbys(root: Path, people: ListedPeople) -> list[Standby]:
    """Members that were trained on nobody of a list.

    Args:
        root: The pool.
        people: Whole patients.

    Returns:
        Those for audits first; empty where the listed lie in several folds of every repetition.

    Raises:
        SpecError: It is no pool, or the list names studies, or nobody whom a member was trained on.
    """
    if people.studies:
        raise SpecError(
            Fault("the list names studies", do="A pool leaves out whole patients: list patients.")
        )
    plan = read_plan(root)
    folds = read_folds(root, plan)

    # With another key nobody is found, and every member would seem never to have seen them
    if not {*people.patients} & {*folds.patients}:
        raise SpecError(
            Fault(
                "nobody on the list is among the patients of the pool",
                where=root.name,
                why="either no member was trained on them, or the list or --key-file is another one",
                do="Give the list and the key file that the cohort was read with.",
            )
        )

    found = []
    for member in plan.members():
        # Patients in no fold were trained on by nobody
        of_listed = folds.of(member.repetition, np.array(people.patients))
        if not {*of_listed.tolist()} <= {-1, member.fold}:
            continue
        checkpoint = PoolDirectory(root).of(member).model(member.name)
        found.append(Standby(member, checkpoint if checkpoint.exists() else None))
    return found
