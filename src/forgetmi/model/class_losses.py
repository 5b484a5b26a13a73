"""Losses of classes, one label a sample: pure functions of logits and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from forgetmi.core.labels import known


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy over the samples whose label is known; 0 with zero gradient where none is.

    Args:
        logits: Float[b, k].
        label: Int64[b], -1 = unknown.

    Returns:
        Scalar.
    """
    # A sum divided by at least 1: a mean over no sample would be NaN.
    total = nn.functional.cross_entropy(logits, label, ignore_index=-1, reduction="sum")
    return total / known(label).sum().clamp(min=1)


def cross_entropies(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of each sample, Float[b]; 0 where the label is unknown.

    Args:
        logits: Float[b, k].
        label: Int64[b], -1 = unknown.
    """
    return nn.functional.cross_entropy(logits, label, ignore_index=-1, reduction="none")


def distillation(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))``, the mean over the batch.

    Args:
        student, teacher: Float[n, k] logits; the teacher carries no gradient.
        temperature: T, > 0.

    Returns:
        Scalar, >= 0.

    Source: Hinton et al. 2015 (arXiv 1503.02531), in the form of SCRUB's repository (``distiller_zoo/KD.py``).

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> float(distillation(logits, logits))
        0.0
    """
    # Both in logarithms, for precision.
    teacher_log = nn.functional.log_softmax(teacher.detach() / temperature, dim=1)
    student_log = nn.functional.log_softmax(student / temperature, dim=1)
    divergence = nn.functional.kl_div(
        student_log, teacher_log, log_target=True, reduction="batchmean"
    )
    return temperature**2 * divergence


def without_truth(logits: Tensor, label: Tensor, *, truth: float = 0.0) -> Tensor:
    """Probabilities with the true class set to a value and the others' ratios kept.

    Args:
        logits: Float[n, k].
        label: Int64[n], all known.
        truth: Probability of the true class, 0 to below 1.

    Returns:
        Float[n, k], each row with sum 1.

    Source: DELETE (arXiv 2503.23751), equation of the masked logits.

    Examples:
        >>> without_truth(torch.zeros(1, 3), torch.tensor([0])).tolist()
        [[0.0, 0.5, 0.5]]
    """
    true_class = nn.functional.one_hot(label, logits.shape[1]).bool()

    # The other classes' probabilities, as if there were no true class.
    others = logits.masked_fill(true_class, -torch.inf).softmax(dim=1)
    return torch.where(true_class, truth, (1 - truth) * others)


def divergence_without_truth(
    student: Tensor, teacher: Tensor, label: Tensor, *, truth: float = 0.0
) -> Tensor:
    """``KL(q || softmax(student))`` with q = `without_truth` of the teacher, the mean over samples of known label.

    Args:
        student, teacher: Float[b, k] logits; the teacher carries no gradient.
        label: Int64[b], -1 = unknown.
        truth: Probability q leaves to the true class.

    Returns:
        Scalar, >= 0; 0 where no label is known.
    """
    # Samples of unknown label are left out.
    there = known(label)
    target = without_truth(teacher.detach()[there], label[there], truth=truth)
    prediction = student[there].log_softmax(dim=1)
    total = nn.functional.kl_div(prediction, target, reduction="sum")
    return total / there.sum().clamp(min=1)


def mean_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Logarithms of the mean of several models' probabilities, Float[b, k] from Float[b, k] each."""
    log_probabilities = torch.stack([member.log_softmax(dim=1) for member in logits])

    # The sum of the probabilities, divided by their number, in the logarithm.
    return log_probabilities.logsumexp(dim=0) - math.log(len(logits))
