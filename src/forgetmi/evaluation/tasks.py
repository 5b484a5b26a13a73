"""The measuring halves of tasks, by name; those of classes, of two and of more, and of grades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats, Ints, Labels
from forgetmi.core.errors import Fault
from forgetmi.core.labels import known
from forgetmi.core.registry import task_measures
from forgetmi.core.task import TaskMeasures, of_name
from forgetmi.evaluation.distance import jensen_shannon, symmetric_kl
from forgetmi.evaluation.finding_measures import FindingMeasures
from forgetmi.evaluation.metrics import METRICS, prediction_metrics
from forgetmi.evaluation.pair_measures import PairMeasures
from forgetmi.evaluation.signals import cross_entropy, log_softmax, margin, mean_probability
from forgetmi.evaluation.statistics import Metric
from forgetmi.evaluation.task_faults import nothing_known, wrong_kind
from forgetmi.evaluation.value_measures import ValueMeasures


@dataclass(frozen=True)
class ClassMeasures:
    """One of k classes a sample; see `forgetmi.core.task.TaskMeasures` for what each function is.

    Examples:
        >>> ClassMeasures().scores()
        ('auc', 'f1', 'accuracy')
    """

    name: ClassVar[str] = "classes"
    one_class: ClassVar[bool] = True
    headline: ClassVar[tuple[str, str]] = ("auc", "f1")
    distance_note: ClassVar[str] = "nats, at most ln 2"

    def predictions(self, logits: Floats) -> Floats:
        """Log-probabilities of a softmax over the classes."""
        return log_softmax(logits)

    def together(self, single: Sequence[Floats]) -> Floats:
        """The logarithm of the mean probability."""
        return mean_probability(single)

    def signal(self, prediction: Floats, label: Labels) -> Floats:
        """Logit margin of the true class."""
        return margin(prediction, label)

    def loss(self, prediction: Floats, label: Labels) -> Floats:
        """Cross-entropy."""
        return cross_entropy(prediction, label)

    def distance(self, first: Floats, second: Floats) -> Floats:
        """Jensen-Shannon divergence."""
        return jensen_shannon(first, second)

    def divergence(self, first: Floats, second: Floats) -> Floats:
        """Of the predicted distributions."""
        return symmetric_kl(first, second)

    def correct(self, prediction: Floats, label: Labels) -> Floats | None:
        """1 where the most probable class is the true one."""
        return (prediction.argmax(1) == label).astype(np.float64)

    def scores(self) -> tuple[str, ...]:
        """Those that need no order."""
        return tuple(metric.name for metric in prediction_metrics(ordered=False))

    def single_scores(self, columns: int) -> tuple[str, ...]:
        """None."""
        return ()

    def score(self, name: str, prediction: Floats, label: Labels) -> Metric:
        """A metric of `forgetmi.evaluation.utility`."""
        function = METRICS[name].function
        assert function is not None
        return partial(function, np.exp(prediction), label)

    def note(self, name: str, columns: int, label: Labels, names: Sequence[str]) -> str:
        """How many classes are there, where some are missing."""
        classes, present = max(columns, 2), len(np.unique(label))
        if METRICS[name].over_classes and present < classes:
            return f"{present} of {classes} classes present"
        return ""

    def groups(self, label: Labels) -> Ints:
        """The classes themselves."""
        return label

    def group_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(names)

    def faults(self, label: Labels, columns: int, names: Sequence[str]) -> list[Fault]:
        """Labels are whole numbers, one for each class, -1 = unknown."""
        classes = max(columns, 2)
        whole = label.ndim == 1 and label.dtype.kind in "iu"
        if not whole or (len(label) and (label.min() < -1 or label.max() >= classes)):
            return [wrong_kind(self.name, f"classes 0 to {classes - 1}, -1 where unknown")]
        return []


@dataclass(frozen=True)
class GradeMeasures(ClassMeasures):
    """One of k grades a sample: classes that have an order, which further scores look at.

    Examples:
        >>> GradeMeasures().scores()[3:]
        ('pairwise_auc', 'ordinal_auc', 'severity_mse')
    """

    name: ClassVar[str] = "grades"

    def scores(self) -> tuple[str, ...]:
        """Those of classes, and those of an order."""
        return tuple(metric.name for metric in prediction_metrics(ordered=True))


@dataclass(frozen=True)
class BinaryMeasures(ClassMeasures):
    """One of two classes a sample: measured as classes are, from two logits or from the log-odds alone.

    The mean AUC over both classes is the AUC of the second one.

    Examples:
        >>> np.exp(BinaryMeasures().predictions(np.array([[0.0]])))
        array([[0.5, 0.5]])
    """

    name: ClassVar[str] = "binary"

    def predictions(self, logits: Floats) -> Floats:
        """Log-probabilities; a single column is the log-odds of the second class."""
        if logits.shape[1] == 1:
            logits = np.hstack([np.zeros_like(logits), logits])
        return log_softmax(logits)

    def faults(self, label: Labels, columns: int, names: Sequence[str]) -> list[Fault]:
        """Labels are 0 or 1, -1 = unknown; and both are there."""
        faults = super().faults(label, 2, names)
        there = np.unique(label[known(label)]) if not faults else ()
        if len(there) == 1:
            faults.append(nothing_known(self.name, "all known labels are the same"))
        return faults


_BY_NAME: dict[str, TaskMeasures] = {
    measures.name: measures
    for measures in (
        ClassMeasures(),
        GradeMeasures(),
        BinaryMeasures(),
        FindingMeasures(),
        ValueMeasures(),
        PairMeasures(),
    )
}


def measures_of(task: str) -> TaskMeasures:
    """How a cohort's task is measured, by its name.

    Raises:
        SpecError: There is no such task.
    """
    return of_name(task, _BY_NAME, task_measures)


def measures_of_labels(label: Labels) -> TaskMeasures:
    """How labels are measured whose task was not stored: losses and predictions depend on their kind alone.

    Examples:
        >>> measures_of_labels(np.array([0, 3, -1])).name, measures_of_labels(np.array([0.5])).name
        ('binary', 'value')
    """
    if label.ndim == 2:
        return _BY_NAME["findings"]
    return _BY_NAME["value" if label.dtype.kind == "f" else "binary"]
