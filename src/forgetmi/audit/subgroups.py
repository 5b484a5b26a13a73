"""Is anyone forgotten worse? The per-patient score by sex, age band, view, site, label and study count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from forgetmi.core.arrays import Floats, Ints, Strings
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.membership import membership_auc
from forgetmi.evaluation.statistics import draws, interval, join, resample_patients

TOO_FEW = "too few to say"
STUDIES = ((1, "1"), (2, "2"), (4, "3-4"), (9, "5-9"), (10**9, "10 or more"))


@dataclass(frozen=True)
class SubgroupRow:
    """One value of one column.

    Args:
        column, value: E.g. "sex", "F"; "" = unknown.
        forgotten, never_seen: Patients.
        auc: Of forgotten against never-seen patients of this subgroup by their score; None = too few.
        interval: 95 % over patients; None = too few, or said in `note`.
        note: "too few to say", or why there is no interval.
    """

    column: str
    value: str
    forgotten: int
    never_seen: int
    auc: float | None
    interval: tuple[float, float] | None
    note: str = ""


def patient_values(values: Strings, patient: Ints) -> Strings:
    """A patient's most frequent value of a column, of equally frequent ones the alphabetically first.

    Args:
        values: n strings, "" = unknown; counted only where nothing else is known.
        patient: Int[n] codes.

    Returns:
        In ascending order of the patient codes.
    """
    # Each image's patient and value, as numbers
    code, owner = np.unique(patient, return_inverse=True)
    names, name = np.unique(np.asarray(values, dtype=str), return_inverse=True)

    # One vote an image; all unknown ones together weigh less than one known value
    weight = np.where(names == "", 0.5 / len(values), 1.0)
    votes = np.zeros((len(code), len(names)))
    np.add.at(votes, (owner, name), weight[name])

    return names[votes.argmax(1)]


def study_bands(studies: Ints) -> Strings:
    """Study counts in words: 1, 2, 3-4, 5-9, 10 or more."""
    # The first band whose largest count is not below
    largest = [most for most, _ in STUDIES]
    bands = np.array([band for _, band in STUDIES])
    return bands[np.searchsorted(largest, studies)]


def subgroup_table(
    *,
    forgotten: Floats,
    never_seen: Floats,
    columns: Mapping[str, tuple[Strings, Strings]],
    seed: int,
    least: int = 10,
    resamples: int = 1000,
) -> tuple[SubgroupRow, ...]:
    """AUC of the per-patient score within each subgroup.

    Intervals are not corrected for the number of subgroups: a single one that excludes 0.5 is expected by chance in
    every twenty.

    Args:
        forgotten, never_seen: Float[f], Float[m], scores of `forgetmi.evaluation.patients.score_patients`.
        columns: Name to the values of the forgotten and of the never-seen patients.
        seed: Root seed of the resamples.
        least: Patients a side below which nothing is said, >= 2.
        resamples: Bootstrap resamples.
    """
    rows = []
    for column, (forgotten_values, never_values) in columns.items():
        for value in np.unique(np.concatenate([forgotten_values, never_values])):
            # Scores of the patients with this value
            inside = forgotten[forgotten_values == value]
            outside = never_seen[never_values == value]

            if min(len(inside), len(outside)) < least:
                auc, bounds, note = None, None, TOO_FEW
            else:
                auc, bounds, note = _auc_of_subgroup(
                    inside, outside, name=(column, str(value)), seed=seed, resamples=resamples
                )

            rows.append(
                SubgroupRow(column, str(value), len(inside), len(outside), auc, bounds, note)
            )

    return tuple(rows)


def _auc_of_subgroup(
    inside: Floats, outside: Floats, *, name: tuple[str, str], seed: int, resamples: int
) -> tuple[float, tuple[float, float] | None, str]:
    """AUC of forgotten against never-seen patients, its interval, and why there is none."""
    # Each side is resampled by itself
    samples = []
    for side, scores in enumerate((inside, outside)):
        samples.append(
            resample_patients(
                np.arange(len(scores)),
                resamples=resamples,
                generator=numpy_generator(seed, "subgroups", *name, side),
            )
        )

    values = draws(join(*samples), partial(membership_auc, inside, outside))
    bounds, note = interval(values, patients=min(len(inside), len(outside)))
    return float(values[0]), bounds, note
