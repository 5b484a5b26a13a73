"""Echo: how well a model's loss tells patients it was trained on from patients it never saw."""

from __future__ import annotations

from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.label_matched import per_sample
from forgetmi.unlearning.loaders import GuardedLoader


def echo(
    model: NetModule, trained: GuardedLoader, never_seen: GuardedLoader, *, rows: Ints, task: Task
) -> float:
    """The share of pairs, one trained on and one not, of which the trained one has the smaller loss; 0.5 = no echo.

    Only pairs of alike labels are compared (the task's groups), so that a label that is common in one set does not
    count as memory. Equal losses count half. The loss is the task's, averaged over all heads.

    Args:
        model: In any mode; it is run in eval mode and gets its own mode back.
        trained: The set that the model was trained on, with labels.
        never_seen: A set that it was not trained on, with labels.
        rows: Those of the trained set to be measured.
        task: Of the labels.

    Returns:
        0 to 1: the AUC of minus the loss, over pairs of alike labels.

    Raises:
        MethodError: No sample has a label, or no two have alike ones.
    """
    group, loss = per_sample(model, trained, "cross_entropy", task=task, heads="all", rows=rows)
    other_group, other_loss = per_sample(model, never_seen, "cross_entropy", task=task, heads="all")
    return matched_auc(loss, group, other_loss, other_group)


def matched_auc(loss: Tensor, group: Tensor, other_loss: Tensor, other_group: Tensor) -> float:
    """The share of pairs of one group of which the first set's sample has the smaller loss, ties half.

    Args:
        loss, group: Of the first set.
        other_loss, other_group: Of the second.

    Examples:
        >>> import torch
        >>> group = torch.tensor([0, 1])
        >>> matched_auc(torch.tensor([0.1, 9.0]), group, torch.tensor([0.5, 7.0]), group)
        0.5
    """
    alike = group[:, None] == other_group[None, :]
    if not bool(alike.any()):
        raise MethodError(
            Fault(
                "no trained and never-trained image share a label",
                why="how well the early checkpoint tells them apart cannot be measured",
                do="Use more validation patients, or largest_echo 1.",
            )
        )

    smaller = (loss[:, None] < other_loss[None, :]).double()
    equal = (loss[:, None] == other_loss[None, :]).double()
    return float((smaller + 0.5 * equal)[alike].mean())
