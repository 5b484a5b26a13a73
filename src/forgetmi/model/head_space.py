"""Between embeddings and their coordinates in the space of a linear head's logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import helmert
from torch import Tensor, nn

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.labels import known_cells
from forgetmi.core.task import Cells


def centred_basis(classes: int) -> Floats:
    """Orthonormal basis of the logits that sum to zero: the part of its logits that a softmax depends on.

    Args:
        classes: Number k of classes, >= 2.

    Returns:
        Float[k, k - 1]; ``logits @ basis`` are the k - 1 coordinates.

    Examples:
        >>> centred_basis(2).round(3).tolist()
        [[0.707], [-0.707]]
    """
    return helmert(classes).T


@dataclass(frozen=True, eq=False)
class Unit:
    """What of a label is given at once; see `forgetmi.core.task.Cells`.

    Args:
        columns: Which coordinates depend on it.
        along: Float[cells, columns], the direction in which each cell's own logit grows.
    """

    columns: slice
    along: Floats


def class_units(classes: int) -> tuple[Unit, ...]:
    """One unit with a cell for each class, and all coordinates of the centred logits."""
    basis = centred_basis(classes)
    return (Unit(slice(0, classes - 1), basis),)


def finding_units(findings: int) -> tuple[Unit, ...]:
    """A unit for each finding: one coordinate, its logit, and two cells, absent and present."""
    along = np.array([[-1.0], [1.0]])
    return tuple(Unit(slice(number, number + 1), along) for number in range(findings))


class HeadSpace:
    """What one linear head reads of an embedding, in double precision.

    Args:
        head: The frozen linear head.
        basis: Float[k, d], of which part of the logits the d coordinates are.
        units: What the coordinates depend on.
        cells: From labels to the cell of each in each unit, Int[n, units], -1 = unknown.
    """

    def __init__(
        self,
        head: nn.Linear,
        *,
        basis: Floats,
        units: tuple[Cells, ...],
        cells: Callable[[Any], Ints],
    ) -> None:
        weight = head.weight.detach().double().cpu().numpy()
        bias = head.bias.detach().double().cpu().numpy()
        self.units = units
        self._cells = cells
        self._basis = basis

        # From an embedding to coordinates, and the pseudo-inverse of that.
        self._weight: Floats = basis.T @ weight
        self._bias: Floats = basis.T @ bias
        self._inverse: Floats = np.asarray(np.linalg.pinv(self._weight), np.float64)

    def cells(self, label: Any) -> Ints:
        """The cell of each label in each unit, Int[n, units], -1 = unknown."""
        return self._cells(label)

    def coordinates(self, embedding: Tensor) -> Floats:
        """Coordinates, Float[n, d], of embeddings."""
        return embedding.double().cpu().numpy() @ self._weight.T + self._bias

    def of_logits(self, logits: Floats) -> Floats:
        """Coordinates, Float[n, d], of logits, whatever model they are of."""
        return np.asarray(logits, np.float64) @ self._basis

    def embedding(self, near: Tensor, coordinates: Floats) -> Tensor:
        """The embeddings of given coordinates that are nearest to given ones.

        Args:
            near: Embeddings, Float[n, width].
            coordinates: Float[n, d], reached exactly where the head has full rank.
        """
        # The shortest step that changes the coordinates as wanted.
        step = (coordinates - self.coordinates(near)) @ self._inverse.T
        return near + torch.from_numpy(step).to(near)


def class_space(head: nn.Linear) -> HeadSpace:
    """The k - 1 centred logits of a head of k classes."""
    classes = head.out_features
    return HeadSpace(
        head,
        basis=centred_basis(classes),
        units=class_units(classes),
        cells=lambda label: np.asarray(label)[:, None],
    )


def finding_space(head: nn.Linear) -> HeadSpace:
    """The f logits of a head of f findings."""
    findings = head.out_features

    def cells(label: Any) -> Ints:
        there = known_cells(label)
        return np.where(there, np.nan_to_num(label), -1).astype(np.int64)

    return HeadSpace(head, basis=np.eye(findings), units=finding_units(findings), cells=cells)
