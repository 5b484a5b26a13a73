"""The partition of a request from a model of which it is known whom it was trained on; nothing is drawn anew."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from forgetmi.cohort.drawn_sets import draw_forget_set
from forgetmi.cohort.model_patients import ModelPatients, spelling_digest
from forgetmi.cohort.sampling import Flags
from forgetmi.cohort.units import linked_patients, units_of
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import Fault, PartitionError
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import numpy_generator

# Sides beside the sets that a model never saw. OUT is in no set: it can neither be forgotten nor called never seen.
TRAIN, FORGOTTEN, OUT = "train", "forgotten", "out"


def sides_of_model(known: ModelPatients, cohort: Cohort) -> tuple[Strings, list[str]]:
    """The side of each row, as the model has it.

    A study that came since of somebody the model was trained on, or has forgotten, was never trained on and is of
    nobody never seen: it is left out. So is a new patient who shares a group with somebody it was trained on. Other new
    patients are references, unless somebody it was trained on is missing: then one of them may be that person, whose
    identifier was written otherwise, and all new ones are left out.

    Args:
        known: Who the model has seen.
        cohort: The cohort as it is now.

    Returns:
        Per row "train", "forgotten", "validation", "holdout", "reference" or "out"; and what was found, in words.

    Raises:
        PartitionError: The digests were made with another key, or nobody whom the model was trained on is there.
    """
    _require_matchable(known, cohort)

    # New patients first, then whatever the model knows; a study counts more than its patient.
    side = np.full(len(cohort), "reference", dtype=object)
    for name in ("reference", "holdout", "validation"):
        side[np.isin(cohort.patient, getattr(known, name).patients)] = name
    of_known = np.isin(cohort.patient, [*known.trained.patients, *known.forgotten.patients])
    side[of_known] = OUT
    side[of_known & np.isin(cohort.study, known.trained.studies)] = TRAIN
    side[of_known & np.isin(cohort.study, known.forgotten.studies)] = FORGOTTEN

    # Whoever shares a group with another side is on no side
    recorded = [*known.validation.patients, *known.holdout.patients, *known.reference.patients]
    new = ~of_known & ~np.isin(cohort.patient, recorded)
    related = new & _related(cohort, to=~new)
    missing = len({*known.trained.patients} - {*map(str, cohort.patient)})
    unsure = new & ~related & (missing > 0)
    side[related | unsure] = OUT

    notes = ["validation, holdout and reference: as when the model was made"]
    notes += _counted(
        cohort, new & ~related & ~unsure, "not in the cohort when the model was made: reference"
    )
    notes += _counted(cohort, related, "new and of a group that the model knows: left out")
    notes += _counted(
        cohort, unsure, "new, while some whom the model was trained on are missing: left out"
    )
    notes += _counted(
        cohort, of_known & (side == OUT), "new studies of patients it knows: left out"
    )
    if missing:
        notes.append(
            f"{missing} patients that the model was trained on are not in the cohort any more"
        )
    return side, notes


def sides_of_list(
    trained: Collection[str], cohort: Cohort, *, validation: float, seed: int
) -> tuple[Strings, list[str]]:
    """The side of each row where a list says whom a model from elsewhere was trained on.

    Everybody else is never seen, save for those who share a group with somebody on the list: they are left out. Where
    the cohort marks no validation patients among the never-seen, a share of them is drawn.

    Args:
        trained: Keyed digests of the patients on the list.
        cohort: The cohort.
        validation: Share of the never-seen patients, in [0, 1).
        seed: Root seed of the draw.

    Returns:
        As `sides_of_model`.
    """
    listed = np.isin(cohort.patient, list(trained))
    given = np.isin(cohort.split, ("validation", "holdout", "reference"))
    side = np.where(given, cohort.split, "holdout").astype(object)
    side[listed] = TRAIN
    related = ~listed & _related(cohort, to=listed)
    side[related] = OUT

    notes = ["training side: as the list of --given.trained-on says; everybody else is never seen"]
    notes += _counted(cohort, related, "of a group with somebody on the list: left out")
    notes += _counted(
        cohort, listed & given, "on the list, though the cohort's split holds them out"
    )

    # Validation patients come out of those never seen: the model was trained on all others.
    if validation > 0 and not np.any(side == "validation"):
        patient, group = codes(cohort.patient)[0], codes(cohort.group)[0]
        units = units_of(cohort, patient, linked_patients(patient, group), side == "holdout")
        generator = numpy_generator(seed, "partition", "validation")
        sample = units.draw(units.patients, validation, generator, name="validation")
        side[units.rows(sample)] = "validation"
        notes.append(f"validation: {sample.total} of {units.patients.sum()} never-seen patients")
    return side, notes


def partition_of_sides(
    side: Strings,
    cohort: Cohort,
    *,
    forget: float | ForgetRequest,
    seed: int,
    draw: int,
    notes: Collection[str] = (),
) -> Partition:
    """The partition of a request where the side of each row is known.

    Args:
        side: See `sides_of_model`.
        cohort: The cohort.
        forget: Percent of the images of the training side, drawn as whole patients; or who withdraws now.
        seed, draw: Of the drawn forget set; see `forgetmi.cohort.partition.partition`.
        notes: How the sides came about, in words.

    Raises:
        PartitionError: The request names nobody new, somebody unknown or never trained on, or everybody.
    """
    patient = codes(cohort.patient)[0]
    training = side == TRAIN
    earlier = side == FORGOTTEN

    # Who is forgotten now
    words = [*notes]
    if isinstance(forget, ForgetRequest):
        requested = np.isin(cohort.patient, forget.patients) | np.isin(cohort.study, forget.studies)
        _check_request(forget, cohort, side, requested)
        now = requested & training
        words += forget.notices
        words.append(f"forget: {_number(patient, now)}, as requested now")
    else:
        now, note = draw_forget_set(cohort, patient, training, percent=forget, seed=seed, draw=draw)
        words.append(note)
    if earlier.any():
        words.append(f"forgotten before: {_number(patient, earlier)}")

    # A patient of whom single studies are forgotten is retained with the others
    forgotten, retained = now | earlier, training & ~now
    split = np.isin(patient[forgotten], patient[retained]).any()
    single = isinstance(forget, ForgetRequest) and bool(forget.studies)
    return Partition(
        forget=np.flatnonzero(forgotten),
        retain=np.flatnonzero(retained),
        validation=np.flatnonzero(side == "validation"),
        holdout=np.flatnonzero(side == "holdout"),
        reference=np.flatnonzero(side == "reference"),
        patient=patient,
        group=codes(cohort.group)[0],
        cohort=cohort.digest,
        whole_patients=not (single or split),
        earlier=np.flatnonzero(earlier),
        notes=tuple(words),
    )


def _require_matchable(known: ModelPatients, cohort: Cohort) -> None:
    """Refuse digests that cannot be compared: of another key, or read by another rule."""
    if known.key_id != cohort.key_id:
        raise PartitionError(
            Fault(
                "the model's patients are named under another identifier key",
                where="given.original",
                why=f"key {known.key_id}, the cohort's is {cohort.key_id}: nobody could be found",
                do="Read the cohort with the key file that the model was made with.",
            )
        )
    if known.spelling != spelling_digest(cohort.spelling):
        raise PartitionError(
            Fault(
                "the cohort's identifiers are read by another rule than the model's",
                where="given.original",
                why="patients it was trained on could be taken for others",
                do="Give the --cohort.same-identifiers and mapping that the model was made with.",
            )
        )
    if not {*known.trained.patients} & {*map(str, cohort.patient)}:
        raise PartitionError(
            Fault(
                "nobody whom the model was trained on is in the cohort",
                where="given.original",
                do="Give the cohort that the model was made with, read by the same rule for identifiers.",
            )
        )


def _check_request(request: ForgetRequest, cohort: Cohort, side: Strings, requested: Flags) -> None:
    """Refuse a request that this model cannot carry out; all faults at once."""
    faults = []
    if not request.patients and not request.studies:
        faults.append(Fault("the forget list is empty", do="Name at least one patient."))

    # Names that the cohort does not have
    known = {*map(str, cohort.patient), *map(str, cohort.study)}
    for digest in (*request.patients, *request.studies):
        if digest not in known:
            faults.append(Fault(f"{digest} is not in the cohort"))

    # Somebody of whom nothing was trained on
    reached = np.isin(side, (TRAIN, FORGOTTEN))
    of_reached = np.isin(cohort.patient, cohort.patient[requested & reached])
    left_out = {*map(str, cohort.patient[side == OUT])}
    for digest in dict.fromkeys(cohort.patient[requested & ~of_reached].tolist()):
        if str(digest) in left_out:
            faults.append(_unsure(digest))
            continue
        faults.append(
            Fault(
                f"patient {digest} was never trained on",
                where="partition.forget_list",
                do="Take them off the list, since there is nothing to forget; close their request with a note.",
            )
        )

    training = side == TRAIN
    if requested.any() and not faults and not (requested & training).any():
        faults.append(
            Fault(
                "everybody on the list is forgotten already",
                do="List only patients who withdraw now.",
            )
        )
    if training.any() and requested[training].all():
        faults.append(
            Fault(
                "nobody would be retained",
                why="everybody on the training side is to be forgotten",
                do="Forget fewer patients. To forget all of them, delete the model.",
            )
        )
    if faults:
        raise PartitionError(faults)


def _unsure(digest: str) -> Fault:
    """Somebody who is on no side: that nothing was learnt of them is not known, either."""
    return Fault(
        f"whether patient {digest} was trained on is not known",
        where="partition.forget_list",
        why="they are on no side of the model: new, of a group it knows, or of those nobody says it was trained on",
        do="Find it out before their request is closed: retrain without them where it may be so.",
    )


def _related(cohort: Cohort, *, to: Flags) -> Flags:
    """Per row, whether its patient is linked by groups to one of some rows."""
    unit = linked_patients(codes(cohort.patient)[0], codes(cohort.group)[0])
    return np.isin(unit, unit[to])


def _counted(cohort: Cohort, rows: Flags, what: str) -> list[str]:
    """One sentence on some rows, none where there are none."""
    return [f"{_number(codes(cohort.patient)[0], rows)} {what}"] if rows.any() else []


def _number(patient: Ints, rows: Flags) -> str:
    return f"{len(np.unique(patient[rows]))} patients, {int(rows.sum())} images"
