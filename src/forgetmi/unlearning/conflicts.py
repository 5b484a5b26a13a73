"""Gradients of two terms that pull against each other, combined without the parts that do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def without_conflict(terms: Sequence[Tensor], model: nn.Module) -> Tensor:
    """A scalar whose gradient is the sum of the terms' gradients, each without its part against any other.

    Its value means nothing. Where no two conflict the gradient is that of the plain sum.

    Args:
        terms: Scalars with gradients.
        model: Its parameters that ask for gradients are those that count.

    Source: Yu et al. 2020 (arXiv 2001.06782), PCGrad; deviation: each is projected on the others' own gradients in
    their order, not in a random one.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [_vector(term, parameters) for term in terms]
    combined = torch.stack(projected(gradients)).sum(dim=0)

    # The gradient of the product with a constant is that constant
    parts = combined.split([parameter.numel() for parameter in parameters])
    products = [
        (parameter * part.view_as(parameter)).sum()
        for parameter, part in zip(parameters, parts, strict=True)
    ]
    return torch.stack(products).sum()


def projected(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Each gradient without its parts against the others.

    Args:
        gradients: Float[d] each.

    Examples:
        >>> one, other = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
        >>> [gradient.tolist() for gradient in projected([one, other])]
        [[0.5, 0.5], [0.0, 1.0]]
    """
    results: list[Tensor] = []
    for number, gradient in enumerate(gradients):
        result = gradient.clone()
        for other_number, other in enumerate(gradients):
            if other_number == number:
                continue

            # A positive product is no conflict, and a gradient of 0 has no direction
            product = torch.dot(result, other)
            square = torch.dot(other, other)
            if bool(product < 0) and bool(square > 0):
                result -= product / square * other
        results.append(result)
    return results


def _vector(term: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """The gradient of a scalar as one vector, 0 where it does not depend on a parameter."""
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    parts: list[Tensor] = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        part = torch.zeros_like(parameter) if gradient is None else gradient
        parts.append(part.reshape(-1))
    return torch.cat(parts)
