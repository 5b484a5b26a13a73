"""The measuring halves of today's tasks: classes, one label a sample, and grades, classes that have an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.task import TaskMeasures, of_name
from forgetmi.evaluation.distance import jensen_shannon
from forgetmi.evaluation.metrics import prediction_metrics
from forgetmi.evaluation.signals import cross_entropy, log_softmax, margin


@dataclass(frozen=True)
class ClassMeasures:
    """One of k classes a sample; see `forgetmi.core.task.TaskMeasures` for what each function is.

    Examples:
        >>> ClassMeasures().scores()
        ('auc', 'f1', 'accuracy')
    """

    name: ClassVar[str] = "classes"

    def log_probabilities(self, logits: Floats) -> Floats:
        """Of a softmax over the classes."""
        return log_softmax(logits)

    def signal(self, log_probability: Floats, label: Ints) -> Floats:
        """Logit margin of the true class."""
        return margin(log_probability, label)

    def loss(self, log_probability: Floats, label: Ints) -> Floats:
        """Cross-entropy."""
        return cross_entropy(log_probability, label)

    def distance(self, log_p: Floats, log_q: Floats) -> Floats:
        """Jensen-Shannon divergence."""
        return jensen_shannon(log_p, log_q)

    def scores(self) -> tuple[str, ...]:
        """Those that need no order."""
        return tuple(metric.name for metric in prediction_metrics(ordered=False))

    def groups(self, label: Ints) -> Ints:
        """The classes themselves."""
        return label


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


_BY_NAME: dict[str, TaskMeasures] = {
    measures.name: measures for measures in (ClassMeasures(), GradeMeasures())
}


def measures_of(task: str) -> TaskMeasures:
    """How a cohort's task is measured, by its name.

    Raises:
        SpecError: There is no such task.
    """
    return of_name(task, _BY_NAME)
