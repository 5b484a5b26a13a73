"""What the data of a patient or study are to the model in service: trained on, forgotten, held out, or not known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from forgetmi.cohort.known_sides import FORGOTTEN as FORGOTTEN_BEFORE
from forgetmi.cohort.known_sides import OUT, TRAIN, sides_of_model
from forgetmi.cohort.model_patients import NAME, read_patients
from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.arrays import Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CheckpointError, PartitionError
from forgetmi.core.model_names import UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.requests.entries import Kind

# What the data of a patient or study are to the model in service.
TRAINED = "trained on"
FORGOTTEN = "forgotten by an earlier run"
ABSENT = "not in this cohort"
VALIDATION = "never trained on (validation)"
HOLDOUT = "never trained on (holdout)"
REFERENCE = "never trained on (reference)"
UNKNOWN = "not among the model's patients"  # whether it was trained on them is not known
NEVER_TRAINED = (VALIDATION, HOLDOUT, REFERENCE)
_OF_SPLIT: Mapping[str, str] = {
    "validation": VALIDATION,
    "holdout": HOLDOUT,
    "reference": REFERENCE,
}

# The same by the sides of a model that names the patients it has seen
_OF_SIDE: Mapping[str, str] = {
    **_OF_SPLIT,
    TRAIN: TRAINED,
    FORGOTTEN_BEFORE: FORGOTTEN,
    OUT: UNKNOWN,
}


def standing_in_service(
    folder: Path | None, cohort: Cohort, kind: Kind, notes: list[str]
) -> dict[str, str]:
    """What each patient's or study's data are to the model that a run left in service.

    Args:
        folder: The last run that closed a request; None = there is none yet, and the cohort's own split alone tells.
        cohort: The cohort.
        kind: Patients or studies.
        notes: Gets what the user must know.

    Returns:
        See `standing_of_subjects`.
    """
    if folder is None:
        return standing_of_subjects(cohort, kind, None)

    # The model names them; an older one does not, nor one whose folder is gone: then the run's partition tells
    try:
        side = _sides_in(folder, cohort)
        if side is not None:
            return standing_of_sides(side, cohort, kind)
        return standing_of_subjects(cohort, kind, read_partition(folder / "partition.json", cohort))
    except (CheckpointError, PartitionError) as error:
        notes.append(f"who was never trained on is known from the cohort alone: {error}")
        return standing_of_subjects(cohort, kind, None)


def _sides_in(folder: Path, cohort: Cohort) -> Strings | None:
    """The side of each row for the model of a run; None = it does not say."""
    facts = folder / "models" / UNLEARNED / "model.json"
    if not facts.exists():
        return None
    stored = read_facts(facts)["extra"].get(NAME)
    if stored is None:
        return None
    return sides_of_model(read_patients(stored, where=facts.name), cohort)[0]


def standing_of_sides(side: Strings, cohort: Cohort, kind: Kind) -> dict[str, str]:
    """What each patient's or study's data are, where the model names the patients it has seen.

    Args:
        side: Of each row; see `forgetmi.cohort.known_sides.sides_of_model`.
        cohort: The cohort.
        kind: Patients or studies.
    """
    of_row = np.array([_OF_SIDE[name] for name in side.tolist()], dtype=object)
    return standing_of_rows(cohort, kind, of_row)


def standing_of_subjects(cohort: Cohort, kind: Kind, partition: Partition | None) -> dict[str, str]:
    """What each patient's or study's data are to the model in service.

    Args:
        cohort: The cohort.
        kind: Patients or studies.
        partition: Of the last run that closed a request; None = none yet: the cohort's own split alone tells.

    Returns:
        Keyed digest to one of the constants above. Of a patient with several of them, "trained on" counts.
    """
    of_row = np.array(
        [_OF_SPLIT.get(split, TRAINED) for split in cohort.split.tolist()], dtype=object
    )

    # Once a run has closed a request, its partition counts
    if partition is not None:
        of_row[partition.retain] = TRAINED
        of_row[partition.forget] = FORGOTTEN
        of_row[partition.validation] = VALIDATION
        of_row[partition.holdout] = HOLDOUT
        of_row[partition.reference] = REFERENCE

    return standing_of_rows(cohort, kind, of_row)


def standing_of_rows(cohort: Cohort, kind: Kind, of_row: Strings) -> dict[str, str]:
    """What each patient's or study's data are, from what each row is.

    Args:
        cohort: The cohort.
        kind: Patients or studies.
        of_row: One of the constants above for each row.
    """
    identifiers = cohort.patient if kind == "patient" else cohort.study
    digests = identifiers.astype(str)

    # One trained image is enough for its patient to be trained on, then one forgotten one.
    standing = dict(zip(digests.tolist(), of_row.tolist(), strict=True))
    for name in (FORGOTTEN, TRAINED):
        for digest in digests[of_row == name].tolist():
            standing[digest] = name
    return standing
