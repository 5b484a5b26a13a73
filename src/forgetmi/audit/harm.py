"""Was anybody served worse for it? Never-seen patients under the unlearned model and under retrained ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from forgetmi.audit.delta import model_weights
from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import Head, log_probabilities
from forgetmi.evaluation.statistics import (
    UNDEFINED_ALLOWED,
    Metric,
    draws,
    resample_patients,
    weighted_mean,
)
from forgetmi.evaluation.utility import macro_auc

Harm = Literal["within margin", "harmed", "not resolvable"]


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
        if self.value <= -margin and self.p_worse * tests <= 0.025:
            return "harmed"
        return "within margin" if self.interval[0] > -margin else "not resolvable"


def utility_difference(
    unlearned: Signals,
    retrained: Sequence[Signals],
    *,
    patient: Ints,
    head: Head,
    seed: int,
    resamples: int,
) -> MetricDifference:
    """Macro AUC on labelled images.

    Args:
        unlearned, retrained: Signals of the same n labelled images, of one and of two or more models.
        patient: Int[n] codes.
        head: Which.
        seed: Root seed of the resamples.
        resamples: >= 200.

    Raises:
        EvaluationError: Too few models, patients or classes, or logits are not finite.
    """
    metrics = [
        partial(macro_auc, np.exp(log_probabilities(one, head)), one.label)
        for one in (unlearned, *retrained)
    ]
    return _difference(metrics, patient, seed=seed, resamples=resamples)


def accuracy_difference(
    unlearned: Signals,
    retrained: Sequence[Signals],
    *,
    patient: Ints,
    head: Head,
    seed: int,
    resamples: int,
) -> MetricDifference:
    """Share of images predicted right, which is defined in small subgroups, too; arguments as `utility_difference`."""
    right = [
        (log_probabilities(one, head).argmax(1) == one.label).astype(np.float64)
        for one in (unlearned, *retrained)
    ]
    return _difference(
        [partial(weighted_mean, one) for one in right], patient, seed=seed, resamples=resamples
    )


def _difference(
    metrics: Sequence[Metric], patient: Ints, *, seed: int, resamples: int
) -> MetricDifference:
    if len(metrics) < 3 or len(np.unique(patient)) < 2:
        raise EvaluationError(Fault("at least two retrained models and two patients are needed"))
    sample = resample_patients(
        patient, resamples=resamples, generator=numpy_generator(seed, "harm", "patients")
    )
    models = model_weights(len(metrics) - 1, resamples, numpy_generator(seed, "harm", "retrained"))
    own, *others = (draws(sample, metric) for metric in metrics)
    reference = (models * np.stack(others, axis=1)).sum(1)
    differences: Floats = own - reference
    defined = differences[1:][~np.isnan(differences[1:])]
    if np.isnan(differences[0]) or len(defined) < (1 - UNDEFINED_ALLOWED) * resamples:
        raise EvaluationError(Fault("the metric is undefined on these patients"))
    low, high = np.quantile(defined, [0.025, 0.975])
    return MetricDifference(
        float(own[0]),
        float(reference[0]),
        float(differences[0]),
        (float(low), float(high)),
        float((1 + (defined >= 0).sum()) / (1 + len(defined))),
    )
