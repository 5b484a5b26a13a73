"""Losses of classes, one label a sample: pure functions of logits and labels."""

from __future__ import annotations

from torch import Tensor, nn


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
    return total / (label >= 0).sum().clamp(min=1)


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
