"""Bootstrap over patients, for all resamples at once.

Images of one patient resemble each other, so an interval that resamples images is too narrow; here whole patients are
drawn with replacement (a cluster bootstrap), each set on its own (stratified). A resample is a row of weights: how
often each image's patient was drawn. Every metric takes such weights, Float[b, n], and returns Float[b], NaN where it
is undefined in a resample; NaN never leaves this room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault

Metric = Callable[[Floats], Floats]

LEVEL = 0.95
UNDEFINED_ALLOWED = 0.05
_BLOCK = 2_000_000  # weights held at once


@dataclass(frozen=True, eq=False, repr=False)
class PatientSample:
    """The images of one set and how often each patient is drawn in each resample.

    Args:
        patient: Int[n], the patient 0..p-1 of each image.
        multiplicity: Float[1 + b, p]; the first row is all ones (the data as they are), the others are resamples.
    """

    patient: Ints
    multiplicity: Floats

    def __len__(self) -> int:
        return len(self.patient)

    @property
    def patients(self) -> int:
        """How many patients the images belong to."""
        return len(np.unique(self.patient))

    def take(self, at: np.ndarray) -> PatientSample:
        """The same resamples for some of the images (indices or a mask)."""
        return replace(self, patient=self.patient[at])

    def without_resamples(self) -> PatientSample:
        """The data as they are, for numbers that need no interval."""
        return replace(self, multiplicity=self.multiplicity[:1])


def resample_patients(
    patient: Ints, *, resamples: int, generator: np.random.Generator
) -> PatientSample:
    """Draw the patients of a set with replacement.

    Args:
        patient: Int[n], any code of each image's patient. Resamples follow the order of the codes, so codes must not
            depend on the identifier key (`forgetmi.core.arrays.codes`).
        resamples: How many resamples, >= 0.
        generator: From `forgetmi.core.seeding`.
    """
    distinct, local = np.unique(patient, return_inverse=True)
    count = len(distinct)
    multiplicity = np.ones((1 + resamples, count))
    if count:
        multiplicity[1:] = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return PatientSample(local.astype(np.int64), multiplicity)


def join(one: PatientSample, two: PatientSample) -> PatientSample:
    """The images of two sets, one after the other, each with its own resampled patients."""
    return PatientSample(
        np.concatenate([one.patient, two.patient + one.multiplicity.shape[1]]),
        np.concatenate([one.multiplicity, two.multiplicity], axis=1),
    )


def draws(sample: PatientSample, metric: Metric) -> Floats:
    """A metric on the data (element 0) and on every resample.

    Args:
        sample: The images the metric's weights refer to.
        metric: Maps weights Float[b, n] to Float[b].

    Returns:
        Float[1 + b], NaN where the metric is undefined.
    """
    if not len(sample):
        raise EvaluationError(Fault("there are no images to measure on"))
    step = max(1, _BLOCK // len(sample))
    blocks = range(0, len(sample.multiplicity), step)
    return np.concatenate(
        [metric(sample.multiplicity[at : at + step][:, sample.patient]) for at in blocks]
    )


def interval(values: Floats, *, patients: int) -> tuple[tuple[float, float] | None, str]:
    """The 95 % percentile interval of what `draws` returned.

    Args:
        values: Float[1 + b]; element 0 is not part of the interval.
        patients: The smallest number of patients on any side; one patient cannot be resampled.

    Returns:
        The interval, or None with the reason: no resamples, a single patient, or more than 5 % undefined resamples.
    """
    resampled = values[1:]
    if not len(resampled):
        return None, "no interval: not resampled"
    if patients < 2:
        return None, "no interval: a single patient cannot be resampled"
    defined = resampled[~np.isnan(resampled)]
    missing = 1 - len(defined) / len(resampled)
    if missing > UNDEFINED_ALLOWED:
        return None, f"no interval: undefined in {missing:.0%} of the resamples"
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return (float(low), float(high)), ""


def once(count: int) -> Floats:
    """The weights of the data as they are: Float[1, n] of ones."""
    return np.ones((1, count))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element-wise quotient, NaN where the denominator is 0."""
    return np.divide(
        numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0
    )


def mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is defined."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1).astype(np.float64))


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Mean of n values under weights Float[b, n]."""
    return ratio(weights @ values, weights.sum(1))


def _tie_groups(values: Floats) -> tuple[Ints, Ints, Ints]:
    """Ascending order, and for each place in it where its group of equal values starts and ends (exclusive)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return (
        order,
        np.searchsorted(ordered, ordered, "left"),
        np.searchsorted(ordered, ordered, "right"),
    )


def _cumulative(weights: Floats) -> Floats:
    total = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=total[:, 1:])
    return total


def weighted_auc(score: Floats, positive: np.ndarray, weights: Floats) -> Floats:
    """Probability that a positive scores above a negative, ties counted as half.

    Args:
        score: Float[n].
        positive: Bool[n].
        weights: Float[b, n].

    Returns:
        Float[b]; NaN where one side has no weight.
    """
    order, start, end = _tie_groups(score)
    place = np.flatnonzero(positive[order])
    below = _cumulative(weights[:, order] * ~positive[order])
    wins = (weights[:, order[place]] * (below[:, start[place]] + below[:, end[place]])).sum(1) / 2
    return ratio(wins, weights[:, positive].sum(1) * below[:, -1])


def _weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """Mid-ranks the values would have if each were repeated `weight` times: Float[b, n]."""
    order, start, end = _tie_groups(values)
    total = _cumulative(weights[:, order])
    ranks = np.empty_like(weights)
    ranks[:, order] = (total[:, start] + total[:, end] + 1) / 2
    return ranks


def weighted_spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Spearman's rank correlation of n pairs under weights Float[b, n]; NaN where one side is constant."""
    size = weights.sum(1, keepdims=True)
    centre = (size + 1) / 2  # the mean rank
    a, b = _weighted_ranks(x, weights) - centre, _weighted_ranks(y, weights) - centre
    spread = (weights * a**2).sum(1) * (weights * b**2).sum(1)
    return ratio((weights * a * b).sum(1), np.sqrt(spread))
