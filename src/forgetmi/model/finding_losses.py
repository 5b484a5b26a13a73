"""Losses of findings, several labels a sample, each present, absent or unknown: pure functions of logits and labels.

A finding has one logit, the logarithm of its odds. What is unknown takes no part, in value and in gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from forgetmi.core.labels import known, known_cells


def mean_of_known(values: Tensor, label: Tensor) -> Tensor:
    """Mean of each sample's values over its known findings, Float[b]; 0 where none is known.

    Args:
        values: Float[b, f], finite.
        label: Float[b, f] of 0, 1 and NaN = unknown.
    """
    there = known_cells(label)
    return values.where(there, 0.0).sum(dim=1) / there.sum(dim=1).clamp(min=1)


def mean_of_labelled(values: Tensor, label: Tensor) -> Tensor:
    """Mean of the values, Float[b], over the samples with any known finding; 0 where there is none."""
    there = known(label)
    return values.where(there, 0.0).sum() / there.sum().clamp(min=1)


def binary_cross_entropies(logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy of each sample, the mean over its known findings: Float[b]; 0 where none is known.

    Args:
        logits: Float[b, f].
        label: Float[b, f] of 0, 1 and NaN = unknown.

    Examples:
        >>> half_known = torch.tensor([[1.0, float("nan")]])
        >>> round(float(binary_cross_entropies(torch.zeros(1, 2), half_known)), 3)  # log 2
        0.693
    """
    # NaN must reach no operation that has a gradient.
    there = known_cells(label)
    target = label.where(there, 0.0).to(logits)
    each = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return mean_of_known(each, label)


def bernoulli_divergence(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """``T^2 KL(sigmoid(teacher / T) || sigmoid(student / T))``, the mean over findings and samples.

    With one finding this is `forgetmi.model.class_losses.distillation` of two classes with the logits 0 and its own.

    Args:
        student, teacher: Float[n, f] logits; the teacher carries no gradient.
        temperature: T, > 0.

    Returns:
        Scalar, >= 0.
    """
    wanted, found = teacher.detach() / temperature, student / temperature
    present = wanted.sigmoid() * (logsigmoid(wanted) - logsigmoid(found))
    absent = (-wanted).sigmoid() * (logsigmoid(-wanted) - logsigmoid(-found))
    return temperature**2 * (present + absent).mean()


def divergence_without_truth(student: Tensor, label: Tensor, *, truth: float = 0.0) -> Tensor:
    """KL from predictions that give each known finding's true state a probability, the mean over findings and samples.

    The other state gets the rest, so that no teacher is needed: with two states nothing else is left to keep.

    Args:
        student: Float[b, f] logits.
        label: Float[b, f] of 0, 1 and NaN = unknown.
        truth: Probability of the true state, 0 to below 1.

    Returns:
        Scalar, >= 0; 0 where no finding is known.
    """
    # Positive where the student agrees with the label.
    there = known_cells(label)
    sign = 2 * label.where(there, 0.0).to(student) - 1
    agreement = sign * student

    # Cross-entropy with the target, less the target's entropy.
    cross = -truth * logsigmoid(agreement) - (1 - truth) * logsigmoid(-agreement)
    entropy = -sum(p * math.log(p) for p in (truth, 1 - truth) if p > 0)
    return mean_of_labelled(mean_of_known(cross - entropy, label), label)


def mean_odds(logits: Sequence[Tensor]) -> Tensor:
    """Logits of the mean of several models' probabilities, Float[b, f] from Float[b, f] each."""
    stacked = torch.stack(list(logits))
    return logsigmoid(stacked).logsumexp(dim=0) - logsigmoid(-stacked).logsumexp(dim=0)
