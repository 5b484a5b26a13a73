"""Divides a cohort into forget, retain, validation, holdout and reference rows, never a person on two sides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from forgetmi.cohort.files import MOST, capped, read_strings
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.sampling import KS_TOLERANCE, LABEL_TOLERANCE, Draw, Flags, resembling_draw
from forgetmi.core.errors import CohortError, Fault, PartitionError
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.types import Cohort, ForgetRequest, Ints, Partition, Strings, codes

PATIENT_COLUMNS = ("patient_id", "subject_id")
STUDY_COLUMN = "study_id"
PATIENT_DIGEST, STUDY_DIGEST = "patient_digest", "study_digest"
DIGEST = re.compile("[0-9a-f]{16}")
PLURAL = {"patient": "patients", "study": "studies"}
MANY = 30  # from this many forgotten patients on, the draw must be within the tolerances


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
    marks no validation, a share of the remaining patients who were not asked to be forgotten (those marked train
    included: `validation=0` leaves them all in training). For a model that others trained on everybody outside the
    holdout, validation patients can come out of the holdout alone (`validation_from`). All other rows are the training
    side, forget and retain.
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
            somebody who was never trained on, a group has two given splits, a set asked for would be empty, or a
            forget set of 30 or more patients does not resemble the training side (distance of study counts above .15,
            or a label share off by more than 5 points).
    """
    faults = [
        Fault(
            f"{name} is {share:g}",
            why="a share of the patients, from 0 to below 1",
            do="Use e.g. 0.15 for 15 %.",
        )
        for name, share in (("holdout", holdout), ("validation", validation))
        if not 0 <= share < 1
    ]
    patient, group = codes(cohort.patient)[0], codes(cohort.group)[0]
    unit = _units(patient, group)
    faults += _conflicting_split(cohort, unit)
    asked = np.zeros(len(cohort), dtype=bool)
    if isinstance(forget, ForgetRequest):
        asked, strange = _asked(cohort, forget)
        faults += strange
    elif not 0 < forget < 100:
        faults.append(
            Fault(
                f"the forget percentage is {forget:g}",
                why="it must be above 0 and below 100",
                do="Give percent of the training images, e.g. 10.0.",
            )
        )
    if draw < 0:
        faults.append(
            Fault(f"the number of the forget draw is {draw}", do="Count the draws from 0.")
        )
    if faults:
        raise PartitionError(faults)

    side, notes = _divide(
        cohort,
        patient,
        unit,
        unit[asked],
        holdout=holdout,
        seed=seed,
        validation=validation,
        source="train" if validation_from == "training" else "holdout",
    )
    training = side == "train"
    if isinstance(forget, ForgetRequest):
        forgotten = asked
        scope = "single studies" if forget.studies else "whole patients"
        notes += [
            *forget.notices,
            f"forget: {_distinct(patient[asked])} patients, {asked.sum()} images, as requested "
            f"({scope})",
        ]
    else:
        forgotten, note = _forgotten(
            cohort, patient, training, percent=forget, seed=seed, draw=draw
        )
        notes.append(note)
    retained = training & ~forgotten
    if not retained.any():
        raise PartitionError(
            Fault(
                "nobody would be retained",
                why="everybody on the training side is to be forgotten",
                do="Forget fewer patients; where all are to be forgotten, delete the model.",
            )
        )
    return Partition(
        forget=np.flatnonzero(forgotten),
        retain=np.flatnonzero(retained),
        validation=np.flatnonzero(side == "validation"),
        holdout=np.flatnonzero(side == "holdout"),
        reference=np.flatnonzero(side == "reference"),
        patient=patient,
        group=group,
        cohort=cohort.digest,
        whole_patients=not (isinstance(forget, ForgetRequest) and forget.studies),
        notes=tuple(notes),
    )


