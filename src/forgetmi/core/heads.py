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


def each_head(
    function: Callable[..., Tensor],
    *outputs: Outputs,
    along: Sequence[Tensor] = (),
    present: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """A function of each head's logits, under one model or several, by head.

    Args:
        function: Takes the logits of one head under each of the models, then what goes along.
        outputs: The first one's heads are taken, in their order.
        along: More tensors of the same samples, such as their labels.
        present: Bool[b] by modality: a head's function gets the samples alone that have its modality, and is 0 where
            none has; None = nobody lacks any.
    """
    values: dict[str, Tensor] = {}
    for head in outputs[0].logits:
        given = [*(one.head(head) for one in outputs), *along]
        there = (present or {}).get(head)
        if there is None:
            values[head] = function(*given)
        else:
            values[head] = mean_of_those_there(function, given, there)
    return values


def mean_of_those_there(
    function: Callable[..., Tensor], given: Sequence[Tensor], there: Tensor | None
) -> Tensor:
    """A mean over samples, of those alone that have what it looks at; 0 where none has.

    Args:
        function: From tensors of b samples to a scalar.
        given: Its arguments.
        there: Bool[b]; None = all.
    """
    if there is None:
        return function(*given)

    # A sum over nothing is 0, and has a gradient of 0
    chosen = [values[there] for values in given]
    return function(*chosen) if bool(there.any()) else chosen[0].sum()


def own_heads(outputs: Outputs, modality: str) -> list[str]:
    """The heads in which a modality speaks: that of its name, else all."""
    return [modality] if modality in outputs.logits else list(outputs.logits)


def mean_of(terms: Sequence[Tensor]) -> Tensor:
    """The mean of some tensors of one shape, element by element; of a single one itself."""
    total = reduce(operator.add, terms)
    return total if len(terms) == 1 else total / len(terms)


def mean_of_heads_there(terms: Sequence[Tensor], there: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Each sample's mean over the heads whose modality it has, and which samples have any.

    Args:
        terms: Float[b] by head.
        there: Bool[b] by head.
    """
    any_head = reduce(operator.or_, there)
    if all(bool(one.all()) for one in there):
        return mean_of(terms), any_head

    # What a head says of a sample without its modality does not count
    kept = [term.where(one, 0) for term, one in zip(terms, there, strict=True)]
    count = reduce(operator.add, [one.to(terms[0].dtype) for one in there])
    return reduce(operator.add, kept) / count.clamp(min=1), any_head


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
