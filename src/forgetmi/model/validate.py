"""How well a model classifies validation patients while it is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from forgetmi.core.batch import Epochs, Outputs
from forgetmi.core.labels import known
from forgetmi.core.task import Task
from forgetmi.model.modes import evaluating
from forgetmi.model.net_module import NetModule


@torch.no_grad()
def validate(model: NetModule, loader: Epochs, *, task: Task) -> dict[str, float | None]:
    """The task's loss of each head, added, and the AUC of each, over the rows with a label.

    Args:
        model: In any mode, which it keeps.
        loader: The rows to validate on.
        task: Of the labels.

    Returns:
        ``validation_loss``, and ``validation_auc_image``, ``validation_auc_text`` by head; None where they are
        undefined.
    """
    # Logits of each head for every row.
    outputs: list[Outputs] = []
    label: list[Tensor] = []
    with evaluating(model):
        for batch in loader.epoch(0):
            outputs.append(model(batch.to(model.device)))
            label.append(batch.label)

    # Only rows with a label.
    labels = torch.cat(label)
    labelled = known(labels)
    logits: dict[str, Tensor] = {}
    for head in model.logit_names:
        logits[head] = torch.cat([one.head(head) for one in outputs]).cpu()[labelled]
    labels = labels[labelled]
    if len(labels) == 0:
        return {"validation_loss": None, **{f"validation_auc_{head}": None for head in logits}}

    # Logits in float64: the loss of a sure model is a difference of large numbers.
    loss = 0.0
    for values in logits.values():
        loss += float(task.mean_loss(values.double(), labels))
    aucs = {f"validation_auc_{head}": task.auc(values, labels) for head, values in logits.items()}
    return {"validation_loss": loss, **aucs}