def read_forget_list(
    path: Path,
    *,
    cohort: Cohort,
    key: bytes,
    patient_column: str = "",
    study_column: str = "",
) -> ForgetRequest:
    """Read the identifiers of those who asked to be forgotten.

    Args:
        path: CSV or Parquet with one identifier a row, or, as the ledger writes it, one keyed digest a row in a column
            patient_digest or study_digest; further columns do not matter.
        cohort: The cohort they are in.
        key: The key its digests were made with; see `forgetmi.cohort.identifiers.load_key`.
        patient_column: Column of patient identifiers; default: patient_id or subject_id.
        study_column: Column of study identifiers, to forget single studies; read only where it is named or where the
            file has no column of patients (then study_id).

    Returns:
        The request, in the order of the list, repeated identifiers once.

    Raises:
        CohortError: The file is unreadable, has no such column, blank cells or unknown identifiers, or the key is not
            the cohort's. Identifiers are reported as row and digest.
    """
    pseudonyms = Pseudonyms(key)
    if pseudonyms.key_id != cohort.key_id:
        raise CohortError(
            Fault(
                "the identifier key is not the one the cohort was read with",
                why=f"key {pseudonyms.key_id}, the cohort's is {cohort.key_id}",
                do="Use the same key file for both.",
            )
        )
    table = read_strings(path)
    if patient_column and study_column:
        raise CohortError(
            Fault(
                "a column of patients and a column of studies are named",
                where=table.file,
                do="Name one; to forget whole patients, name theirs.",
            )
        )
    if not patient_column and not study_column:
        patient_column = next(
            (name for name in (*PATIENT_COLUMNS, PATIENT_DIGEST) if name in table.columns), ""
        )
        study_column = (
            ""
            if patient_column
            else STUDY_DIGEST
            if STUDY_DIGEST in table.columns
            else STUDY_COLUMN
        )
    column = patient_column or study_column
    if column not in table.columns:
        raise CohortError(
            [
                *(
                    table.missing([column])
                    if column != STUDY_COLUMN
                    else [
                        Fault(
                            f"no column {', '.join(PATIENT_COLUMNS)} or {STUDY_COLUMN}",
                            where=table.file,
                            do=f"Name the column of identifiers. The file has: {', '.join(table.columns)}.",
                        )
                    ]
                ),
                *table.faults,
            ]
        )
    kind, known = ("patient", cohort.patient) if patient_column else ("study", cohort.study)
    raw = np.array([cell.strip() for cell in table.columns[column]], dtype=object)
    digests = pseudonyms.digests(kind, raw)
    if column in (
        PATIENT_DIGEST,
        STUDY_DIGEST,
    ):  # what is no digest is taken for an identifier, so never printed
        digests = np.array(
            [
                cell if DIGEST.fullmatch(cell) else digest
                for cell, digest in zip(raw, digests, strict=True)
            ],
            dtype=object,
        )
    there = set(known)
    blank = np.flatnonzero(raw == "").tolist()
    unknown = [i for i, digest in enumerate(digests) if raw[i] and digest not in there]
    faults = [*table.faults]
    faults += capped(
        [
            Fault("the identifier is blank", where=f"{table.where(i)}, column {column!r}")
            for i in blank[:MOST]
        ],
        len(blank),
        f"blank identifiers in {table.file}",
    )
    faults += capped(
        [
            Fault(
                f"{kind} {digests[i]} is not in the cohort",
                where=f"{table.where(i)}, column {column!r}",
                do="Check the identifier's spelling, and that the list is of this cohort.",
            )
            for i in unknown[:MOST]
        ],
        len(unknown),
        f"unknown identifiers in {table.file}",
    )
    if faults:
        raise CohortError(faults)
    named = tuple(dict.fromkeys(digests.tolist()))
    notices = (
        ()
        if len(named) == len(table)
        else (f"the list's {len(table)} rows name {len(named)} {PLURAL[kind]}",)
    )
    patients, studies = (named, ()) if kind == "patient" else ((), named)
    return ForgetRequest(patients=patients, studies=studies, notices=notices)


