"""What a model outputs of a modality that a sample does not have: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor

    from forgetmi.core.batch import Batch, Outputs


def zero_where_absent(values: Tensor, batch: Batch, modality: str) -> Tensor:
    """Float[b, d], 0 for the samples that lack a modality; no gradient passes there.

    Args:
        values: Float[b, d], embeddings or logits of the modality.
        batch: The samples.
        modality: Which; one that no sample of the batch lacks leaves the values as they are.
    """
    if modality not in batch.present:
        return values
    return values.masked_fill(~batch.there(modality)[:, None], 0.0)


def without_absent(outputs: Outputs, batch: Batch) -> Outputs:
    """The same outputs, 0 in the logits and embeddings of a modality for the samples that lack it.

    All models then say the same of them, whatever their weights: losses have no gradient there, and no model is told
    from another by them.
    """
    if not batch.present:
        return outputs
    logits = {
        name: zero_where_absent(values, batch, name) for name, values in outputs.logits.items()
    }
    embedding = {
        name: zero_where_absent(values, batch, name) for name, values in outputs.embedding.items()
    }
    return type(outputs)(logits, embedding)
