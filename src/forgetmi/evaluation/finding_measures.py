"""The measuring half of the task findings: several labels a sample, each absent, there, or unknown (NaN)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats, Ints, Labels
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.labels import known
from forgetmi.evaluation.distance import jensen_shannon
from forgetmi.evaluation.statistics import (
    Metric,
    mean_defined,
    ratio,
    weighted_auc,
)
from forgetmi.evaluation.task_faults import nothing_known, wrong_kind

SINGLE = "auc_finding_"
_SINGLE = re.compile(f"{SINGLE}([1-9][0-9]*)")
MOST_COUNTED = 3  # findings of a sample from which on its group is the same


def finding_number(name: str) -> int | None:
    """Which finding a score is of, from 0; None = it is of all.

    Examples:
        >>> finding_number("auc_finding_2"), finding_number("auc")
        (1, None)
    """
    found = _SINGLE.fullmatch(name)
    return int(found.group(1)) - 1 if found else None


def margins(log_odds: Floats, label: Labels) -> Floats:
    """Logit margin of each finding, log p(label) - log(1 - p(label)); NaN where it is unknown.

    Args:
        log_odds, label: Float[n, f].

    Examples:
        >>> margins(np.array([[2.0, 2.0, 2.0]]), np.array([[1.0, 0.0, np.nan]]))
        array([[ 2., -2., nan]])
    """
    return (2 * np.asarray(label, np.float64) - 1) * log_odds


@dataclass(frozen=True)
class FindingMeasures:
    """Several findings a sample; see `forgetmi.core.task.TaskMeasures` for what each function is.

    Signal and loss of a sample are means over its known findings, so that a sample of which more is known does not
    count for more. One finding by itself is `forgetmi.evaluation.attacks.worst_finding`.
    """

    name: ClassVar[str] = "findings"
    one_class: ClassVar[bool] = False
    headline: ClassVar[tuple[str, str]] = ("auc", "f1")
    distance_note: ClassVar[str] = "mean over the findings, nats, at most ln 2"

    def predictions(self, logits: Floats) -> Floats:
        """The log-odds of each finding."""
        return logits

    def together(self, single: Sequence[Floats]) -> Floats:
        """The log-odds of the mean probability, exact where probabilities round to 0 or 1."""
        log_there = [-np.logaddexp(0.0, -log_odds) for log_odds in single]
        log_absent = [-np.logaddexp(0.0, log_odds) for log_odds in single]
        return reduce(np.logaddexp, log_there) - reduce(np.logaddexp, log_absent)

    def signal(self, prediction: Floats, label: Labels) -> Floats:
        """Mean logit margin over the known findings."""
        return mean_defined(margins(prediction, label))

    def loss(self, prediction: Floats, label: Labels) -> Floats:
        """Mean binary cross-entropy over the known findings."""
        margin = margins(prediction, label)
        unknown = np.isnan(margin)
        losses = np.logaddexp(0.0, -np.where(unknown, 0.0, margin))
        return mean_defined(np.where(unknown, np.nan, losses))

    def distance(self, first: Floats, second: Floats) -> Floats:
        """Mean Jensen-Shannon divergence of the findings' distributions, known or not."""
        each = jensen_shannon(_outcomes(first), _outcomes(second))
        return each.reshape(first.shape).mean(1)

    def divergence(self, first: Floats, second: Floats) -> Floats:
        """Mean over the findings of the symmetric divergence, (p - q)(logit p - logit q)."""
        difference = _probability(first) - _probability(second)
        return (difference * (first - second)).mean(1)

    def correct(self, prediction: Floats, label: Labels) -> Floats | None:
        """Share of the known findings on whose side of 1/2 the probability is."""
        right = ((prediction > 0) == (label > 0.5)).astype(np.float64)
        return mean_defined(np.where(np.isnan(label), np.nan, right))

    def scores(self) -> tuple[str, ...]:
        """Means over the findings."""
        return ("auc", "f1", "accuracy")

    def single_scores(self, columns: int) -> tuple[str, ...]:
        """The AUC of each finding, numbered from 1."""
        return tuple(f"{SINGLE}{number + 1}" for number in range(columns))

    def score(self, name: str, prediction: Floats, label: Labels) -> Metric:
        """A mean over the findings, or one finding's AUC."""
        number = finding_number(name)
        if number is not None:
            return _single_auc(prediction, label, number)
        functions = {"auc": _mean_auc, "f1": _mean_f1, "accuracy": _accuracy}
        if name == "auc" and not len(both_sides(label)):
            raise EvaluationError(
                Fault("no finding is both there and absent among the labelled samples")
            )
        return partial(functions[name], prediction, np.asarray(label, np.float64))

    def note(self, name: str, columns: int, label: Labels, names: Sequence[str]) -> str:
        """A single finding's name; of the mean AUC, the findings that are left out of it."""
        number = finding_number(name)
        if number is not None:
            return _name(number, names)
        if name != "auc":
            return ""

        # Findings that nobody has, or nobody lacks
        missing = np.setdiff1d(np.arange(columns), both_sides(label))
        if not len(missing):
            return f"mean over {columns} findings"
        listed = ", ".join(_name(number, names) for number in missing.tolist())
        return (
            f"mean over {columns - len(missing)} of {columns} findings; left out, because not both there and "
            f"absent: {listed}"
        )

    def groups(self, label: Labels) -> Ints:
        """How many findings are there, of 0, 1, 2, and 3 or more; those unknown count as absent."""
        counted = np.minimum((label == 1).sum(1), MOST_COUNTED)
        return np.where(known(label), counted, -1)

    def group_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """By the number of findings."""
        return ("no finding", "1 finding", "2 findings", "3 or more findings")

    def faults(self, label: Labels, columns: int, names: Sequence[str]) -> list[Fault]:
        """Labels are 0, 1 or NaN, one column each; and some finding varies."""
        if label.ndim != 2 or label.dtype.kind != "f":
            return [wrong_kind(self.name, "one column for each finding")]
        cells = label[~np.isnan(label)]
        if not np.isin(cells, (0, 1)).all():
            return [wrong_kind(self.name, "0, 1, or NaN where unknown")]
        if label.shape[1] != columns:
            expected = f"as many columns as the model predicts, {columns}, not {label.shape[1]}"
            return [wrong_kind(self.name, expected)]

        # Something must be told apart
        if not known(label).any():
            return [nothing_known(self.name, "no finding of any sample is known")]
        if not len(both_sides(label)):
            return [nothing_known(self.name, "no finding is there for some and absent for others")]
        return []