def _distinct(values: Ints) -> int:
    return len(np.unique(values))


def _units(patient: Ints, group: Ints) -> Ints:
    """Per row, the set of patients who are linked by groups, directly or through others."""
    patients, groups = int(patient.max(initial=-1)) + 1, int(group.max(initial=-1)) + 1
    links = coo_array(
        (np.ones(len(patient)), (patient, patients + group)), shape=(patients + groups,) * 2
    )
    return connected_components(links, directed=False)[1].astype(np.int64)[patient]


def _conflicting_split(cohort: Cohort, unit: Ints) -> list[Fault]:
    """One fault for each patient of whom a row has another given split than the first row of the patient's unit."""
    if len(unit) == 0:
        return [Fault("the cohort has no rows")]
    _, first, inverse = np.unique(unit, return_index=True, return_inverse=True)
    torn = list(dict.fromkeys(cohort.patient[cohort.split != cohort.split[first[inverse]]]))
    return capped(
        [
            Fault(
                f"patient {digest} or their group has two given splits",
                do="Give all rows of a patient, and all patients of a group, the same split.",
            )
            for digest in torn[:MOST]
        ],
        len(torn),
        "patients with two given splits",
    )


def _asked(cohort: Cohort, request: ForgetRequest) -> tuple[Flags, list[Fault]]:
    """The rows a request names, and what is wrong with it."""
    asked = np.zeros(len(cohort), dtype=bool)
    if not request.patients and not request.studies:
        return asked, [Fault("the forget list is empty", do="Name at least one patient.")]
    faults: list[Fault] = []
    for kind, column, named in (
        ("patient", cohort.patient, request.patients),
        ("study", cohort.study, request.studies),
    ):
        rows = np.isin(column, list(named))
        asked |= rows
        there = set(column[rows])
        unknown = [digest for digest in dict.fromkeys(named) if digest not in there]
        faults += capped(
            [Fault(f"{kind} {digest} is not in the cohort") for digest in unknown[:MOST]],
            len(unknown),
            f"{PLURAL[kind]} who are not in the cohort",
        )
    trainable = np.isin(cohort.split, ("", "train"))
    if asked[trainable].all():
        faults.append(
            Fault(
                "everybody who can be trained on is to be forgotten",
                why="nobody would be retained",
                do="Forget fewer patients; where all are to be forgotten, delete the model.",
            )
        )
    outside = asked & ~trainable
    unseen = list(dict.fromkeys(zip(cohort.patient[outside], cohort.split[outside], strict=True)))
    faults += capped(
        [
            Fault(
                f"patient {digest} lies in the {split} set",
                why="the model was never trained on them",
                do="Take them off the list: there is nothing to forget; close a request with a note.",
            )
            for digest, split in unseen[:MOST]
        ],
        len(unseen),
        "patients who were never trained on",
    )
    return asked, faults


def _divide(
    cohort: Cohort,
    patient: Ints,
    unit: Ints,
    pinned: Ints,
    *,
    holdout: float,
    validation: float,
    source: str,
    seed: int,
) -> tuple[Strings, list[str]]:
    """Per row, the set it is in, with "train" for forget and retain; the units in `pinned` stay in training."""
    side = np.where(cohort.split == "", "train", cohort.split).astype(object)
    notes = []
    for name, share, taken in (("holdout", holdout, "train"), ("validation", validation, source)):
        given = bool(np.any(cohort.split == name))
        if given or share == 0:
            notes.append(f"{name}: as given by the cohort" if given else f"{name}: none, as asked")
            continue
        pool = (side == taken) & ~np.isin(unit, pinned)
        if name == "holdout":
            pool &= cohort.split == ""
        units = _Units(cohort, patient, unit, pool)
        drawn = units.draw(
            units.patients, share, numpy_generator(seed, "partition", name), name=name
        )
        rows = units.rows(drawn)
        side[rows] = name
        notes.append(f"{name}: {drawn.total} of {units.patients.sum()} patients; {drawn}")
        if taken == "holdout":
            notes.append(
                "The validation patients were taken out of the holdout, because the model was trained on "
                "everybody else; the results rest on the other holdout patients alone."
            )
    return side, notes


