"""Choose single weights, and let a step move only those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.unlearning.importance import ENCODERS


def largest(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The weights with the largest scores, all tensors ranked together.

    Args:
        scores: Float tensors of any shapes, by name; without NaN.
        share: Share of all P elements, 0 to 1.

    Returns:
        Bool tensors of the same shapes with exactly floor(share P) ones; of equal scores the first are taken.
    """
    flat = torch.cat([values.flatten() for values in scores.values()])
    count = int(share * len(flat))
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    if count > 0:
        least = flat.kthvalue(len(flat) - count + 1).values
        tied = flat == least
        chosen = flat > least
        chosen |= tied & (tied.cumsum(0) <= count - chosen.sum())
    parts = chosen.split([values.numel() for values in scores.values()])
    return {
        name: part.reshape(values.shape)
        for (name, values), part in zip(scores.items(), parts, strict=True)
    }


def by_encoder(values: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by parameter name, separated into "image" and "text"; an encoder without any is left out."""
    parts = {
        encoder: {name: value for name, value in values.items() if name.startswith(root)}
        for encoder, root in ENCODERS.items()
    }
    return {encoder: part for encoder, part in parts.items() if part}


def largest_by_encoder(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """`largest`, each encoder ranked for itself, because the larger one would decide a common ranking alone."""
    return {
        name: mask
        for part in by_encoder(scores).values()
        for name, mask in largest(part, share).items()
    }


def shares(masks: Mapping[str, Tensor]) -> dict[str, float]:
    """Share of ones among each encoder's weights."""
    return {
        encoder: sum(int(mask.sum()) for mask in part.values())
        / sum(mask.numel() for mask in part.values())
        for encoder, part in by_encoder(masks).items()
    }


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

    def note(*_: Any) -> None:
        before[:] = [p.detach().clone() for p, _ in pairs]

    @torch.no_grad()
    def hold(*_: Any) -> None:
        for (p, mask), old in zip(pairs, before, strict=True):
            p.copy_(torch.where(mask, p, old if outside == 0 else old.lerp(p, outside)))

    def scaled(mask: Tensor) -> Any:
        return lambda gradient: torch.where(mask, gradient, gradient * outside)

    handles = [p.register_hook(scaled(mask)) for p, mask in pairs if p.requires_grad]
    handles += [optimiser.register_step_pre_hook(note), optimiser.register_step_post_hook(hold)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
