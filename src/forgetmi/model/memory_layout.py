"""How pictures lie in memory: convolutions of a GPU are faster with the channels of a pixel side by side."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(images: Tensor) -> Tensor:
    """Pictures as a GPU's convolutions take them; on other devices as they are.

    What a convolution makes of them lies alike, so that this is due once, before the first. Values do not change.

    Args:
        images: Float[b, c, h, w]; anything of other dimensions is returned as it is.
    """
    if images.device.type != "cuda" or images.ndim != 4:
        return images
    return channels_together(images)


def channels_together(images: Tensor) -> Tensor:
    """The same on any device."""
    if images.shape[1] > 1:
        return images.contiguous(memory_format=torch.channels_last)

    # Of one channel both layouts are the same memory; which one is meant only the strides say.
    height, width = images.shape[2:]
    strides = (height * width, 1, width, 1)
    return images.contiguous().as_strided(images.shape, strides)