def both_sides(label: Labels) -> Ints:
    """Numbers of the findings that are there in some samples and absent in others.

    Examples:
        >>> both_sides(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, np.nan]]))
        array([0])
    """
    return np.flatnonzero((label == 1).any(0) & (label == 0).any(0))


def _probability(log_odds: Floats) -> Floats:
    from scipy.special import expit

    return expit(log_odds)


def _outcomes(log_odds: Floats) -> Floats:
    """Float[n f, 2]: the log-probabilities of absent and there, finding by finding."""
    flat = log_odds.reshape(-1)
    return np.stack([-np.logaddexp(0.0, flat), -np.logaddexp(0.0, -flat)], axis=1)


def _name(number: int, names: Sequence[str]) -> str:
    return names[number] if number < len(names) else f"finding {number + 1}"


def _single_auc(prediction: Floats, label: Labels, number: int) -> Metric:
    """The AUC of one finding, over the samples in which it is known."""
    there = label[:, number] == 1
    samples = np.flatnonzero(there | (label[:, number] == 0))
    if there.all() or not there.any() or there[samples].all():
        raise EvaluationError(Fault("the finding is not both there and absent among these samples"))

    scores, positive = prediction[samples, number], there[samples]
    return lambda weights: weighted_auc(scores, positive, weights[:, samples])


def _mean_auc(prediction: Floats, label: Floats, weights: Floats) -> Floats:
    """Mean over the findings that are both there and absent; in a resample, over those that still are."""
    aucs = [_single_auc(prediction, label, number)(weights) for number in both_sides(label)]
    return mean_defined(np.stack(aucs, axis=1))


def _mean_f1(prediction: Floats, label: Floats, weights: Floats) -> Floats:
    """Mean F1 of "there" over the findings that are there, or predicted, in a known sample."""
    is_known = ~np.isnan(label)
    there, predicted = label == 1, (prediction > 0) & is_known
    right = weights @ (there & predicted).astype(np.float64)
    total = weights @ there.astype(np.float64) + weights @ predicted.astype(np.float64)
    return mean_defined(ratio(2 * right, total))


def _accuracy(prediction: Floats, label: Floats, weights: Floats) -> Floats:
    """Share of the known findings that are predicted right."""
    is_known = ~np.isnan(label)
    right = ((prediction > 0) == (label == 1)) & is_known
    return ratio(weights @ right.sum(1), weights @ is_known.sum(1))
