"""How well a model classifies validation patients while it is trained."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import cross_entropy

from forgetmi.core.batch import Epochs
from forgetmi.model.image_text import ImageText
from forgetmi.model.modes import evaluating


@torch.no_grad()
def validate(model: ImageText, loader: Epochs) -> dict[str, float | None]:
    """Cross-entropy of both heads, added, and the AUC of each, over the rows with a label.

    Args:
        model: In any mode, which it keeps.
        loader: The rows to validate on.

    Returns:
        ``validation_loss``, ``validation_auc_image`` and ``validation_auc_text``; None where they are undefined.
    """
    # Logits of both heads for every row.
    image, text, label = [], [], []
    with evaluating(model):
        for batch in loader.epoch(0):
            outputs = model(batch.to(model.device))
            image.append(outputs.image_logits)
            text.append(outputs.text_logits)
            label.append(batch.label)

    # Only rows with a label.
    labels = torch.cat(label)
    labelled = labels >= 0
    image_logits = torch.cat(image).cpu()[labelled]
    text_logits = torch.cat(text).cpu()[labelled]
    labels = labels[labelled]
    if len(labels) == 0:
        return {"validation_loss": None, "validation_auc_image": None, "validation_auc_text": None}

    # Logits in float64: the loss of a sure model is a difference of large numbers.
    loss = 0.0
    loss += float(cross_entropy(image_logits.double(), labels))
    loss += float(cross_entropy(text_logits.double(), labels))
    return {
        "validation_loss": loss,
        "validation_auc_image": _auc(image_logits, labels),
        "validation_auc_text": _auc(text_logits, labels),
    }


def _auc(logits: Tensor, label: Tensor) -> float | None:
    """Mean one-vs-rest AUC over the classes present; None where fewer than two are."""
    present = [int(k) for k in label.unique()]
    if len(present) < 2:
        return None

    # Each class against all others.
    probabilities = logits.double().softmax(dim=1).numpy()
    aucs = []
    for k in present:
        aucs.append(roc_auc_score(label.numpy() == k, probabilities[:, k]))
    return float(np.mean(aucs))
