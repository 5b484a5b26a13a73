"""Between embeddings and what a linear head reads of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.arrays import Floats
from forgetmi.unlearning.transport import centred_basis


class HeadSpace:
    """What one linear head reads of an embedding: coordinates of its centred logits, in double precision.

    Args:
        head: The frozen linear head.
    """

    def __init__(self, head: nn.Linear) -> None:
        basis = centred_basis(head.out_features)
        self._weight: Floats = basis.T @ head.weight.detach().double().cpu().numpy()
        self._bias: Floats = basis.T @ head.bias.detach().double().cpu().numpy()
        self._back: Floats = np.asarray(np.linalg.pinv(self._weight), np.float64)

    def coordinates(self, embedding: Tensor) -> Floats:
        """Float[n, k - 1] of Float[n, d]."""
        return embedding.double().cpu().numpy() @ self._weight.T + self._bias

    def embedding(self, near: Tensor, coordinates: Floats) -> Tensor:
        """The embeddings of given coordinates that are nearest to given ones.

        Args:
            near: Float[n, d].
            coordinates: Float[n, k - 1], reached exactly where the head has full rank.
        """
        step = (coordinates - self.coordinates(near)) @ self._back.T
        return near + torch.from_numpy(step).to(near)
