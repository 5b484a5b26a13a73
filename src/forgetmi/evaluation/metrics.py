"""The table of all metrics: what each is, and which direction is good. A metric of predictions is added here alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from forgetmi.core.arrays import Floats, Ints
from forgetmi.evaluation.utility import (
    accuracy,
    macro_auc,
    macro_f1,
    mean_ordinal_auc,
    mean_pairwise_auc,
    severity_mse,
)

Better = Literal["higher", "lower", "closer"]
PredictionMetric = Callable[[Floats, Ints, Floats], Floats]


@dataclass(frozen=True)
class MetricInfo:
    """What a metric is.

    Args:
        name: As in `forgetmi.core.scores.Score.name`.
        meaning: What the number is, in words.
        on_forget: Which direction is good on the forget set; "closer" = closer to the retrained models.
        elsewhere: Which direction is good on the other sets.
        function: For a metric of predictions: maps probabilities Float[n, k], labels Int[n] and weights Float[b, n] to
            Float[b]; see `forgetmi.evaluation.utility`. None = `forgetmi.evaluation.measures` computes it.
        grades_only: Whether it needs classes that are grades.
        over_classes: Whether it is a mean over the classes present, so that a missing class is to be noted.
    """

    name: str
    meaning: str
    on_forget: Better = "closer"
    elsewhere: Better = "closer"
    function: PredictionMetric | None = None
    grades_only: bool = False
    over_classes: bool = False


_ALL = (
    # How well a model predicts
    MetricInfo(
        "auc",
        "one-vs-rest AUC, mean over the classes present",
        elsewhere="higher",
        function=macro_auc,
        over_classes=True,
    ),
    MetricInfo(
        "f1",
        "F1 of the most probable class, mean over classes",
        elsewhere="higher",
        function=macro_f1,
    ),
    MetricInfo(
        "accuracy",
        "share of images whose most probable class is the true one",
        elsewhere="higher",
        function=accuracy,
    ),
    MetricInfo(
        "pairwise_auc",
        "AUC of each grade against each other, mean over the pairs present",
        elsewhere="higher",
        function=mean_pairwise_auc,
        grades_only=True,
        over_classes=True,
    ),
    MetricInfo(
        "ordinal_auc",
        "AUC of being above each grade, mean over the grades",
        elsewhere="higher",
        function=mean_ordinal_auc,
        grades_only=True,
        over_classes=True,
    ),
    MetricInfo(
        "severity_mse",
        "mean squared difference between the expected grade and the label",
        elsewhere="lower",
        function=severity_mse,
        grades_only=True,
    ),
    # How well a value is predicted
    MetricInfo("r2", "share of the values' variance that is explained", elsewhere="higher"),
    MetricInfo(
        "rank_correlation",
        "rank correlation of predicted and true values",
        elsewhere="higher",
    ),
    MetricInfo("mae", "mean absolute error of the values", elsewhere="lower"),
    # How well pairs are found
    MetricInfo(
        "recall_at_1", "share of images that find their own report first", elsewhere="higher"
    ),
    MetricInfo(
        "recall_at_5", "share of images whose own report is among the first 5", elsewhere="higher"
    ),
    MetricInfo(
        "recall_at_10", "share of images whose own report is among the first 10", elsewhere="higher"
    ),
    # Membership inference
    MetricInfo("sample_mia", "share of forgotten images that the SVM attack takes for members"),
    MetricInfo("never_seen_flag_rate", "the same of never-seen images: the target of sample_mia"),
    MetricInfo(
        "loss_auc", "probability that an image of the set has a lower loss than a never-seen one"
    ),
    MetricInfo(
        "pair_auc",
        "probability that a forgotten image is nearer to its report than a never-seen one",
    ),
    # Distance to the original
    MetricInfo(
        "original_symmetric_kl",
        "symmetric KL divergence from the original's predictions, in nats",
        elsewhere="lower",
    ),
    MetricInfo(
        "original_cosine", "1 - cosine of the logits with the original's", elsewhere="lower"
    ),
    # Distance to the retrained models
    MetricInfo(
        "jsf",
        "Jensen-Shannon divergence from the retrained models' predictions, in nats",
        on_forget="lower",
    ),
    MetricInfo(
        "loss_spearman",
        "rank correlation of the losses with the retrained models'",
        on_forget="higher",
    ),
    MetricInfo(
        "gap", "mean difference to the retrained models in five measures", elsewhere="lower"
    ),
    MetricInfo("gap_joint", "the gap of both heads together", elsewhere="lower"),
    MetricInfo("gap_floor", "mean gap of the retrained models themselves", elsewhere="lower"),
    MetricInfo("gap_floor_largest", "largest gap of a retrained model", elsewhere="lower"),
    MetricInfo("gap_joint_floor", "the floor of both heads together", elsewhere="lower"),
    MetricInfo(
        "gap_joint_floor_largest", "the largest floor of both heads together", elsewhere="lower"
    ),
    # The gap in two parts
    MetricInfo("gap_forget", "the gap's three measures on forgotten patients", elsewhere="lower"),
    MetricInfo("gap_test", "the gap's two measures on test patients", elsewhere="lower"),
    MetricInfo("gap_joint_forget", "the first part for both heads together", elsewhere="lower"),
    MetricInfo("gap_joint_test", "the second part for both heads together", elsewhere="lower"),
    MetricInfo("gap_forget_floor", "the floor of the first part", elsewhere="lower"),
    MetricInfo("gap_test_floor", "the floor of the second part", elsewhere="lower"),
    MetricInfo("gap_joint_forget_floor", "the same for both heads together", elsewhere="lower"),
    MetricInfo("gap_joint_test_floor", "the same for both heads together", elsewhere="lower"),
)
METRICS = {metric.name: metric for metric in _ALL}

# Names of scores of single findings, such as "auc_finding_3"
_SINGLE = re.compile(r"(.+)_finding_[0-9]+")


def metric_of(name: str) -> str:
    """The metric of a score: its name, without the number of a single finding.

    Examples:
        >>> metric_of("auc_finding_3"), metric_of("auc")
        ('auc', 'auc')
    """
    single = _SINGLE.fullmatch(name)
    return single.group(1) if single else name


def direction(name: str, on: str) -> Better:
    """Which direction of a metric is good on a set.

    Args:
        name: Of the metric.
        on: Name of the set; empty = it rests on several.

    Raises:
        KeyError: There is no such metric.

    Examples:
        >>> direction("auc", on="test"), direction("auc", on="forget")
        ('higher', 'closer')
    """
    metric = METRICS[metric_of(name)]
    return metric.on_forget if on == "forget" else metric.elsewhere


def prediction_metrics(*, ordered: bool) -> tuple[MetricInfo, ...]:
    """The metrics that are computed from predictions.

    Args:
        ordered: Whether the classes are grades.

    Examples:
        >>> [metric.name for metric in prediction_metrics(ordered=False)]
        ['auc', 'f1', 'accuracy']
    """
    metrics = [metric for metric in _ALL if metric.function is not None]
    return tuple(metric for metric in metrics if ordered or not metric.grades_only)
