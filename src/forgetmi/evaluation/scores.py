"""From a metric under every resample to a score with its interval, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError
from forgetmi.core.scores import Failed, Score
from forgetmi.evaluation.metrics import Better, direction
from forgetmi.evaluation.statistics import Metric, PatientSample, draws, interval, join

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
        """The value with its interval, and the mean over the retrained models."""
        # Where there is no interval, the note has the reason
        bounds, why = interval(self.values, patients=self.smallest)
        notes = [text for text in (self.note, why) if text]
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
            note="; ".join(notes),
        )


def derive(
    name: str,
    values: Callable[[], Floats],
    *samples: PatientSample,
    head: str = "",
    on: str = "",
    note: str = "",
) -> Measure | Failed:
    """What a computation returns, as a measure; what it raises becomes the reason of a `Failed`.

    Args:
        name: One of `forgetmi.evaluation.metrics.METRICS`, which has its direction.
        values: Makes Float[1 + b], as `forgetmi.evaluation.statistics.draws` does.
        samples: The set measured and, for a comparison, the set it is compared with.
        head, on, note: As in `forgetmi.core.scores.Score`.
    """
    # What cannot be computed becomes a reason
    try:
        computed = values()
    except EvaluationError as error:
        return Failed(name, str(error), head, on)

    if not np.isfinite(computed[0]):
        return Failed(name, "undefined on these images", head, on)

    # The first sample is the set measured, others are what it is compared with
    measured = samples[0]
    return Measure(
        name=name,
        head=head,
        on=on,
        better=direction(name, on),
        values=computed,
        patients=measured.patients,
        images=len(measured),
        smallest=min(sample.patients for sample in samples),
        note=note,
    )


def measure(
    name: str,
    metric: Callable[[], Metric],
    *samples: PatientSample,
    head: str = "",
    on: str = "",
    note: str = "",
) -> Measure | Failed:
    """Apply a metric to the data and every resample; see `derive`.

    Args:
        name, samples, head, on, note: As in `derive`.
        metric: Makes the metric; called once, so that what does not depend on the weights is computed once. The metric
            gets the weights of all samples, one after the other.

    Examples:
        >>> from forgetmi.evaluation.statistics import resample_patients, weighted_mean
        >>> sample = resample_patients(np.arange(4), resamples=0, generator=np.random.default_rng(0))
        >>> is_right = np.array([1.0, 1.0, 1.0, 0.0])
        >>> measured = measure("accuracy", lambda: lambda w: weighted_mean(is_right, w), sample)
        >>> measured.score(reference=0.5).value, measured.better
        (0.75, 'higher')
    """

    def values() -> Floats:
        # The metric gets the weights of all samples at once
        return draws(reduce(join, samples), metric())

    return derive(name, values, *samples, head=head, on=on, note=note)


def key_of(measured: Measure | Failed) -> Key:
    """Name, head and set: the same for every model."""
    return measured.name, measured.head, measured.on
