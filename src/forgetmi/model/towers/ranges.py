"""Towers check that their inputs are in the range that they were made for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.jit._trace import is_tracing

from forgetmi.core.errors import Fault, MethodError

# Rounding of what was computed in bfloat16 or resized
_SLACK = 0.01


def assert_range(values: Tensor, low: float, high: float, *, what: str, do: str = "") -> None:
    """Refuse values outside a range, or that are no numbers.

    Nothing is checked while a model is exported: an exported model has no errors of its own.

    Args:
        values: Float[...], all of them are looked at.
        low, high: The range, with a hundredth of its width to spare on either side.
        what: What they are, for the message.
        do: What to do about it.

    Raises:
        MethodError: One lies outside.
    """
    if torch.compiler.is_compiling() or is_tracing() or values.numel() == 0:
        return

    slack = _SLACK * (high - low)
    least, most = torch.aminmax(values.detach())
    if float(least) >= low - slack and float(most) <= high + slack:
        return

    raise MethodError(
        Fault(
            f"{what} are not in [{low:g}, {high:g}]",
            why=f"they reach from {float(least):.4g} to {float(most):.4g}",
            do=do,
        )
    )


def assert_side(pixels: Tensor, size: int, channels: int) -> None:
    """Refuse pixels of another size, or with other channels than one (grey) or the tower's own.

    Args:
        pixels: Float[b, c, h, w].
        size: Side of the tower's images.
        channels: Channels of the tower's images.

    Raises:
        MethodError: They are others.
    """
    if tuple(pixels.shape[2:]) == (size, size) and pixels.shape[1] in (1, channels):
        return

    raise MethodError(
        Fault(
            f"the images have the shape {tuple(pixels.shape[1:])}",
            where="image tower",
            why=f"it reads 1 or {channels} channels of {size} x {size} pixels",
            do=f"Prepare them with --images.size {size}.",
        )
    )
