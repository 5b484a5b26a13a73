"""How wrong a model is on some patients, and on others of the same mix of labels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.image_text import ImageText
from forgetmi.model.modes import evaluating
from forgetmi.unlearning.loaders import GuardedLoader

Measure = Literal["error", "cross_entropy"]


@torch.no_grad()
def per_sample(model: ImageText, loader: GuardedLoader, measure: Measure) -> tuple[Tensor, Tensor]:
    """What the image head gets wrong on each sample of a set whose label is known.

    The image head is the one whose predictions are reported.

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
            logits, label = model(batch).image_logits, batch.label
            labels.append(label)
            values.append(
                (logits.argmax(dim=1) != label).to(logits)
                if measure == "error"
                else nn.functional.cross_entropy(logits, label, ignore_index=-1, reduction="none")
            )
    known = torch.cat(labels) >= 0 if labels else torch.zeros(0, dtype=torch.bool)
    if not bool(known.any()):
        raise MethodError(Fault("a set to be measured has no sample with a label"))
    return torch.cat(labels)[known], torch.cat(values)[known]


def matched_mean(label: Tensor, value: Tensor, like: Tensor) -> float:
    """Mean of the values, each class weighted by its share among other labels.

    Classes that only the other labels have are left out and the rest re-scaled; without a common class it is the plain
    mean.

    Args:
        label: Int64[n], all known.
        value: Float[n].
        like: Int64[m], the labels whose mix is wanted, all known.
    """
    shares = {int(c): float((like == c).sum()) for c in like.unique() if bool((label == c).any())}
    if not shares:
        return float(value.double().mean())
    total = sum(share * float(value[label == c].double().mean()) for c, share in shares.items())
    return total / sum(shares.values())
