"""What is computed head by head: a loss of each head's logits, and their sum in one fixed order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

from forgetmi.core.errors import Fault, MethodError

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor

    from forgetmi.core.batch import Outputs

T = TypeVar("T")


def each_head(function: Callable[..., Tensor], *outputs: Outputs) -> dict[str, Tensor]:
    """A function of each head's logits, under one model or several, by head.

    Args:
        function: Takes the logits of one head under each of the models.
        outputs: The first one's heads are taken, in their order.
    """
    values: dict[str, Tensor] = {}
    for head in outputs[0].logits:
        values[head] = function(*(one.head(head) for one in outputs))
    return values


def own_heads(outputs: Outputs, modality: str) -> list[Tensor]:
    """The logits in which a modality speaks: those of the head of its name, else those of all heads."""
    if modality in outputs.logits:
        return [outputs.logits[modality]]
    return list(outputs.logits.values())


def mean_of(terms: Sequence[Tensor]) -> Tensor:
    """The mean of some tensors of one shape, element by element; of a single one itself."""
    total = reduce(operator.add, terms)
    return total if len(terms) == 1 else total / len(terms)


def added(terms: Mapping[str, T]) -> T:
    """The sum of the terms, from the first to the last: another order would round differently.

    Raises:
        MethodError: There are none.

    Examples:
        >>> added({"image": 1.0, "text": 2.5})
        3.5
    """
    if not terms:
        raise MethodError(Fault("the model predicts no label, and this loss is of predictions"))
    add: Callable[[Any, Any], Any] = operator.add
    return reduce(add, terms.values())
