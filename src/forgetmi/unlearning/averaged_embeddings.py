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
from forgetmi.unlearning.loop import unimodal


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
    """Each modality's embeddings of n samples, averaged over augmentations, in the order of their rows.

    Args:
        label: Int64[n], -1 = unknown (all of them for a method that does not declare labels).
        means: Means over the draws, by modality.
        present: Bool[n] by modality, whether each sample has it; only modalities that some lack.
    """

    label: Tensor
    means: dict[str, Mean]
    present: dict[str, Tensor]

    def there(self, modality: str) -> Tensor:
        """Bool[n], which samples have a modality."""
        everyone = torch.ones(len(self.label), dtype=torch.bool)
        return self.present.get(modality, everyone)

    @property
    def rescaled(self) -> dict[str, Tensor]:
        """Each modality's means at the mean norm of the draws, see `Mean.rescaled`."""
        return {name: mean.rescaled for name, mean in self.means.items()}


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
    means: dict[str, list[Mean]] = {}

    # The same batch of samples from every stream, each stream with its own perturbation.
    streams = [loader.batches(rows, perturbation=perturbation) for perturbation in perturbations]
    for versions in zip(*streams, strict=True):
        draws: dict[str, list[Tensor]] = {}
        for batch in versions:
            for name, values in unimodal(teacher(batch)).items():
                draws.setdefault(name, []).append(values.float())

        for name, draws_of_one in draws.items():
            means.setdefault(name, []).append(mean_embedding(draws_of_one))
        labels.append(versions[0].label)

    together = {name: _concatenated(parts) for name, parts in means.items()}
    present = {name: there.cpu() for name, there in loader.present(rows).items()}
    return AveragedOutputs(torch.cat(labels), together, present)


def _concatenated(parts: Sequence[Mean]) -> Mean:
    # All batches as one.
    vector = torch.cat([part.vector for part in parts])
    length = torch.cat([part.length for part in parts])
    return Mean(vector, length)