def _forgotten(
    cohort: Cohort,
    patient: Ints,
    training: Flags,
    *,
    percent: float,
    seed: int,
    draw: int,
) -> tuple[Flags, str]:
    """The rows of a forget set drawn by percent of the training images, and how it came about."""
    units = _Units(cohort, patient, patient, training)
    available = np.ones(len(units.images), dtype=bool)

    def nth(number: int) -> Draw:
        generator = numpy_generator(seed, "partition", "forget", number)
        return units.draw(
            units.images, percent / 100, generator, name="forget", available=available
        )

    for earlier in range(draw):
        available &= ~nth(earlier).units
    found = nth(draw)
    number, images = int(found.units.sum()), int(units.images.sum())
    if number >= MANY and found.misfit > 1:
        raise PartitionError(
            Fault(
                f"no forget set of {percent:g} % resembles the patients it is drawn from",
                why=f"{found}; at most {KS_TOLERANCE} and {100 * LABEL_TOLERANCE:g} points are accepted",
                do="Choose another percentage or seed, or give the patients as a list.",
            )
        )
    return units.rows(found), (
        f"forget: {number} patients, {found.total} of {images} training images = {100 * found.total / images:.2f} % "
        f"({percent:g} % asked; whole patients come no closer); {found}"
    )


class _Units:
    """What a draw needs to know of the units (patients, or sets of linked patients) in some rows of a cohort.

    Args:
        cohort, patient: The cohort and its patient codes.
        unit: Per row of the cohort, its unit.
        pool: Per row, whether it takes part; whole units only.
    """

    def __init__(self, cohort: Cohort, patient: Ints, unit: Ints, pool: Flags) -> None:
        self._unit, self._pool = unit, pool
        self._names, row_unit, self.images = np.unique(
            unit[pool], return_inverse=True, return_counts=True
        )
        one, row_patient = np.unique(patient[pool], return_index=True, return_inverse=True)[1:]
        study_patient = row_patient[np.unique(codes(cohort.study[pool])[0], return_index=True)[1]]
        counts = np.bincount(study_patient, minlength=len(one))
        self.studies = _table(
            row_unit[one], np.unique(counts, return_inverse=True)[1], len(self._names)
        )
        self.patients = self.studies.sum(axis=1)
        label = cohort.label[pool]
        self.labels = _table(row_unit[label >= 0], label[label >= 0], len(self._names))

    def draw(
        self,
        size: Ints,
        share: float,
        generator: np.random.Generator,
        *,
        name: str,
        available: Flags | None = None,
    ) -> Draw:
        """A share of the total size, drawn as whole units; see `resembling_draw`."""
        if (len(size) if available is None else available.sum()) < 2:
            raise PartitionError(
                Fault(
                    f"nobody can be drawn for the {name} set",
                    why="fewer than two unlinked patients are left to draw from",
                    do="Use a larger cohort or smaller shares; holdout and validation may be 0.",
                )
            )
        return resembling_draw(
            size,
            self.studies,
            self.labels,
            target=share * int(size.sum()),
            generator=generator,
            available=available,
        )

    def rows(self, draw: Draw) -> Flags:
        """Per row of the cohort, whether its unit was drawn."""
        return self._pool & np.isin(self._unit, self._names[draw.units])


def _table(row: Ints, column: Ints, rows: int) -> Ints:
    """How often each pair of row and column occurs; at least one column."""
    table = np.zeros((rows, int(column.max(initial=0)) + 1), np.int64)
    np.add.at(table, (row, column), 1)
    return table
