"""Divides a cohort into forget, retain, validation, holdout and reference rows, never a person on two sides."""

from __future__ import annotations

from typing import Literal

import numpy as np

from forgetmi.cohort.drawn_sets import draw_forget_set, draw_sides
from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.forget_list import PLURAL
from forgetmi.cohort.sampling import Flags
from forgetmi.cohort.units import linked_patients
from forgetmi.core.arrays import Ints, codes
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import Fault, PartitionError
from forgetmi.core.partition import Partition


def partition(
    cohort: Cohort,
    *,
    forget: float | ForgetRequest,
    holdout: float = 0.25,
    validation: float = 0.15,
    validation_from: Literal["training", "holdout"] = "training",
    seed: int = 0,
    draw: int = 0,
) -> Partition:
    """Decide who is forgotten, retained, validated on and held out.

    Rows with a given split keep it. Where the cohort marks no holdout, a share of the free patients is drawn; where it
    marks no validation, a share of the remaining patients who are not to be forgotten (those marked train included:
    `validation=0` leaves them all in training). For a model that others trained on everybody outside the holdout,
    validation patients can come out of the holdout alone (`validation_from`). All other rows are the training side,
    forget and retain.
    Patients who share a group lie in the same set, save that one may be forgotten and another retained. Every draw is
    of whole patients and, of 1,000, the one whose study counts and label shares are closest to those drawn from.
    Nothing depends on the key of the digests.

    Args:
        cohort: The cohort.
        forget: Percent of the images of the training side (10.0 = ten percent; 0.1 = a tenth of a percent), drawn as
            whole patients; or a request that names them.
        holdout: Share of the free patients, in [0, 1).
        validation: Share of the remaining patients, in [0, 1); of the holdout patients where they come from there.
        validation_from: Whether validation patients are kept from training, or taken out of the holdout.
        seed: Root seed of the draws.
        draw: Which of several disjoint forget sets of that percentage, from 0, under the same holdout and validation.

    Returns:
        The partition; its notes tell how each set came about.

    Raises:
        PartitionError: A share or percentage is out of range, the request names nobody, everybody, somebody unknown or
            somebody who was never trained on, a group has two given splits, a requested set would be empty, or a
            forget set of 30 or more patients does not resemble the training side (distance of study counts above .15,
            or a label share off by more than 5 points).

    Examples:
        >>> sets = partition(cohort, forget=12.0, seed=3)
        >>> shared = set(cohort.patient[sets.forget]) & set(cohort.patient[sets.retain])
        >>> len(shared)  # a patient is on one side
        0
    """
    # Every fault is collected first, and all are reported at once
    faults = _option_faults(forget, holdout=holdout, validation=validation, draw=draw)

    # Patients who share a group are one unit, and lie on one side
    patient = codes(cohort.patient)[0]
    group = codes(cohort.group)[0]
    unit = linked_patients(patient, group)
    faults += _conflicting_splits(cohort, unit)

    # The rows that a request names; none yet where the forget set is drawn
    requested = np.zeros(len(cohort), dtype=bool)
    if isinstance(forget, ForgetRequest):
        requested = _requested_rows(cohort, forget)
        faults += _request_faults(cohort, forget, requested)
    if faults:
        raise PartitionError(faults)

    # Holdout and validation come first, so that they are the same for every forget set of a draw
    side, notes = draw_sides(
        cohort,
        patient,
        unit,
        unit[requested],
        holdout=holdout,
        validation=validation,
        source="train" if validation_from == "training" else "holdout",
        seed=seed,
    )

    # Forget and retain, together the training side
    training = side == "train"
    whole_patients = True
    if isinstance(forget, ForgetRequest):
        forgotten = requested
        whole_patients = not forget.studies
        notes += [*forget.notices, _request_note(patient[requested], whole_patients)]
    else:
        forgotten, note = draw_forget_set(
            cohort, patient, training, percent=forget, seed=seed, draw=draw
        )
        notes.append(note)
    retained = training & ~forgotten
    if not retained.any():
        raise PartitionError(_NOBODY_RETAINED)

    return Partition(
        forget=np.flatnonzero(forgotten),
        retain=np.flatnonzero(retained),
        validation=np.flatnonzero(side == "validation"),
        holdout=np.flatnonzero(side == "holdout"),
        reference=np.flatnonzero(side == "reference"),
        patient=patient,
        group=group,
        cohort=cohort.digest,
        whole_patients=whole_patients,
        notes=tuple(notes),
    )


