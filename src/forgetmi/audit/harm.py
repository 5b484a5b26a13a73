"""Was anybody served worse for it? Never-seen patients under the unlearned model and under retrained ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from forgetmi.audit.delta import model_weights
from forgetmi.audit.rows import Harm
from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.signals import Head, predictions
from forgetmi.evaluation.statistics import (
    UNDEFINED_ALLOWED,
    Metric,
    draws,
    resample_patients,
    weighted_mean,
)


@dataclass(frozen=True)
class MetricDifference:
    """A metric of the unlearned model less the retrained models' mean.

    Args:
        unlearned, retrained: The metric under both.
        value: Their difference.
        interval: 95 % over patients and retrained models.
        p_worse: One-sided p-value of "not worse".
    """

    unlearned: float
    retrained: float
    value: float
    interval: tuple[float, float]
    p_worse: float

    def outcome(self, margin: float, *, tests: int = 1) -> Harm:
        """Judge it.

        Args:
            margin: Largest loss that counts as none, > 0.
            tests: Differences judged together (Bonferroni, for harm alone: "within margin" of all needs none).
        """
        # Harm needs both: a loss as large as the margin, and evidence of a loss
        if self.value <= -margin and self.p_worse * tests <= 0.025:
            return "harmed"
        if self.interval[0] > -margin:
            return "within margin"
        return "not resolvable"


def utility_difference(
    unlearned: Signals,
    retrained: Sequence[Signals],
    *,
    patient: Ints,
    head: Head,
    task: TaskMeasures,
    seed: int,
    resamples: int,
) -> MetricDifference:
    """The task's first headline metric (of classes the macro AUC) on labelled images.

    Args:
        unlearned, retrained: Signals of the same n labelled images, of one and of two or more models.
        patient: Int[n] codes.
        head: Which.
        task: Of the cohort.
        seed: Root seed of the resamples.
        resamples: >= 200.

    Raises:
        EvaluationError: Too few models, patients or classes, or logits are not finite.
    """
    metrics: list[Metric] = []

    # Only the weights of the images differ between resamples
    for model in (unlearned, *retrained):
        predicted = predictions(model, head, task)
        metrics.append(task.score(task.headline[0], predicted, model.label))

    return _difference(metrics, patient, seed=seed, resamples=resamples)


def accuracy_difference(
    unlearned: Signals,
    retrained: Sequence[Signals],
    *,
    patient: Ints,
    head: Head,
    task: TaskMeasures,
    seed: int,
    resamples: int,
) -> MetricDifference:
    """Share of images predicted right, which is defined in small subgroups, too; arguments as `utility_difference`."""
    metrics: list[Metric] = []
    for model in (unlearned, *retrained):
        right = task.correct(predictions(model, head, task), model.label)
        if right is None:
            raise EvaluationError(Fault(f"the task {task.name} has no accuracy"))
        metrics.append(partial(weighted_mean, right))

    return _difference(metrics, patient, seed=seed, resamples=resamples)


def _difference(
    metrics: Sequence[Metric], patient: Ints, *, seed: int, resamples: int
) -> MetricDifference:
    """A metric of the unlearned model (the first) less its mean over the retrained ones."""
    if len(metrics) < 3 or len(np.unique(patient)) < 2:
        raise EvaluationError(Fault("at least two retrained models and two patients are needed"))

    # Resample patients, and retrained models
    sample = resample_patients(
        patient, resamples=resamples, generator=numpy_generator(seed, "harm", "patients")
    )
    models = model_weights(len(metrics) - 1, resamples, numpy_generator(seed, "harm", "retrained"))

    # The same resampled patients for every model
    values = [draws(sample, metric) for metric in metrics]
    unlearned = values[0]
    reference = (models * np.stack(values[1:], axis=1)).sum(1)
    differences: Floats = unlearned - reference

    # Resamples in which the metric is defined
    defined = differences[1:][~np.isnan(differences[1:])]
    if np.isnan(differences[0]) or len(defined) < (1 - UNDEFINED_ALLOWED) * resamples:
        raise EvaluationError(Fault("the metric is undefined on these patients"))

    # Interval, and the one-sided p-value of "not worse"
    low, high = np.quantile(defined, [0.025, 0.975])
    not_worse = (1 + (defined >= 0).sum()) / (1 + len(defined))
    return MetricDifference(
        unlearned=float(unlearned[0]),
        retrained=float(reference[0]),
        value=float(differences[0]),
        interval=(float(low), float(high)),
        p_worse=float(not_worse),
    )
