"""The training losses: pure functions of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import added
from forgetmi.core.modalities import JOINT
from forgetmi.core.task import Task

Similarity = Literal["dot", "cosine", "l2"]


def ranking_loss(
    image_embedding: Tensor,
    text_embedding: Tensor,
    label: Tensor,
    study: Tensor,
    *,
    similarity: Similarity = "dot",
    task: Task,
) -> Tensor:
    """Hinge loss that ranks a sample's own report and image above the next sample's.

    The impostor of sample i is the next one, j = i + 1 (the last one's is the first). The margin is 0 where both share
    a study, else the task's: for grades 1/2 where a label is unknown, else max(1/2, |y_i - y_j|); for classes 1/2 (see
    `forgetmi.model.tasks` for the others). For
    image and text impostors alike, the mean over the batch of max(0, s(impostor pair) - s(own pair) + margin); the two
    are added.

    Args:
        image_embedding, text_embedding: Float[b, d].
        label: As the task has them.
        study: Int64[b], equal for images that share a report.
        similarity: dot product, cosine, or l2 (minus the Euclidean distance).
        task: Of the labels; it gives the margin between two studies.

    Returns:
        Scalar.

    Source: Chauhan et al. 2020 (arXiv 2008.09884), equation 2, as in the authors' joint_chestxray. Deviations: nominal
    labels; vectorised.
    """
    # Margin of each sample to the next one.
    margin = task.margin(label, label.roll(-1)).to(image_embedding)
    margin = margin.masked_fill(study == study.roll(-1), 0.0)

    # Similarity of the own pair, and of the pairs with an impostor.
    own = _similarity(image_embedding, text_embedding, similarity)
    image_impostor = _similarity(image_embedding.roll(-1, 0), text_embedding, similarity)
    text_impostor = _similarity(image_embedding, text_embedding.roll(-1, 0), similarity)

    # How far an impostor comes within the margin.
    image_loss = (image_impostor - own + margin).relu()
    text_loss = (text_impostor - own + margin).relu()
    return (image_loss + text_loss).mean()


def _similarity(a: Tensor, b: Tensor, kind: Similarity) -> Tensor:
    """Similarity of corresponding rows, Float[b]."""
    match kind:
        case "dot":
            return (a * b).sum(dim=1)
        case "cosine":
            return nn.functional.cosine_similarity(a, b, dim=1)
        case "l2":
            return -torch.linalg.vector_norm(a - b, dim=1)


class BaseLoss(NamedTuple):
    """The loss a model is trained with, and its parts: by head, and the ranking loss before its weight."""

    total: Tensor
    heads: dict[str, Tensor]
    ranking: Tensor

    def stacked(self) -> Tensor:
        """The total and its parts, Float[heads + 2], as `base_loss_names` names them."""
        return torch.stack([self.total, *self.heads.values(), self.ranking])


def base_loss_names(heads: Iterable[str]) -> tuple[str, ...]:
    """What a training's epoch calls the total and its parts: "loss", each head, "ranking"."""
    return ("loss", *heads, "ranking")


def _ranked(outputs: Outputs) -> list[str]:
    """The heads whose embeddings can be compared with each other, in order."""
    widths = {
        head: outputs.embedding[head].shape[1]
        for head in outputs.logits
        if head in outputs.embedding
    }
    first = next(iter(widths.values()), 0)
    return [head for head, width in widths.items() if width == first]


def heads_losses(
    outputs: Outputs, label: Tensor, *, task: Task, present: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The task's mean loss of each head, over the samples that have what the head reads.

    Args:
        outputs: Of b samples.
        label: As the task has them; unknown ones are left out.
        task: Of the labels.
        present: Bool[b] by modality, whether each sample has it; one that is not named is there for all.
    """
    losses: dict[str, Tensor] = {}
    for head, logits in outputs.logits.items():
        of_head = label
        if head in present:
            logits, of_head = logits[present[head]], label[present[head]]
        losses[head] = task.mean_loss(logits, of_head)
    return losses


def base_loss(
    outputs: Outputs, batch: Batch, *, task: Task, ranking_weight: float = 1.0
) -> BaseLoss:
    """The task's loss of each head, plus its loss of each two modalities' embeddings, the ranking loss.

    Of pairs, which have no heads, it is the contrastive loss of each two modalities, without the weight.

    Args:
        outputs: Of a model; heads without an embedding, or with embeddings of another width than the first's, are not
            ranked.
        batch: The samples, on the same device; who lacks a modality takes no part in what is computed from it.
        task: Of the labels.
        ranking_weight: Weight of the ranking loss, >= 0.

    Returns:
        Total and parts, scalars.

    Source: Chauhan et al. 2020 (arXiv 2008.09884), supervised mode, equal weights.
    """
    if not task.headed:
        links = _links(outputs, [name for name in outputs.embedding if name != JOINT], batch, task)
        if not links:
            raise MethodError(Fault("pairs need a model with the embeddings of two modalities"))
        contrast = added(links)
        return BaseLoss(contrast, {}, contrast)

    # Each head on its own, and the embeddings of each two against each other.
    heads = heads_losses(outputs, batch.label, task=task, present=batch.present)
    rankings = _links(outputs, _ranked(outputs), batch, task)

    # A single modality has nothing to be ranked against.
    everything = added(heads)
    ranking = added(rankings) if rankings else torch.zeros_like(everything)
    total = everything + ranking_weight * ranking
    return BaseLoss(total, heads, ranking)


def _links(
    outputs: Outputs, modalities: Iterable[str], batch: Batch, task: Task
) -> dict[str, Tensor]:
    """The task's loss of the embeddings of each two modalities, by both names."""
    links: dict[str, Tensor] = {}
    for one, other in combinations(modalities, 2):
        pair = outputs.embedding[one], outputs.embedding[other], batch.label, batch.study
        links[f"{one} and {other}"] = _link(pair, batch.present, (one, other), task)
    return links


def _link(
    pair: tuple[Tensor, Tensor, Tensor, Tensor],
    present: Mapping[str, Tensor],
    names: Sequence[str],
    task: Task,
) -> Tensor:
    """The task's loss of two embeddings, over the samples that have both modalities; 0 where none has."""
    missing = [present[name] for name in names if name in present]
    if not missing:
        return task.link(*pair)

    there = torch.stack(missing).all(dim=0)
    if not bool(there.any()):
        return pair[0].sum() * 0.0
    return task.link(*(values[there] for values in pair))