_NOBODY_RETAINED = Fault(
    "nobody would be retained",
    why="everybody on the training side is to be forgotten",
    do="Forget fewer patients. To forget all of them, delete the model.",
)


def _option_faults(
    forget: float | ForgetRequest, *, holdout: float, validation: float, draw: int
) -> list[Fault]:
    """Shares, percentages and numbers that are out of their range."""
    faults = []
    for name, share in (("holdout", holdout), ("validation", validation)):
        if not 0 <= share < 1:
            faults.append(
                Fault(
                    f"{name} is {share:g}",
                    why="it is a share of the patients, from 0 to below 1",
                    do="Use e.g. 0.15 for 15 %.",
                )
            )

    # The percentage of a drawn forget set
    if not isinstance(forget, ForgetRequest) and not 0 < forget < 100:
        faults.append(
            Fault(
                f"the forget percentage is {forget:g}",
                why="it must be above 0 and below 100",
                do="Give percent of the training images, e.g. 10.0.",
            )
        )

    # The number of the draw
    if draw < 0:
        faults.append(
            Fault(f"the number of the forget draw is {draw}", do="Count the draws from 0.")
        )
    return faults


def _conflicting_splits(cohort: Cohort, unit: Ints) -> list[Fault]:
    """One fault for each patient of whom a row has another given split than the first row of the patient's unit."""
    if len(unit) == 0:
        return [Fault("the cohort has no rows")]

    # The split of each row next to that of the first row of its unit
    _, first, inverse = np.unique(unit, return_index=True, return_inverse=True)
    differs = cohort.split != cohort.split[first[inverse]]
    conflicting = list(dict.fromkeys(cohort.patient[differs]))

    faults = []
    for digest in conflicting[:MOST]:
        faults.append(
            Fault(
                f"patient {digest} or their group has two given splits",
                do="Give all rows of a patient, and all patients of a group, the same split.",
            )
        )
    return capped(faults, len(conflicting), "patients with two given splits")


def _requested_rows(cohort: Cohort, request: ForgetRequest) -> Flags:
    """Per row, whether a request names its patient or its study."""
    patients = np.isin(cohort.patient, list(request.patients))
    studies = np.isin(cohort.study, list(request.studies))
    return patients | studies


def _request_faults(cohort: Cohort, request: ForgetRequest, requested: Flags) -> list[Fault]:
    """What is wrong with a request: it names nobody, somebody unknown, everybody, or somebody never trained on."""
    if not request.patients and not request.studies:
        return [Fault("the forget list is empty", do="Name at least one patient.")]

    # Names that the cohort does not have
    faults = _unknown("patient", request.patients, set(cohort.patient))
    faults += _unknown("study", request.studies, set(cohort.study))

    # Everybody who can be trained on
    trainable = np.isin(cohort.split, ("", "train"))
    if requested[trainable].all():
        faults.append(
            Fault(
                "everybody who can be trained on is to be forgotten",
                why="nobody would be retained",
                do=_NOBODY_RETAINED.do,
            )
        )

    # Patients of a given holdout, validation or reference set
    outside = requested & ~trainable
    pairs = zip(cohort.patient[outside], cohort.split[outside], strict=True)
    never_trained = list(dict.fromkeys(pairs))
    never_trained_faults = []
    for digest, split in never_trained[:MOST]:
        never_trained_faults.append(
            Fault(
                f"patient {digest} is in the {split} set",
                why="the model was never trained on them",
                do="Take them off the list, since there is nothing to forget; close their request with a note.",
            )
        )
    return faults + capped(
        never_trained_faults, len(never_trained), "patients who were never trained on"
    )


def _unknown(kind: str, named: tuple[str, ...], known: set[str]) -> list[Fault]:
    """One fault for each digest that the cohort does not have."""
    unknown = [digest for digest in dict.fromkeys(named) if digest not in known]
    faults = [Fault(f"{kind} {digest} is not in the cohort") for digest in unknown[:MOST]]
    return capped(faults, len(unknown), f"{PLURAL[kind]} who are not in the cohort")


def _request_note(patient: Ints, whole_patients: bool) -> str:
    """How the forget set came about; `patient` has the patient code of each forget row."""
    patients = len(np.unique(patient))
    scope = "whole patients" if whole_patients else "single studies"
    return f"forget: {patients} patients, {len(patient)} images, as requested ({scope})"
