"""What a model reads of samples, modality by modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Texts as tokens.

    Args:
        ids: Int64[b, l], padded to the longest text of the batch.
        mask: Int64[b, l], 1 = a token, 0 = padding.
    """

    ids: Tensor
    mask: Tensor


# Pixels, Float[b, channels, h, w] in [0, 1], or tokens
Inputs: TypeAlias = "Tensor | Tokens"


def each_tensor(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same kind of input, with each of its tensors changed."""
    if isinstance(inputs, Tokens):
        return Tokens(change(inputs.ids), change(inputs.mask))
    return change(inputs)
