"""The losses of unlearning, one equation each: pure functions of embeddings and logits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from forgetmi.core.batch import Outputs
from forgetmi.core.heads import added, each_head
from forgetmi.core.task import Task
from forgetmi.model.losses import heads_losses


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance per sample, with zero value and zero gradient where the two are equal.

    With s the sum of squared differences, returns ``s / sqrt(s + 1e-8)``: equal to ``sqrt(s)`` to 1e-9 above 1.

    Args:
        a, b: Float[n, d] each.

    Returns:
        Float[n].

    Source: Forget-MI (Hardan et al. 2025), equations 1 to 4, use the plain root, whose gradient at 0 is not a number.

    Examples:
        >>> distance(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.zeros(2, 2)).tolist()
        [5.0, 0.0]
    """
    squares = (a - b).square().sum(dim=-1)
    return squares / (squares + 1e-8).sqrt()


def towards(student: Tensor, target: Tensor) -> Tensor:
    """Mean distance to the target, to be minimised.

    UU and MU (unimodal and multimodal unlearning, see `forgetmi.unlearning.four_losses`) with direction
    ``toward_noise``, the goals of our own methods, and all four distances of the release.

    Args:
        student, target: Float[n, d] each; the target carries no gradient.

    Returns:
        Scalar.

    Source: Forget-MI (Hardan et al. 2025), equations 1 to 4; for the retained, outside the release, see `keep`.

    Examples:
        >>> float(towards(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.zeros(2, 2)))
        2.5
    """
    return distance(student, target.detach()).mean()


def keep(student: Tensor, target: Tensor) -> Tensor:
    """Mean distance to the target for a student that starts there, to be minimised.

    UR and MR: unimodal and multimodal retention, see `forgetmi.unlearning.four_losses`.

    A sample whose squared distance is at most 1e-9 of the target's squared length counts as being there. Before the
    first step all of them are, in float32 and with batch statistics kept: what is then between two outputs of the same
    weights, computed in other batches, is rounding, and the gradient of `distance`, which has grown to 1 at a distance
    of 1e-4, would make a pull of it, in a random direction. In bfloat16 rounding is larger and still pulls.

    Args:
        student, target: Float[n, d] each; the target carries no gradient.

    Returns:
        Scalar.

    Source: the retention terms of Forget-MI's equations 1 to 4, whose target is the original's embedding of the same
    sample. The zone of rounding is ours.

    Examples:
        >>> target = torch.tensor([[3.0, 4.0]])
        >>> float(keep(target, target)), float(keep(torch.zeros(1, 2), target))
        (0.0, 5.0)
    """
    target = target.detach()

    # A sample that is there is its own target: value and gradient are 0.
    squares = (student - target).square().sum(dim=-1)
    there = squares <= 1e-9 * target.square().sum(dim=-1)
    nearest = torch.where(there[:, None], student.detach(), target)
    return distance(student, nearest).mean()


def away(student: Tensor, target: Tensor, *, bound: float) -> Tensor:
    """Minus the mean distance to the target, each sample's distance capped: UU and MU with direction ``away``.

    Args:
        student, target: Float[n, d] each; the target carries no gradient.
        bound: Distance beyond which a sample is pushed no further, > 0.

    Returns:
        Scalar in [-bound, 0].

    Source: the words of Forget-MI section 2 ("pushes away"). The cap is ours: unbounded maximisation has no optimum and
    destroys the model.

    Examples:
        >>> student, target = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
        >>> float(away(student, target, bound=9.0)), float(away(student, target, bound=2.0))
        (-5.0, -2.0)
    """
    capped = distance(student, target.detach()).clamp(max=bound)
    return -capped.mean()


def classification(
    out: Outputs, label: Tensor, *, task: Task, present: Mapping[str, Tensor] | None = None
) -> Tensor:
    """The task's loss of each head, added; of classes and grades the cross-entropy.

    Args:
        out: Of b samples.
        label: As the task has them; unknown ones are left out.
        task: Of the labels.
        present: As in `forgetmi.model.losses.heads_losses`; None = nobody lacks a modality.

    Returns:
        Scalar.
    """
    return added(heads_losses(out, label, task=task, present=present or {}))


def head_distillation(
    student: Outputs,
    teacher: Outputs,
    *,
    task: Task,
    temperature: float = 1.0,
    present: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The task's distance of each head's logits from a teacher's, added; a mean over the samples that a head is for.

    Args:
        student, teacher: Of the same n samples; the teacher's carry no gradient.
        task: Of the labels.
        temperature: T, > 0.
        present: As in `classification`.

    Returns:
        Scalar, >= 0.
    """

    def of_head(logits: Tensor, target: Tensor) -> Tensor:
        return task.distance(logits, target, temperature=temperature)

    return added(each_head(of_head, student, teacher, present=present))


def reference_distillation(
    student: Outputs,
    references: Outputs,
    *,
    task: Task,
    present: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The task's distance of each sample's logits from each reference's, averaged over all pairs, heads added.

    Of classes it is the divergence from the references' mean prediction but for a constant, and has its gradient.

    Args:
        student: Of n samples.
        references: Of m other samples, without gradient; each head's of those that have its modality.
        task: Of the labels.
        present: Of the student's samples, as in `classification`.

    Returns:
        Scalar, >= 0.
    """

    def of_head(logits: Tensor, target: Tensor) -> Tensor:
        # Where no sample or no reference has the modality, there is nothing to be like
        if not len(target) or not len(logits):
            return logits.sum() * 0.0

        # Every sample beside every reference
        ours = logits.repeat_interleave(len(target), dim=0)
        theirs = target.detach().repeat(len(logits), 1)
        return task.distance(ours, theirs)

    ours = student.of_those_there(present or {})
    return added(each_head(of_head, ours, references))


def normalised_distance(student: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of the two embeddings scaled to length 1, 0 to 4: twice one minus their cosine.

    Args:
        student, target: Float[n, d] each; the target carries no gradient.

    Returns:
        Scalar.

    Examples:
        >>> a, b = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [5.0, 0.0]])
        >>> float(normalised_distance(a, b))
        1.0
    """
    cosine = torch.nn.functional.cosine_similarity(student, target.detach(), dim=1)
    return (2 - 2 * cosine).mean()


def l1_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Sum of absolute values.

    Args:
        parameters: One or more tensors of any shape.

    Returns:
        Scalar.

    Examples:
        >>> float(l1_norm([torch.tensor([1.0, -2.0]), torch.tensor(3.0)]))
        6.0
    """
    sums = [values.abs().sum() for values in parameters]
    return torch.stack(sums).sum()
