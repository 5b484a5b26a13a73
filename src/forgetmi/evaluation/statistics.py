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
from forgetmi.evaluation.multiplicity import Counts, multiplicity

Metric = Callable[[Floats], Floats]

LEVEL = 0.95  # of every interval
UNDEFINED_ALLOWED = 0.05  # share of resamples in which a metric may be undefined
_BLOCK = 2_000_000  # weights in memory at once


@dataclass(frozen=True, eq=False, repr=False)
class PatientSample:
    """The images of one set and how often each patient is drawn in each resample.

    Args:
        patient: Int[n], the patient 0..p-1 of each image.
        multiplicity: UInt[1 + b, p]; the first row is all ones (the data as they are), the others are resamples.
    """

    patient: Ints
    multiplicity: Counts

    def __len__(self) -> int:
        return len(self.patient)

    @property
    def patients(self) -> int:
        """How many patients the images belong to."""
        return len(np.unique(self.patient))

    def take(self, images: np.ndarray) -> PatientSample:
        """The same resamples for some of the images (indices or a mask)."""
        return replace(self, patient=self.patient[images])

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

    Examples:
        Each resample draws three patients, some of them several times.

        >>> generator = np.random.default_rng(0)
        >>> sample = resample_patients(np.array([4, 4, 5, 6]), resamples=2, generator=generator)
        >>> sample.multiplicity
        array([[1, 1, 1],
               [1, 1, 1],
               [0, 0, 3]], dtype=uint8)
    """
    distinct, local = np.unique(patient, return_inverse=True)
    counts = multiplicity(len(distinct), resamples, generator)
    return PatientSample(local.astype(np.int64), counts)


def join(first: PatientSample, second: PatientSample) -> PatientSample:
    """The images of two sets, one after the other, each with its own resampled patients.

    Examples:
        >>> generator = np.random.default_rng(0)
        >>> sample = resample_patients(np.array([4, 5]), resamples=0, generator=generator)
        >>> join(sample, sample).patient
        array([0, 1, 2, 3])
    """
    patients_before = first.multiplicity.shape[1]
    return PatientSample(
        np.concatenate([first.patient, second.patient + patients_before]),
        np.concatenate([first.multiplicity, second.multiplicity], axis=1),
    )


def draws(sample: PatientSample, metric: Metric) -> Floats:
    """A metric on the data (element 0) and on every resample.

    Args:
        sample: The images the metric's weights refer to.
        metric: Maps weights Float[b, n] to Float[b].

    Returns:
        Float[1 + b], NaN where the metric is undefined.

    Raises:
        EvaluationError: There are no images.

    Examples:
        >>> generator = np.random.default_rng(0)
        >>> sample = resample_patients(np.arange(4), resamples=2, generator=generator)
        >>> is_right = np.array([1.0, 1.0, 1.0, 0.0])
        >>> draws(sample, lambda weights: weighted_mean(is_right, weights))
        array([0.75, 0.25, 1.  ])
    """
    if not len(sample):
        raise EvaluationError(Fault("there are no images to measure on"))

    # Some resamples at a time, so that memory does not grow with their number
    step = max(1, _BLOCK // len(sample))
    values = []
    for start in range(0, len(sample.multiplicity), step):
        per_patient = sample.multiplicity[start : start + step]
        values.append(metric(per_patient[:, sample.patient].astype(np.float64)))
    return np.concatenate(values)


def interval(values: Floats, *, patients: int) -> tuple[tuple[float, float] | None, str]:
    """The 95 % percentile interval of what `draws` returned.

    Args:
        values: Float[1 + b]; element 0 is not part of the interval.
        patients: The smallest number of patients on any side; one patient cannot be resampled.

    Returns:
        The interval, or None with the reason: no resamples, a single patient, or more than 5 % undefined resamples.

    Examples:
        >>> interval(np.array([0.5, 0.4, 0.5, 0.6]), patients=10)
        ((0.405, 0.595), '')
        >>> interval(np.array([0.5]), patients=10)
        (None, 'no interval: not resampled')
    """
    resampled = values[1:]
    if not len(resampled):
        return None, "no interval: not resampled"
    if patients < 2:
        return None, "no interval: a single patient cannot be resampled"

    # A few undefined resamples are left out.
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
    """Element-wise quotient, NaN where the denominator is 0.

    Examples:
        >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
        array([0.5, nan])
    """
    undefined = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is defined.

    Examples:
        >>> mean_defined(np.array([[1.0, np.nan, 2.0], [np.nan, np.nan, np.nan]]))
        array([1.5, nan])
    """
    is_defined = ~np.isnan(values)
    total = np.where(is_defined, values, 0.0).sum(-1)
    return ratio(total, is_defined.sum(-1).astype(np.float64))


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Mean of n values under weights Float[b, n].

    Examples:
        >>> weighted_mean(np.array([0.0, 1.0]), np.array([[1.0, 1.0], [0.0, 2.0]]))
        array([0.5, 1. ])
    """
    return ratio(weights @ values, weights.sum(1))


def _tie_groups(values: Floats) -> tuple[Ints, Ints, Ints]:
    """Ascending order, and for each place in it where its group of equal values starts and ends (exclusive)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    start = np.searchsorted(ordered, ordered, "left")
    end = np.searchsorted(ordered, ordered, "right")
    return order, start, end


def _cumulative(weights: Floats) -> Floats:
    """Float[b, n + 1]: the sum of the first 0, 1 ... n weights."""
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

    Examples:
        >>> score = np.array([1.0, 2.0, 2.0, 3.0])
        >>> positive = np.array([False, False, True, True])
        >>> weighted_auc(score, positive, np.ones((1, 4)))
        array([0.875])
    """
    order, start, end = _tie_groups(score)

    # Weight of the negatives below each place, in ascending order of the score
    below = _cumulative(weights[:, order] * ~positive[order])

    # Negatives strictly below plus negatives below or tied, halved, for each positive
    place = np.flatnonzero(positive[order])
    beaten = below[:, start[place]] + below[:, end[place]]
    wins = (weights[:, order[place]] * beaten).sum(1) / 2
    return ratio(wins, weights[:, positive].sum(1) * below[:, -1])


def _weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """Mid-ranks the values would have if each were repeated `weight` times: Float[b, n]."""
    order, start, end = _tie_groups(values)
    total = _cumulative(weights[:, order])
    ranks = np.empty_like(weights)
    ranks[:, order] = (total[:, start] + total[:, end] + 1) / 2
    return ranks


def weighted_spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Spearman's rank correlation of n pairs under weights Float[b, n]; NaN where one side is constant.

    Examples:
        >>> weighted_spearman(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0]), np.ones((1, 3)))
        array([1.])
    """
    # Ranks about their mean
    size = weights.sum(1, keepdims=True)
    mean_rank = (size + 1) / 2
    x_rank = _weighted_ranks(x, weights) - mean_rank
    y_rank = _weighted_ranks(y, weights) - mean_rank

    spread = (weights * x_rank**2).sum(1) * (weights * y_rank**2).sum(1)
    return ratio((weights * x_rank * y_rank).sum(1), np.sqrt(spread))
