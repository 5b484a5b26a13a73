"""The error or loss of a model on one set of patients, and on another re-weighted to the same mix of labels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import mean_of_heads_there, own_heads
from forgetmi.core.labels import known
from forgetmi.core.modalities import IMAGE
from forgetmi.core.task import Task
from forgetmi.model.modes import evaluating
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.loaders import GuardedLoader

# What is measured; a task says what its loss is, of classes the cross-entropy
Measure = Literal["error", "cross_entropy"]
Heads = Literal["image", "all"]


@torch.no_grad()
def per_sample(
    model: NetModule,
    loader: GuardedLoader,
    measure: Measure,
    *,
    task: Task,
    heads: Heads = "image",
    rows: Ints | None = None,
) -> tuple[Tensor, Tensor]:
    """Error or loss on each sample of a set whose label is known, of the image head or averaged over all.

    The image head is the one whose predictions are reported; without one it is the mean over all heads. A head says
    nothing of a sample that lacks its modality: averaged are the others, and a sample without any is left out.

    Args:
        model: In any mode; it is run in eval mode and gets its own mode back.
        loader: The set, with labels.
        measure: error of classes is 1 where the most probable one is not the label, else 0; cross_entropy, the task's
            loss, is finer.
        task: Of the labels.
        heads: image or all.
        rows: Those of the set to be measured; None = all.

    Returns:
        Groups of alike labels Int64[n] (the task's), and values Float[n].

    Raises:
        MethodError: No sample of the set has a label.
    """
    values_of = task.error if measure == "error" else task.loss
    groups, values = [], []
    with evaluating(model):
        for batch in loader.batches(loader.rows if rows is None else rows):
            outputs = model(batch)
            measured = list(outputs.logits) if heads == "all" else own_heads(outputs, IMAGE)

            # Only samples of known label count, which have what a head reads.
            of_heads = [values_of(outputs.head(head), batch.label) for head in measured]
            mean, any_head = mean_of_heads_there(of_heads, [batch.there(head) for head in measured])
            there = known(batch.label) & any_head
            groups.append(task.groups(batch.label)[there])
            values.append(mean[there])

    if not any(map(len, groups)):
        raise MethodError(Fault("a set to be measured has no sample with a label"))
    return torch.cat(groups), torch.cat(values)


def matched_mean(label: Tensor, value: Tensor, like: Tensor) -> float:
    """Mean of the values, each group of labels weighted by its share among other labels.

    Groups that only the other labels have are left out and the rest re-scaled; without a common group it is the plain
    mean.

    Args:
        label: Int64[n], groups of known labels; of classes the classes.
        value: Float[n].
        like: Int64[m], groups of the labels whose mix is wanted, all known.

    Examples:
        >>> label, value = torch.tensor([0, 1]), torch.tensor([1.0, 5.0])
        >>> matched_mean(label, value, torch.tensor([0, 0, 0, 1]))
        2.0
    """
    # How often each class with a value occurs among the other labels.
    counts: dict[int, float] = {}
    for code in like.unique():
        if bool((label == code).any()):
            counts[int(code)] = float((like == code).sum())
    if not counts:
        return float(value.double().mean())

    # Each class's mean, weighted by that count.
    total = 0.0
    for code, count in counts.items():
        class_mean = float(value[label == code].double().mean())
        total += count * class_mean
    return total / sum(counts.values())
