"""References of a request out of a standing pool: what models that never saw the forgotten say, without a retraining.

Repetition r of the pool is one reference. Of a forgotten patient it says what the member says that was trained without
them; of a retained one what a member says that was trained on them; of anybody who was never seen what one member says,
drawn once. The run keeps copies of the members' signals, so that its evidence stands when the pool is gone.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_text
from forgetmi.core.model_names import retrained_name
from forgetmi.core.partial_files import whole_file
from forgetmi.core.partition import Partition
from forgetmi.core.pooled_signals import PooledSignals
from forgetmi.core.regular_file import open_regular
from forgetmi.core.signals import Signals
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_making import PoolDirectory
from forgetmi.run.pool_plan import (
    AUDIT,
    PLAN,
    Folds,
    PoolPlan,
    plan_text,
    read_folds,
    read_plan,
    write_folds,
)
from forgetmi.run.spec import RunSpec

# What the pages and the record say of such references
NOTICE = (
    "the reference models were not retrained for this request: they are those of a standing pool, each trained on a "
    "part of the training side"
)


def keep_references(
    pool: Path, directory: RunDirectory, cohort: Cohort, partition: Partition
) -> None:
    """Copy what a run needs of a pool; nothing is done where it is there already.

    Args:
        pool: Directory of the pool.
        directory: The run.
        cohort, partition: Its data.

    Raises:
        SpecError: The pool is not finished, is of another cohort, was trained on somebody whom the run calls never
            seen, or was not trained on somebody who is forgotten.
    """
    if (references_folder(directory) / PLAN).exists():
        return

    plan = read_plan(pool)
    folds = read_folds(pool, plan)
    check_pool(plan, folds, pool, cohort, partition)

    # The plan comes last: it says that everything is there
    target = references_folder(directory)
    target.mkdir(parents=True, exist_ok=True)
    for member in plan.members():
        if member.use == AUDIT:
            source = PoolDirectory(pool).signals(member)
            with open_regular(source) as read, whole_file(target / source.name) as written:
                shutil.copyfileobj(read, written)
    write_folds(target, folds)
    write_text(target / PLAN, plan_text(plan))


def reference_count(spec: RunSpec) -> int:
    """How many references a run will have: those of its pool, or its retrained models.

    Raises:
        SpecError: The pool cannot be read.
    """
    if spec.references is not None:
        return read_plan(spec.references).repetitions
    return spec.retrains + len(spec.given.retrained)


def references_folder(directory: RunDirectory) -> Path:
    """Where a run keeps its references from a pool; others have no such folder."""
    return directory.root / "references"


def pool_references(directory: RunDirectory, partition: Partition) -> dict[str, PooledSignals]:
    """The references that a run took from a pool, called like retrained models; none where it took none.

    Args:
        directory: The run.
        partition: Its sets.
    """
    folder = references_folder(directory)
    if not (folder / PLAN).exists():
        return {}
    return references_in(folder, folder, forgotten=partition.forget)


def references_in(root: Path, signals: Path, *, forgotten: Ints) -> dict[str, PooledSignals]:
    """The references that a pool gives, called like retrained models.

    Args:
        root: Where plan and folds lie.
        signals: Where the signals of the members for audits lie.
        forgotten: Rows of those whom no reference may have seen.
    """
    plan = read_plan(root)
    folds = read_folds(root, plan)
    references = {}
    for repetition in range(plan.repetitions):
        members = []
        for member in plan.members():
            if (member.repetition, member.use) == (repetition, AUDIT):
                members.append(Signals.load(signals / f"{member.name}.npz"))
        patient = members[0].patient
        speaks = speaking(plan, folds, repetition, patient, forgotten=forgotten)
        references[retrained_name(repetition)] = PooledSignals.of(members, speaks)
    return references


def speaking(
    plan: PoolPlan, folds: Folds, repetition: int, patient: Strings, *, forgotten: Ints
) -> Ints:
    """Which member of a repetition speaks for each row.

    Args:
        plan, folds: The pool.
        repetition: From 0.
        patient: Keyed digest of each row's patient, n.
        forgotten: Rows of those who are forgotten.

    Returns:
        Int[n], number of the member: that which was trained without the patient for a forgotten row; one of the others
        for a retained row; any for whoever no member was trained on.
    """
    fold = folds.of(repetition, patient)

    # One draw for each patient, the same in every request
    drawn = np.array([_drawn(plan.seed, repetition, str(one)) for one in patient], np.int64)
    others = (fold + 1 + drawn % (plan.folds - 1)) % plan.folds
    speaks = np.where(fold >= 0, others, drawn % plan.folds)

    speaks[forgotten] = np.where(fold[forgotten] >= 0, fold[forgotten], speaks[forgotten])
    return speaks


def _drawn(seed: int, repetition: int, patient: str) -> int:
    digest = hashlib.sha256(f"{seed}\x1f{repetition}\x1f{patient}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def check_pool(
    plan: PoolPlan,
    folds: Folds,
    pool: Path,
    cohort: Cohort,
    partition: Partition,
    *,
    use: str = AUDIT,
) -> None:
    """Refuse a pool that cannot speak for a request; all faults at once.

    Args:
        plan, folds: The pool.
        pool: Its directory.
        cohort, partition: Data of the request.
        use: Which of its members are asked, "audit" or "target".

    Raises:
        SpecError: It is of another cohort, not finished, was trained on somebody who is never seen, or was not trained
            on somebody who is forgotten.
    """
    faults = []
    if plan.cohort != cohort.digest:
        do = "Make a pool for this cohort."
        faults.append(Fault("the pool is of another cohort", where=pool.name, do=do))

    unfinished = 0
    for member in plan.members():
        unfinished += member.use == use and not PoolDirectory(pool).signals(member).exists()
    if unfinished:
        do = "Give the command of forgetmi pool make again; it goes on where it stopped."
        faults.append(Fault(f"{unfinished} members are missing", where=pool.name, do=do))

    # Whoever is forgotten was left out by one member; whoever is never seen was seen by none
    trained = set(folds.patients)
    forgotten = {*map(str, cohort.patient[partition.of_request().forget])} - trained
    if forgotten:
        faults.append(
            Fault(
                f"the pool was not trained on {len(forgotten)} of the patients who are forgotten",
                where=pool.name,
                do="Retrain references for this request, or make the pool for the model in service.",
            )
        )
    outside = np.concatenate([partition.holdout, partition.reference])
    seen = {*map(str, cohort.patient[outside])} & trained
    if seen:
        faults.append(
            Fault(
                f"the pool was trained on {len(seen)} patients whom the run calls never seen",
                where=pool.name,
                do="Make the pool for the model in service.",
            )
        )
    if faults:
        raise SpecError(faults)
