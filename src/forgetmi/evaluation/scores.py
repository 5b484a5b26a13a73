"""From a metric under every resample to a score with its interval, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError
from forgetmi.core.scores import Failed, Score
from forgetmi.evaluation.statistics import Metric, PatientSample, draws, interval, join

Better = Literal["higher", "lower", "closer"]
Key = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Measure:
    """A metric on the data and on every resample, before it is compared with the retrained models.

    Args:
        name, head, on, better, note: As in `forgetmi.core.scores.Score`.
        patients, images: How many are in the set measured.
        values: Float[1 + b]; element 0 is the value itself, finite.
        smallest: Patients in the smallest set it rests on.
    """

    name: str
    head: str
    on: str
    better: Better
    values: Floats
    patients: int
    images: int
    smallest: int
    note: str = ""

    def score(self, reference: float | None) -> Score:
        """The value with its interval, beside the mean over the retrained models."""
        bounds, why = interval(self.values, patients=self.smallest)
        return Score(
            name=self.name,
            value=float(self.values[0]),
            interval=bounds,
            patients=self.patients,
            images=self.images,
            better=self.better,
            reference=reference,
            head=self.head,
            on=self.on,
            note="; ".join(text for text in (self.note, why) if text),
        )


def derive(
    name: str,
    values: Callable[[], Floats],
    *samples: PatientSample,
    better: Better,
    head: str = "",
    on: str = "",
    note: str = "",
) -> Measure | Failed:
    """Keep what a computation returns; what it raises becomes the reason of a `Failed`.

    Args:
        name, better, head, on, note: As in `forgetmi.core.scores.Score`.
        values: Makes Float[1 + b], as `forgetmi.evaluation.statistics.draws` does.
        samples: The set measured and, for a comparison, the set it is compared with.
    """
    try:
        found = values()
    except EvaluationError as error:
        return Failed(name, str(error), head, on)
    if not np.isfinite(found[0]):
        return Failed(name, "undefined on these images", head, on)
    return Measure(
        name,
        head,
        on,
        better,
        found,
        samples[0].patients,
        len(samples[0]),
        min(sample.patients for sample in samples),
        note,
    )


def measure(
    name: str,
    metric: Callable[[], Metric],
    *samples: PatientSample,
    better: Better,
    head: str = "",
    on: str = "",
    note: str = "",
) -> Measure | Failed:
    """Apply a metric to the data and every resample; see `derive`.

    Args:
        metric: Makes the metric; called once, so that what does not depend on the weights is computed once. The metric
            gets the weights of all samples, one after the other.
    """
    return derive(
        name,
        lambda: draws(reduce(join, samples), metric()),
        *samples,
        better=better,
        head=head,
        on=on,
        note=note,
    )


def key_of(measured: Measure | Failed) -> Key:
    """Name, head and set: the same for every model."""
    return measured.name, measured.head, measured.on
