"""Which parameters the authors' release decays, and its optimiser."""

from __future__ import annotations

from typing import Any

from torch import nn

from forgetmi.model.optimiser import TransformersAdamW

__all__ = ["TransformersAdamW", "parameter_groups"]

NO_DECAY = ("bias", "LayerNorm.weight")


def parameter_groups(
    model: nn.Module, *, weight_decay: float, decay_batch_norm: bool = True
) -> list[dict[str, Any]]:
    """Parameters that may move: decayed, and not decayed because of ``bias`` or ``LayerNorm`` in their name.

    Args:
        model: Frozen parameters are left out.
        weight_decay: Of the first group.
        decay_batch_norm: Whether the weights of batch normalisation, whose names hold neither, are decayed.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []

    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue

        # Parameters of one dimension are biases and those of norm layers.
        spared_by_name = any(part in name for part in NO_DECAY)
        spared_by_form = parameter.ndim == 1 and not decay_batch_norm
        if spared_by_name or spared_by_form:
            spared.append(parameter)
        else:
            decayed.append(parameter)

    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
