"""Running statistics of batch norms: forgotten, and measured anew on chosen samples."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from forgetmi.core.batch import Batch
from forgetmi.model.modes import evaluating
from forgetmi.model.net_module import NetModule


def batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The layers of a model that keep running statistics."""
    found: list[nn.modules.batchnorm._BatchNorm] = []
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            found.append(module)
    return found


def reset_statistics(model: nn.Module) -> None:
    """Forget all running statistics, in place: mean 0, variance 1, no batch counted."""
    for layer in batch_norms(model):
        layer.reset_running_stats()


@torch.no_grad()
def measure_statistics(model: NetModule, batches: Iterable[Batch]) -> None:
    """Replace all running statistics by plain means over the given batches, in place; nothing else changes.

    Without batches, or without batch norms, the model stays as it is.

    Args:
        model: In any mode, which it gets back. Dropout is off.
        batches: Of at least two samples each; smaller ones are left out.
    """
    layers = batch_norms(model)
    usable = [batch for batch in batches if len(batch) > 1] if layers else []
    if not usable:
        return
    reset_statistics(model)

    momenta = [layer.momentum for layer in layers]
    with evaluating(model):
        # Without momentum each batch counts the same
        for layer in layers:
            layer.train()
            layer.momentum = None
        for batch in usable:
            model(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
