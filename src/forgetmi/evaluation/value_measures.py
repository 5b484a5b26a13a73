"""The measuring half of the task value: one number a sample, NaN where unknown, which a single output predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats, Ints, Labels
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.labels import known
from forgetmi.evaluation.statistics import Metric, ratio, weighted_mean, weighted_spearman
from forgetmi.evaluation.task_faults import nothing_known, wrong_kind

BANDS = 5  # groups of values, with as many samples each


@dataclass(frozen=True)
class ValueMeasures:
    """One number a sample; see `forgetmi.core.task.TaskMeasures` for what each function is.

    Signal and loss are those of a normal distribution of variance 1. Dividing by another variance, the same for every
    model and sample, would change no rank, and hence no attack's AUC and no verdict.
    """

    name: ClassVar[str] = "value"
    one_class: ClassVar[bool] = False
    headline: ClassVar[tuple[str, str]] = ("r2", "rank_correlation")
    distance_note: ClassVar[str] = "absolute difference of the predictions, in the value's units"

    def predictions(self, logits: Floats) -> Floats:
        """The only output."""
        if logits.shape[1] != 1:
            raise EvaluationError(
                Fault(
                    f"a value is one number, the model predicts {logits.shape[1]}",
                    do="Give a model with one output a head.",
                )
            )
        return logits[:, 0]

    def together(self, single: Sequence[Floats]) -> Floats:
        """The mean."""
        return np.mean(single, axis=0)

    def signal(self, prediction: Floats, label: Labels) -> Floats:
        """Minus the squared error."""
        return -np.square(prediction - label)

    def loss(self, prediction: Floats, label: Labels) -> Floats:
        """Half the squared error."""
        return np.square(prediction - label) / 2

    def distance(self, first: Floats, second: Floats) -> Floats:
        """Absolute difference."""
        return np.abs(first - second)

    def divergence(self, first: Floats, second: Floats) -> Floats:
        """Of two normal distributions of variance 1: the squared difference."""
        return np.square(first - second)

    def correct(self, prediction: Floats, label: Labels) -> Floats | None:
        """None: a number is near or far."""
        return None

    def scores(self) -> tuple[str, ...]:
        """Explained variance, rank correlation, and mean absolute error."""
        return ("r2", "rank_correlation", "mae")

    def single_scores(self, columns: int) -> tuple[str, ...]:
        """None."""
        return ()

    def score(self, name: str, prediction: Floats, label: Labels) -> Metric:
        """One of `scores`."""
        label = np.asarray(label, np.float64)
        if name == "r2":
            return partial(_explained, prediction, label)
        if name == "rank_correlation":
            return partial(weighted_spearman, prediction, label)
        return partial(weighted_mean, np.abs(prediction - label))

    def note(self, name: str, columns: int, label: Labels, names: Sequence[str]) -> str:
        """The unit of the error."""
        return "in the value's units" if name == "mae" else ""

    def groups(self, label: Labels) -> Ints:
        """Fifths of the known values."""
        is_known = known(label)
        if not is_known.any():
            return np.full(len(label), -1)
        edges = np.quantile(label[is_known], np.arange(1, BANDS) / BANDS)
        return np.where(is_known, np.searchsorted(edges, label, side="right"), -1)

    def group_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """From the lowest to the highest."""
        return ("lowest fifth", "second fifth", "third fifth", "fourth fifth", "highest fifth")

    def faults(self, label: Labels, columns: int, names: Sequence[str]) -> list[Fault]:
        """Labels are numbers, NaN = unknown; and some differ."""
        if label.ndim != 1 or label.dtype.kind != "f" or np.isinf(label).any():
            return [wrong_kind(self.name, "one finite number a row, NaN where unknown")]
        if columns != 1:
            return [wrong_kind(self.name, f"predicted by one output, not {columns}")]

        values = np.unique(label[known(label)])
        if not len(values):
            return [nothing_known(self.name, "no value is known")]
        if len(values) == 1:
            return [nothing_known(self.name, "all known values are the same")]
        return []


def _explained(prediction: Floats, label: Floats, weights: Floats) -> Floats:
    """1 - squared error over the variance of the values; NaN where the values do not vary."""
    error = weighted_mean(np.square(prediction - label), weights)
    mean = weighted_mean(label, weights)
    variance = weighted_mean(np.square(label), weights) - np.square(mean)
    return 1 - ratio(error, np.where(variance > 1e-12 * (1 + np.square(mean)), variance, 0.0))
