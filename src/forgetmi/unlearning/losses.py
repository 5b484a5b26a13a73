"""The unlearning losses, one equation each: pure functions of embeddings."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Outputs
from forgetmi.model.losses import cross_entropy


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance per sample, with zero value and zero gradient where the two are equal.

    With s the sum of squared differences, returns ``s / sqrt(s + 1e-8)``: equal to ``sqrt(s)`` to 1e-9 above 1.

    Args:
        a, b: Float[n, d] each.

    Returns:
        Float[n].

    Source: Forget-MI (Hardan et al. 2025), equations 1 to 4, use the plain root, whose gradient at 0 is not a number.
    """
    squares = (a - b).square().sum(dim=-1)
    return squares / (squares + 1e-8).sqrt()


def towards(student: Tensor, target: Tensor) -> Tensor:
    """Mean distance to the target, to be minimised: UU and MU with direction ``toward_noise``, the goals of our own
    methods, and all four distances of the release.

    Args:
        student, target: Float[n, d] each; the target carries no gradient.

    Returns:
        Scalar.

    Source: Forget-MI (Hardan et al. 2025), equations 1 to 4; for the retained, outside the release, see `keep`.
    """
    return distance(student, target.detach()).mean()


def keep(student: Tensor, target: Tensor) -> Tensor:
    """Mean distance to the target for a student that starts there, to be minimised: UR and MR.

    A sample whose squared distance is at most 1e-9 of the target's squared length counts as being there. Before the
    first step all of them are, in float32 and with batch statistics kept: what is then between two outputs of the same
    weights, computed in other batches, is rounding, and the gradient of `distance`, which has grown to 1 at a distance
    of 1e-4, would make a pull of it, in a direction that is chance. In bfloat16 rounding is larger and still pulls.

    Args:
        student, target: Float[n, d] each; the target carries no gradient.

    Returns:
        Scalar.

    Source: the retention terms of Forget-MI's equations 1 to 4, whose target is the original's embedding of the same
    sample. The zone of rounding is ours.
    """
    target = target.detach()
    there = (student - target).square().sum(dim=-1) <= 1e-9 * target.square().sum(dim=-1)
    return distance(student, torch.where(there[:, None], student.detach(), target)).mean()


def away(student: Tensor, target: Tensor, *, bound: float) -> Tensor:
    """Minus the mean distance to the target, each sample's distance capped: UU and MU with direction ``away``.

    Args:
        student, target: Float[n, d] each; the target carries no gradient.
        bound: Distance beyond which a sample is pushed no further, > 0.

    Returns:
        Scalar in [-bound, 0].

    Source: the words of Forget-MI section 2 ("pushes away"). The cap is ours: unbounded maximisation has no optimum and
    destroys the model.
    """
    return -distance(student, target.detach()).clamp(max=bound).mean()


def classification(out: Outputs, label: Tensor) -> Tensor:
    """Cross-entropy of the image head plus that of the text head.

    Args:
        out: Of b samples.
        label: Int64[b], -1 = unknown (left out).

    Returns:
        Scalar.
    """
    return cross_entropy(out.image_logits, label) + cross_entropy(out.text_logits, label)


def distillation(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))``, the mean over the batch.

    Args:
        student, teacher: Float[n, k] logits; the teacher carries no gradient.
        temperature: T, > 0.

    Returns:
        Scalar, >= 0.

    Source: Hinton et al. 2015 (arXiv 1503.02531), in the form of SCRUB's repository (``distiller_zoo/KD.py``).
    """
    p, q = (
        nn.functional.log_softmax(logits / temperature, dim=1)
        for logits in (teacher.detach(), student)
    )
    return temperature**2 * nn.functional.kl_div(q, p, log_target=True, reduction="batchmean")


def l1_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Sum of absolute values.

    Args:
        parameters: One or more tensors of any shape.

    Returns:
        Scalar.
    """
    return torch.stack([values.abs().sum() for values in parameters]).sum()
