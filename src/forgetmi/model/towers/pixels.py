"""How towers of photographs read radiographs: the grey value in each channel, then mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from forgetmi.model.towers.ranges import assert_range, assert_side


class Normalise(nn.Module):
    """Grey values in [0, 1] as a tower of photographs expects them; has no weights.

    Args:
        size: Side of the images, pixels.
        mean, std: Of each channel, of values in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.size = size
        self.channels = len(mean)

        # They belong to the specification, and so are not stored among the weights
        shape = (1, len(mean), 1, 1)
        self.register_buffer("mean", torch.tensor(mean).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(shape), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float[b, 1 or c, h, w] in [0, 1] to Float[b, c, h, w].

        Raises:
            MethodError: Another size, or values outside [0, 1].
        """
        assert_side(pixels, self.size, self.channels)
        assert_range(pixels, 0.0, 1.0, what="pixels", do="Divide them by their largest value.")
        return (pixels.expand(-1, self.channels, -1, -1) - self.mean) / self.std
