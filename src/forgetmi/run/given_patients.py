"""Whom a given original was trained on, and the partition of a request that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.further_withdrawal import further_withdrawal
from forgetmi.cohort.identifiers import load_key
from forgetmi.cohort.known_sides import partition_of_sides, sides_of_list, sides_of_model
from forgetmi.cohort.model_patients import (
    NAME,
    ModelPatients,
    patients_of,
    read_patients,
    spelling_digest,
)
from forgetmi.cohort.partition import partition as make_partition
from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import Fault, PartitionError, SpecError
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import NEVER_SEEN, SETS, Partition
from forgetmi.model.checkpoint import FACTS
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.run.spec import RunSpec

UNPROVED = "the checkpoint of the given original does not name the patients it was trained on"


def patients_in(checkpoint: Path) -> ModelPatients | None:
    """Whom the model of a checkpoint has seen; None where it does not say: it is older, or from elsewhere.

    Raises:
        CheckpointError: The checkpoint's facts are missing or damaged.
    """
    stored = read_facts(checkpoint / FACTS)["extra"].get(NAME)
    if stored is None:
        return None
    return read_patients(stored, where=f"{checkpoint.name}/{FACTS}")


def divide_for_given(spec: RunSpec, cohort: Cohort, forget: float | ForgetRequest) -> Partition:
    """The partition of a request to a given original.

    Whoever the original was trained on is in no never-seen set, whatever seed and shares the run has; whoever it held
    out stays held out; whoever it has forgotten stays forgotten.

    Args:
        spec: The run; an original is given.
        cohort: Its cohort.
        forget: Percent, or who withdraws.

    Raises:
        PartitionError: The request cannot be carried out on this model.
        SpecError: The options contradict what the checkpoint holds.
    """
    given, options = spec.given, spec.partition
    assert given.original is not None
    known = patients_in(given.original)
    seed = spec.seed if spec.split_seed is None else spec.split_seed

    # It says so itself
    if known is not None:
        _refuse_statements(spec)
        side, notes = sides_of_model(known, cohort)
        divided = partition_of_sides(
            side, cohort, forget=forget, seed=seed, draw=options.draw, notes=notes
        )
        if options.after is not None:
            _check_after(options.after, divided, cohort, forget)
        return divided

    # A partition of the run before says it for the model that the run left
    if options.after is not None:
        assert isinstance(forget, ForgetRequest)
        return further_withdrawal(read_partition(options.after, cohort), forget, cohort=cohort)

    # A list, or the cohort's own split, says it for a model from elsewhere
    if given.trained_on is not None:
        key = load_key(getattr(spec.cohort, "key_file", None))
        listed = read_forget_list(given.trained_on, cohort=cohort, key=key, unknown="count")
        side, notes = sides_of_list(
            _patients_of_list(listed), cohort, validation=options.validation, seed=seed
        )
        notes += listed.notices
        return partition_of_sides(
            side, cohort, forget=forget, seed=seed, draw=options.draw, notes=notes
        )
    drawn = make_partition(
        cohort,
        forget=forget,
        holdout=options.holdout,
        validation=options.validation,
        validation_from=options.validation_from,
        seed=seed,
        draw=options.draw,
    )
    if given.trained_as_split:
        _require_split(cohort)
        return drawn

    # Nobody says it: only patients whom it cannot have seen count, or there is no verdict
    if len(drawn.reference):
        note = f"holdout: left out, because {UNPROVED}; references alone are never seen"
        return replace(drawn, holdout=np.empty(0, np.int64), notes=(*drawn.notes, note))
    return replace(drawn, unproved=UNPROVED)


def patients_after(
    spec: RunSpec, cohort: Cohort, partition: Partition, *, role: str
) -> ModelPatients | None:
    """Whom a model of a run has seen, for its checkpoint; None where nobody knows.

    Args:
        spec: The run.
        cohort, partition: Its data.
        role: Name of the model in the run: the original, the unlearned one, or any that is trained without the
            forgotten.
    """
    known = None if spec.given.original is None else patients_in(spec.given.original)
    nobody = np.empty(0, np.int64)

    # A given original is as it was; what was unlearned from it has seen the same, less the forgotten
    if role == ORIGINAL and spec.given.original is not None:
        if known is not None or partition.unproved:
            return known
        trained = np.setdiff1d(_training_side(partition), partition.earlier)
        return patients_of(
            cohort,
            partition,
            trained=trained,
            forgotten=partition.earlier,
            unknown=_in_no_set(partition),
        )
    if role == UNLEARNED and known is not None:
        return known.after(cohort, partition)
    if role == UNLEARNED and partition.unproved:
        return None

    # Unlearned from a model of which others said whom it was trained on: whoever was left out stays out
    if role == UNLEARNED and spec.given.original is not None:
        return patients_of(
            cohort,
            partition,
            trained=partition.retain,
            forgotten=partition.forget,
            unknown=_in_no_set(partition),
        )

    # Trained here
    if role == ORIGINAL:
        return patients_of(cohort, partition, trained=_training_side(partition), forgotten=nobody)
    return patients_of(cohort, partition, trained=partition.retain, forgotten=partition.forget)


def check_retrained(
    checkpoints: Sequence[Path], cohort: Cohort, partition: Partition
) -> tuple[str, ...]:
    """Refuse given retrained models that have seen somebody they must not have seen, as far as they say.

    Returns:
        What has to be taken on trust: one note for each model that does not say whom it was trained on.

    Raises:
        SpecError: One was trained on forgotten or never-seen patients, or names its patients under another key.
    """
    forgotten = {*map(str, cohort.study[partition.forget])}
    never_seen = np.concatenate([partition.rows(name) for name in NEVER_SEEN])
    held_out = {*map(str, cohort.patient[never_seen])}

    faults, notes = [], []
    for checkpoint in checkpoints:
        known = patients_in(checkpoint)
        if known is None:
            notes.append(
                f"{checkpoint.name}, given as retrained, does not say whom it was trained on: that it never saw the "
                "forgotten is taken on trust"
            )
            continue

        # Digests of another key or rule fit nobody, whoever the model was trained on
        if (known.key_id, known.spelling) != (cohort.key_id, spelling_digest(cohort.spelling)):
            faults.append(
                Fault(
                    "a model given as retrained names its patients under another identifier key, or by another rule",
                    where=checkpoint.name,
                    why="whether it was trained on the forgotten cannot be told",
                    do="Give one that was made with this cohort's key file and its --cohort.same-identifiers.",
                )
            )
            continue
        wrong = {
            "studies that are to be forgotten": len(forgotten & {*known.trained.studies}),
            "patients who are never seen": len(held_out & {*known.trained.patients}),
        }
        for patients, count in wrong.items():
            if count:
                faults.append(
                    Fault(
                        f"a model given as retrained was trained on {count} {patients}",
                        where=checkpoint.name,
                        do="Give one that was trained without them, or none.",
                    )
                )
    if faults:
        raise SpecError(faults)
    return tuple(notes)


def _in_no_set(partition: Partition) -> Ints:
    """Rows that are left out of every set."""
    everybody = np.arange(len(partition.patient))
    return np.setdiff1d(everybody, np.concatenate([partition.rows(name) for name in SETS]))


def _training_side(partition: Partition) -> Ints:
    return np.union1d(partition.forget, partition.retain)


def _patients_of_list(listed: ForgetRequest) -> tuple[str, ...]:
    """The patients of a list, which must name patients."""
    if listed.studies:
        raise SpecError(
            Fault(
                "the list of whom the original was trained on names studies",
                where="given.trained_on",
                do="Name patients, in a column patient_id.",
            )
        )
    return listed.patients


def _refuse_statements(spec: RunSpec) -> None:
    """Refuse to be told whom a model was trained on that says so itself."""
    if spec.given.trained_on is not None or spec.given.trained_as_split:
        raise SpecError(
            Fault(
                "the checkpoint of the original names the patients it was trained on",
                where="given.trained_on",
                do="Leave --given.trained-on and --given.trained-as-split out.",
            )
        )


def _check_after(
    path: Path, divided: Partition, cohort: Cohort, forget: float | ForgetRequest
) -> None:
    """Refuse an earlier partition that is not that of the given original."""
    assert isinstance(forget, ForgetRequest)
    expected = further_withdrawal(read_partition(path, cohort), forget, cohort=cohort)
    differing = [
        name for name in SETS if not np.array_equal(expected.rows(name), divided.rows(name))
    ]
    if differing:
        raise PartitionError(
            Fault(
                "the earlier partition is not that of the given original",
                where=path.name,
                why=f"they differ in {', '.join(differing)}",
                do="Leave --partition.after out: the model's checkpoint names the patients it has seen.",
            )
        )


def _require_split(cohort: Cohort) -> None:
    """Refuse a cohort whose split column leaves rows open."""
    free = int(np.sum(cohort.split == ""))
    if free or not np.any(cohort.split == "train"):
        raise SpecError(
            Fault(
                "the cohort's split does not say whom the original was trained on",
                where="given.trained_as_split",
                why=f"{free} rows are in no split" if free else "no row is marked train",
                do="Name the column of the split, or give a list with --given.trained-on.",
            )
        )
