"""Choose single weights, and let a step move only those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Names of parameters by modality
Branches = Mapping[str, Iterable[str]]


def largest(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The weights with the largest scores, all tensors ranked together.

    Args:
        scores: Float tensors of any shapes, by name; without NaN.
        share: Share of all P elements, 0 to 1.

    Returns:
        Bool tensors of the same shapes with exactly floor(share P) ones; of equal scores the first are taken.

    Examples:
        >>> largest({"weight": torch.tensor([3.0, 1.0, 2.0, 0.0])}, 0.5)["weight"].tolist()
        [True, False, True, False]
    """
    # All tensors as one ranking.
    flat = torch.cat([values.flatten() for values in scores.values()])
    count = int(share * len(flat))
    chosen = torch.zeros_like(flat, dtype=torch.bool)

    if count > 0:
        # Everything above the count-th largest score, then the first of those that tie with it.
        smallest = flat.kthvalue(len(flat) - count + 1).values
        tied = flat == smallest
        chosen = flat > smallest
        chosen |= tied & (tied.cumsum(0) <= count - chosen.sum())

    # Back to the tensors' shapes.
    sizes = [values.numel() for values in scores.values()]
    masks: dict[str, Tensor] = {}
    for (name, values), part in zip(scores.items(), chosen.split(sizes), strict=True):
        masks[name] = part.reshape(values.shape)
    return masks


def by_encoder(values: Mapping[str, Tensor], branches: Branches) -> dict[str, dict[str, Tensor]]:
    """Tensors by parameter name, separated by modality; an encoder without any is left out.

    Args:
        values: By parameter name.
        branches: The parameters of each, see `forgetmi.model.net_module.branches`.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for encoder, names in branches.items():
        own = frozenset(names)
        part = {name: value for name, value in values.items() if name in own}
        if part:
            parts[encoder] = part
    return parts


def largest_by_encoder(
    scores: Mapping[str, Tensor], share: float, branches: Branches
) -> dict[str, Tensor]:
    """`largest`, each encoder ranked for itself, because the larger one would decide a common ranking alone."""
    masks: dict[str, Tensor] = {}
    for part in by_encoder(scores, branches).values():
        masks |= largest(part, share)
    return masks


def shares(masks: Mapping[str, Tensor], branches: Branches) -> dict[str, float]:
    """Share of ones among each encoder's weights."""
    result: dict[str, float] = {}
    for encoder, part in by_encoder(masks, branches).items():
        # All masks of an encoder together.
        ones = sum(int(mask.sum()) for mask in part.values())
        weights = sum(mask.numel() for mask in part.values())
        result[encoder] = ones / weights
    return result


@contextmanager
def masked(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    masks: Mapping[str, Tensor],
    *,
    outside: float = 0.0,
) -> Iterator[None]:
    """For a block, let an optimiser's steps move the chosen weights in full and all others less, or not at all.

    Outside the mask both the gradient (hence clipping and the optimiser's moments) and the change a step makes are
    multiplied by ``outside``. At 0 those weights stay bit-identical, whatever weight decay does; with a mask of ones
    alone the step is the unmasked one, bit for bit. Parameters without a mask move freely.

    Args:
        model: Its parameters are named by the masks.
        optimiser: Over these parameters.
        masks: Bool tensors by parameter name.
        outside: Factor outside the mask, 0 to 1. Adam divides a factor on the gradient out again; the one on the change
            is what counts.
    """
    pairs = [(model.get_parameter(name), mask) for name, mask in masks.items()]
    before: list[Tensor] = []

    def remember(*_: Any) -> None:
        before[:] = [parameter.detach().clone() for parameter, _ in pairs]

    @torch.no_grad()
    def scale_change(*_: Any) -> None:
        for (parameter, mask), old in zip(pairs, before, strict=True):
            unchosen = old if outside == 0 else old.lerp(parameter, outside)
            parameter.copy_(torch.where(mask, parameter, unchosen))

    def scale_gradient(mask: Tensor) -> Any:
        return lambda gradient: torch.where(mask, gradient, gradient * outside)

    # Gradients are scaled as they arrive; the weights' change is scaled after each step.
    handles: list[Any] = []
    for parameter, mask in pairs:
        if parameter.requires_grad:
            handles.append(parameter.register_hook(scale_gradient(mask)))
    handles.append(optimiser.register_step_pre_hook(remember))
    handles.append(optimiser.register_step_post_hook(scale_change))

    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
