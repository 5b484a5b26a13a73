"""The error or loss of a model on one set of patients, and on another re-weighted to the same mix of labels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import mean_of, own_heads
from forgetmi.core.modalities import IMAGE
from forgetmi.model.modes import evaluating
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.loaders import GuardedLoader

Measure = Literal["error", "cross_entropy"]


@torch.no_grad()
def per_sample(model: NetModule, loader: GuardedLoader, measure: Measure) -> tuple[Tensor, Tensor]:
    """Error or loss of the image head on each sample of a set whose label is known.

    The image head is the one whose predictions are reported; without one it is the mean over all heads.

    Args:
        model: In any mode; it is run in eval mode and gets its own mode back.
        loader: The set, with labels.
        measure: error is 1 where the most probable class is not the label, else 0; cross_entropy is finer.

    Returns:
        Labels Int64[n] and values Float[n].

    Raises:
        MethodError: No sample of the set has a label.
    """
    labels, values = [], []
    with evaluating(model):
        for batch in loader.batches(loader.rows):
            heads, label = own_heads(model(batch), IMAGE), batch.label
            labels.append(label)
            of_heads = [_value(logits, label, measure) for logits in heads]
            values.append(mean_of(of_heads))

    # Only samples of known label count.
    known = torch.cat(labels) >= 0 if labels else torch.zeros(0, dtype=torch.bool)
    if not bool(known.any()):
        raise MethodError(Fault("a set to be measured has no sample with a label"))
    return torch.cat(labels)[known], torch.cat(values)[known]


def _value(logits: Tensor, label: Tensor, measure: Measure) -> Tensor:
    """Error or loss of one head on each sample."""
    if measure == "error":
        return (logits.argmax(dim=1) != label).to(logits)
    return nn.functional.cross_entropy(logits, label, ignore_index=-1, reduction="none")


def matched_mean(label: Tensor, value: Tensor, like: Tensor) -> float:
    """Mean of the values, each class weighted by its share among other labels.

    Classes that only the other labels have are left out and the rest re-scaled; without a common class it is the plain
    mean.

    Args:
        label: Int64[n], all known.
        value: Float[n].
        like: Int64[m], the labels whose mix is wanted, all known.

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
