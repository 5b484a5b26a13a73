"""A trained model's embeddings of a sample, averaged over augmentations: most of what it memorised is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from forgetmi.core.arrays import Ints
from forgetmi.data.noise import Perturbation
from forgetmi.unlearning.loaders import GuardedLoader
from forgetmi.unlearning.loop import embeddings


@dataclass(frozen=True)
class Mean:
    """Mean embedding of each of n samples over some draws.

    Args:
        vector: Float[n, d].
        length: Float[n], mean norm of the draws, which is at least the norm of their mean.
    """

    vector: Tensor
    length: Tensor

    @property
    def rescaled(self) -> Tensor:
        """The mean at the mean norm of the draws: averaging alone does not make a model less confident."""
        norm = torch.linalg.vector_norm(self.vector, dim=1)
        # A mean of length 0 stays 0 instead of being divided by it.
        smallest = torch.finfo(norm.dtype).tiny
        factor = self.length / norm.clamp(min=smallest)
        return self.vector * factor[:, None]


@dataclass(frozen=True)
class AveragedOutputs:
    """Both modalities' embeddings of n samples, averaged over augmentations, in the order of their rows.

    Args:
        label: Int64[n], -1 = unknown (all of them for a method that does not declare labels).
        image, text: Means over the draws.
    """

    label: Tensor
    image: Mean
    text: Mean


def mean_embedding(draws: Sequence[Tensor]) -> Mean:
    """Mean of the draws and of their norms.

    Args:
        draws: K >= 1 of Float[n, d].

    Examples:
        >>> mean = mean_embedding([torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])])
        >>> mean.vector.tolist(), mean.length.tolist()
        ([[1.5, 1.5]], [3.0])
    """
    # Sums in the order of the draws.
    norms = [torch.linalg.vector_norm(draw, dim=1) for draw in draws]
    total = reduce(torch.add, draws)
    length = reduce(torch.add, norms)
    return Mean(total / len(draws), length / len(draws))


@torch.no_grad()
def average_over_augmentations(
    teacher: nn.Module,
    loader: GuardedLoader,
    rows: Ints,
    perturbations: Sequence[Perturbation | None],
) -> AveragedOutputs:
    """Mean embedding of some samples under a frozen model, one draw for each perturbation.

    Args:
        teacher: A frozen model (see `forgetmi.unlearning.teacher.frozen`).
        loader: The set the rows are of.
        rows: Int[n], fixed rows in a fixed order, or a resumed run would round differently.
        perturbations: K >= 1, each with its own ``draw``; None = the unchanged samples.
    """
    labels: list[Tensor] = []
    images: list[Mean] = []
    texts: list[Mean] = []

    # The same batch of samples from every stream, each stream with its own perturbation.
    streams = [loader.batches(rows, perturbation=perturbation) for perturbation in perturbations]
    for versions in zip(*streams, strict=True):
        image_draws: list[Tensor] = []
        text_draws: list[Tensor] = []
        for batch in versions:
            image, text, _ = embeddings(teacher(batch))
            image_draws.append(image.float())
            text_draws.append(text.float())

        images.append(mean_embedding(image_draws))
        texts.append(mean_embedding(text_draws))
        labels.append(versions[0].label)

    return AveragedOutputs(torch.cat(labels), _concatenated(images), _concatenated(texts))


def _concatenated(parts: Sequence[Mean]) -> Mean:
    # All batches as one.
    vector = torch.cat([part.vector for part in parts])
    length = torch.cat([part.length for part in parts])
    return Mean(vector, length)
