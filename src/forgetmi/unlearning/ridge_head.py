"""A linear head as a strictly convex problem: its minimiser, the Newton step that removes samples, the certificate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.task import Objective


def newton(objective: Objective, weight: Tensor) -> Tensor:
    """One Newton step; exact on a quadratic.

    Examples:
        >>> def parabola(weight):  # (w - 3)^2, from w to gradient and Hessian
        ...     return 2 * (weight - 3), torch.tensor([[2.0]])
        >>> newton(parabola, torch.zeros(1)).tolist()
        [3.0]
    """
    gradient, hessian = objective(weight)

    # Outputs that do not depend on each other have a block each.
    if hessian.ndim == 3:
        blocks = gradient.view(*hessian.shape[:2])
        return weight - torch.linalg.solve(hessian, blocks).reshape(-1)
    return weight - torch.linalg.solve(hessian, gradient)


def minimise(
    objective: Objective, start: Tensor, *, tolerance: float = 1e-9, steps: int = 200
) -> Tensor:
    """The minimiser of a strictly convex objective, by Newton steps that are shortened until the gradient shrinks.

    Raises:
        MethodError: The gradient does not fall below ``tolerance`` (1 + its norm at the start).
    """
    weight = start
    norm = float(objective(weight)[0].norm())
    goal = tolerance * (1 + norm)

    for _ in range(steps):
        if norm <= goal:
            return weight

        # The whole Newton step; half of it for as long as the gradient does not shrink.
        step = newton(objective, weight) - weight
        size = 1.0
        moved = weight + step
        new_norm = float(objective(moved)[0].norm())
        while new_norm >= norm and size > 1e-6:
            size /= 2
            moved = weight + size * step
            new_norm = float(objective(moved)[0].norm())
        if size <= 1e-6:
            break
        weight, norm = moved, new_norm

    if norm <= goal:
        return weight
    raise MethodError(
        Fault(
            "the head could not be fitted",
            why=f"the gradient's norm stays at {norm:.3g}",
            do="Use a larger ridge.",
        )
    )


def certified_epsilon(residual: float, *, std: float, delta: float) -> float:
    """Epsilon of the removal: ``sqrt(2 ln(1.5 / delta)) residual / std``.

    Args:
        residual: Norm of the objective's gradient on the retained after the removal, >= 0.
        std: Standard deviation of the objective's random linear term, > 0.
        delta: Above 0 to below 1.

    Source: Guo et al. 2020, theorem 3.

    Examples:
        >>> certified_epsilon(0.0, std=1.0, delta=1e-4)
        0.0
    """
    return math.sqrt(2 * math.log(1.5 / delta)) * residual / std
