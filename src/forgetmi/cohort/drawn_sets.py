"""The sets of a partition that are drawn: holdout, validation and a forget set of a given percentage."""

from __future__ import annotations

import numpy as np

from forgetmi.cohort.sampling import KS_TOLERANCE, LABEL_TOLERANCE, Flags, PatientSample
from forgetmi.cohort.units import Units, units_of
from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, PartitionError
from forgetmi.core.seeding import numpy_generator

MANY = 30  # from this many forgotten patients on, the draw must be within the tolerances


def draw_sides(
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
    """Keep the sets that the cohort gives, and draw holdout and validation patients where it gives none.

    Args:
        cohort: The cohort of n rows.
        patient, unit: Int64[n], patient codes, and the units that patients are drawn in.
        pinned: Units that stay on the training side: those of the patients who are to be forgotten.
        holdout, validation: Shares of the patients to draw from; 0 = none.
        source: The side that validation patients are taken from, "train" or "holdout".
        seed: Root seed of the draws.

    Returns:
        Per row, the set it is in, with "train" for forget and retain; and how each set came about, in words.
    """
    side = np.where(cohort.split == "", "train", cohort.split).astype(object)
    notes = []

    for name, share, taken_from in (
        ("holdout", holdout, "train"),
        ("validation", validation, source),
    ):
        if np.any(cohort.split == name):
            notes.append(f"{name}: as given by the cohort")
            continue
        if share == 0:
            notes.append(f"{name}: none, as asked")
            continue

        # Who may be drawn: nobody who is to be forgotten; for the holdout, nobody marked for training
        pool = (side == taken_from) & ~np.isin(unit, pinned)
        if name == "holdout":
            pool &= cohort.split == ""

        # Whole units, with a random stream of the set's own
        units = units_of(cohort, patient, unit, pool)
        generator = numpy_generator(seed, "partition", name)
        sample = units.draw(units.patients, share, generator, name=name)
        side[units.rows(sample)] = name

        notes.append(f"{name}: {sample.total} of {units.patients.sum()} patients; {sample}")
        if taken_from == "holdout":
            notes.append(
                "The validation patients were taken out of the holdout, because the model was trained on "
                "everybody else; the results rest on the other holdout patients alone."
            )

    return side, notes


def draw_forget_set(
    cohort: Cohort,
    patient: Ints,
    training: Flags,
    *,
    percent: float,
    seed: int,
    draw: int,
) -> tuple[Flags, str]:
    """Draw a forget set by percent of the training images.

    Args:
        cohort, patient: The cohort of n rows and its patient codes.
        training: Bool[n], the training side.
        percent: Percent of the training side's images.
        seed: Root seed of the draws.
        draw: Which of several disjoint forget sets, from 0; the ones before it are drawn first.

    Returns:
        Bool[n], the forget rows; and how they came about, in words.

    Raises:
        PartitionError: Too few patients are left, or 30 or more drawn patients do not resemble the training side.
    """
    units = units_of(cohort, patient, patient, training)

    # Patients of earlier draws are not available to later ones
    available = np.ones(len(units.images), dtype=bool)
    for number in range(draw):
        earlier = _draw_number(units, number, percent=percent, seed=seed, available=available)
        available &= ~earlier.units
    sample = _draw_number(units, draw, percent=percent, seed=seed, available=available)

    # A small set cannot resemble everybody; a large one must
    patients = int(sample.units.sum())
    if patients >= MANY and sample.misfit > 1:
        raise PartitionError(
            Fault(
                f"no forget set of {percent:g} % resembles the patients it is drawn from",
                why=f"{sample}; at most {KS_TOLERANCE} and {100 * LABEL_TOLERANCE:g} points are accepted",
                do="Choose another percentage or seed, or give the patients as a list.",
            )
        )

    images = int(units.images.sum())
    note = (
        f"forget: {patients} patients, {sample.total} of {images} training images = "
        f"{100 * sample.total / images:.2f} % "
        f"({percent:g} % asked; whole patients come no closer); {sample}"
    )
    return units.rows(sample), note


def _draw_number(
    units: Units, number: int, *, percent: float, seed: int, available: Flags
) -> PatientSample:
    """The forget set of one draw, each with a random stream of its own."""
    generator = numpy_generator(seed, "partition", "forget", number)
    return units.draw(units.images, percent / 100, generator, name="forget", available=available)
