"""What the heads of a model read: embeddings of samples as they are, and the labels."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from forgetmi.core.batch import Batch, Model
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.labels import known
from forgetmi.unlearning.loop import unimodal


@torch.no_grad()
def head_features(model: Model, batches: Iterable[Batch]) -> tuple[dict[str, Tensor], Tensor]:
    """Embeddings of the samples with a label, Float64[n, width] by modality, and the labels, on the processor.

    Raises:
        MethodError: No sample has a label.
    """
    found: dict[str, list[Tensor]] = {}
    labels: list[Tensor] = []
    for batch in batches:
        label = batch.label.cpu()
        there = known(label)
        labels.append(label[there])
        for name, values in unimodal(model(batch)).items():
            found.setdefault(name, []).append(values.double().cpu()[there])

    if not labels or not sum(len(label) for label in labels):
        raise MethodError(Fault("no retained image has a label", why="a head cannot be fitted"))
    features = {name: torch.cat(parts) for name, parts in found.items()}
    return features, torch.cat(labels)
