"""How well a model predicts validation patients' labels while it is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from forgetmi.core.batch import Epochs
from forgetmi.core.labels import known
from forgetmi.core.task import Task
from forgetmi.model.losses import base_loss
from forgetmi.model.modes import evaluating
from forgetmi.model.net_module import NetModule


@torch.no_grad()
def validate(model: NetModule, loader: Epochs, *, task: Task) -> dict[str, float | None]:
    """The task's loss of each head, added, and the AUC of each, over the rows with a label that have what it reads.

    Of pairs, which have no heads, it is the loss that they are trained with, the mean over the batches' samples.

    Args:
        model: In any mode, which it keeps.
        loader: The rows to validate on.
        task: Of the labels.

    Returns:
        ``validation_loss``, and ``validation_auc_image``, ``validation_auc_text`` by head; None where they are
        undefined.
    """
    if not task.headed:
        return {"validation_loss": _contrast(model, loader, task)}

    # Logits and labels of each head, of every row that has a label and the head's modality.
    logits: dict[str, list[Tensor]] = {head: [] for head in model.logit_names}
    measured: dict[str, list[Tensor]] = {head: [] for head in model.logit_names}
    labels: list[Tensor] = []
    with evaluating(model):
        for batch in loader.epoch(0):
            batch = batch.to(model.device)
            outputs = model(batch)
            labels.append(batch.label)
            for head in logits:
                there = known(batch.label) & batch.present.get(head, known(batch.label))
                measured[head].append(there)
                logits[head].append(outputs.head(head))

    # Logits in float64: the loss of a sure model is a difference of large numbers.
    losses: list[float] = []
    aucs: dict[str, float | None] = {}
    for head in logits:
        # Read from the device once a head, after the last batch.
        there = torch.cat(measured[head]).cpu()
        values, label = torch.cat(logits[head]).cpu()[there], torch.cat(labels).cpu()[there]
        aucs[f"validation_auc_{head}"] = task.auc(values, label) if len(label) else None
        if len(label):
            losses.append(float(task.mean_loss(values.double(), label)))
    return {"validation_loss": sum(losses) if losses else None, **aucs}


def _contrast(model: NetModule, loader: Epochs, task: Task) -> float | None:
    """Mean over the samples of the loss of each two modalities' embeddings; None without samples."""
    losses: list[Tensor] = []
    sizes: list[int] = []
    with evaluating(model):
        for batch in loader.epoch(0):
            batch = batch.to(model.device)
            losses.append(base_loss(model(batch), batch, task=task).total)
            sizes.append(len(batch))
    if not losses:
        return None

    total = 0.0
    for loss, size in zip(torch.stack(losses).tolist(), sizes, strict=True):
        total += size * loss
    return total / sum(sizes)
