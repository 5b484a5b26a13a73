"""The sets of patients that are measured, and which of their images each head is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forgetmi.core.arrays import Ints
from forgetmi.core.labels import known
from forgetmi.core.partition import Partition, SetName
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import Head, has_inputs, heads_of, is_together
from forgetmi.evaluation.statistics import PatientSample, resample_patients

# Name in the scores: the set it stands for
MEASURED: dict[str, SetName] = {
    "forget": "forget",
    "test": "holdout",
    "retain": "retain",
}


@dataclass(frozen=True, eq=False)
class Measured:
    """The images of a set that a head is measured on: labelled, and with what the head reads.

    Args:
        rows: Int[m].
        images: Their patients, resampled.
    """

    rows: Ints
    images: PatientSample


@dataclass(frozen=True, eq=False)
class MeasuredSet:
    """One set of patients that is measured.

    Args:
        rows: Int[n], all images.
        all_images: Their patients, resampled.
        labelled: Those with a label.
        of_head: Those that each head is measured on.
    """

    rows: Ints
    all_images: PatientSample
    labelled: Measured
    of_head: Mapping[str, Measured]


def measured_sets(
    signals: Signals, partition: Partition, *, seed: int, resamples: int
) -> dict[str, MeasuredSet]:
    """The sets to measure with their resampled patients, the same for every model."""
    sets = {}
    for name, source in MEASURED.items():
        rows = partition.rows(source)

        # Retained patients are not resampled.
        images = resample_patients(
            partition.patient[rows],
            resamples=0 if name == "retain" else resamples,
            generator=numpy_generator(seed, "evaluate", "bootstrap", name),
        )

        # A head is measured on the labelled images that have what it reads.
        of_set = signals.select(rows)
        has_label = known(of_set.label)
        of_head = {}
        for head in heads_of(signals):
            usable = has_label & has_inputs(of_set, head)
            of_head[head] = Measured(rows[usable], images.take(usable))

        labelled = Measured(rows[has_label], images.take(has_label))
        sets[name] = MeasuredSet(rows, images, labelled, of_head)
    return sets


def compared_images(sets: Mapping[str, MeasuredSet], head: Head) -> tuple[PatientSample, ...]:
    """The forgotten and never-seen images that a head's gap rests on; all labelled ones of what is no head."""
    samples = []
    for name in ("forget", "test"):
        measured = sets[name].of_head.get(head, sets[name].labelled)
        samples.append(measured.images)
    return tuple(samples)


def left_out(signals: Signals, sets: Mapping[str, MeasuredSet]) -> tuple[str, ...]:
    """How many labelled images each head's scores leave out, because they lack what it reads."""
    notes = []
    for head in heads_of(signals):
        counts = []
        for name, measured in sets.items():
            labelled = len(measured.labelled.rows)
            missing = labelled - len(measured.of_head[head].rows)
            if missing:
                counts.append(f"{missing} of {labelled} on {name}")

        if counts:
            lacks = "what any head reads" if is_together(head) else f"the modality {head}"
            notes.append(
                f"Scores of the head {head} leave out labelled images that lack {lacks}: {', '.join(counts)}."
            )
    return tuple(notes)
