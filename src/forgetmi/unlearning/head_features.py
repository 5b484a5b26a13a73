"""What the heads of a model read: embeddings of samples as they are, and the labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from forgetmi.core.batch import Batch, Model
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.labels import known
from forgetmi.unlearning.loop import unimodal


@dataclass(frozen=True)
class HeadFeatures:
    """What one head reads of some samples.

    Args:
        values: Float64[n, width], on the processor.
        label: Of the n samples, each known.
    """

    values: Tensor
    label: Tensor


@torch.no_grad()
def head_features(
    model: Model, batches: Iterable[Batch], heads: Iterable[str]
) -> dict[str, HeadFeatures]:
    """Embeddings of the samples with a label, head by head; a head does not read what lacks its modality.

    Args:
        model: Has an embedding for each head.
        batches: The samples.
        heads: Names of heads.
    """
    values: dict[str, list[Tensor]] = {head: [] for head in heads}
    labels: dict[str, list[Tensor]] = {head: [] for head in heads}
    for batch in batches:
        embedding = unimodal(model(batch))
        for head in values:
            there = (known(batch.label) & batch.there(head)).cpu()
            values[head].append(embedding[head].double().cpu()[there])
            labels[head].append(batch.label.cpu()[there])

    return {head: HeadFeatures(torch.cat(values[head]), torch.cat(labels[head])) for head in values}


def require_labels(features: Mapping[str, HeadFeatures]) -> None:
    """A head is fitted to something.

    Raises:
        MethodError: A head reads no sample with a label.
    """
    for head, of_head in features.items():
        if not len(of_head.label):
            raise MethodError(
                Fault(
                    f"no retained sample that the {head} head reads has a label",
                    why="a head cannot be fitted",
                )
            )
