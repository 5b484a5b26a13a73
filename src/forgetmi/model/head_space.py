"""Between embeddings and their coordinates in the space of a linear head's logits."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import helmert
from torch import Tensor, nn

from forgetmi.core.arrays import Floats


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


class HeadSpace:
    """What one linear head reads of an embedding: coordinates of its centred logits, in double precision.

    Args:
        head: The frozen linear head.
    """

    def __init__(self, head: nn.Linear) -> None:
        basis = centred_basis(head.out_features)
        weight = head.weight.detach().double().cpu().numpy()
        bias = head.bias.detach().double().cpu().numpy()

        # From an embedding to coordinates, and the pseudo-inverse of that.
        self._weight: Floats = basis.T @ weight
        self._bias: Floats = basis.T @ bias
        self._inverse: Floats = np.asarray(np.linalg.pinv(self._weight), np.float64)

    def coordinates(self, embedding: Tensor) -> Floats:
        """Coordinates, Float[n, k - 1], of embeddings, Float[n, d]."""
        return embedding.double().cpu().numpy() @ self._weight.T + self._bias

    def embedding(self, near: Tensor, coordinates: Floats) -> Tensor:
        """The embeddings of given coordinates that are nearest to given ones.

        Args:
            near: Float[n, d].
            coordinates: Float[n, k - 1], reached exactly where the head has full rank.
        """
        # The shortest step that changes the coordinates as wanted.
        step = (coordinates - self.coordinates(near)) @ self._inverse.T
        return near + torch.from_numpy(step).to(near)
