"""The loss of image-text pairs: each finds its own among the others of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Of CLIP at its start, where it is learned: a constant here, so that a retrained model has the same loss.
TEMPERATURE = 0.07


def info_nce(
    one: Tensor, other: Tensor, study: Tensor, *, temperature: float = TEMPERATURE
) -> Tensor:
    """Contrastive loss of two modalities: cross-entropy of a sample's own partner among the batch's, both ways.

    Partners of the same study are neither right nor wrong and are left out.

    Args:
        one, other: Float[b, d], embeddings of the same samples.
        study: Int64[b], equal for samples that share a report.
        temperature: By which cosine similarities are divided, > 0.

    Returns:
        Scalar, >= 0; 0 for a single sample.

    Source: Radford et al. 2021 (arXiv 2103.00020), figure 3. Deviations: a constant temperature; images that share a
    report do not repel it.

    Examples:
        >>> own = torch.eye(2)
        >>> float(info_nce(own, own, torch.tensor([0, 1]))) < 1e-5
        True
    """
    # Cosine similarity of each with each.
    similarity = nn.functional.normalize(one, dim=1) @ nn.functional.normalize(other, dim=1).T
    logits = similarity / temperature

    # Another sample of one's own study is no impostor.
    own = torch.eye(len(study), dtype=torch.bool, device=study.device)
    shared = (study[:, None] == study[None, :]) & ~own
    logits = logits.masked_fill(shared, -torch.inf)

    # One finds the other among all others, and the other way round.
    place = torch.arange(len(study), device=study.device)
    forward = nn.functional.cross_entropy(logits, place)
    backward = nn.functional.cross_entropy(logits.T, place)
    return (forward + backward) / 2
