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
        ids: Int64[b, l], padded to the longest text of the batch. For a tower also Float[b, l, hidden], word embeddings
            in place of the ids.
        mask: Int64[b, l], 1 = a token, 0 = padding.
    """

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Series:
    """Measurements over time: an ECG, vital signs.

    Args:
        values: Float[b, channels, t], padded to the longest of the batch; NaN = not measured.
        mask: Bool[b, t], where there is a time step.
    """

    values: Tensor
    mask: Tensor


# Columns of a table, Float[b, c]; NaN = missing
Table: TypeAlias = "Tensor"

# Pixels, Float[b, channels, h, w] in [0, 1], or one of the kinds above
Inputs: TypeAlias = "Tensor | Tokens | Series"


def each_tensor(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same kind of input, with each of its tensors changed."""
    if isinstance(inputs, Tokens):
        return Tokens(change(inputs.ids), change(inputs.mask))
    if isinstance(inputs, Series):
        return Series(change(inputs.values), change(inputs.mask))
    return change(inputs)
