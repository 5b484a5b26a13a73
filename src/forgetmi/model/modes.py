"""Training and evaluation mode, restored exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from forgetmi.model.net_module import net_modules


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode for a block and give every module its own mode back after."""
    # Modules may be in different modes, so each is noted.
    modes = [(module, module.training) for module in model.modules()]

    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def learning(model: nn.Module) -> None:
    """Put a model in training mode, but for batch norms whose weights are frozen: they go on using their statistics.

    Frozen layers thus stay as they are in every tensor; in plain training mode their running statistics would move.
    """
    model.train()
    for module in model.modules():
        if not isinstance(module, nn.BatchNorm2d):
            continue

        # In eval mode it uses its running statistics and leaves them alone.
        frozen = not any(weight.requires_grad for weight in module.parameters())
        if frozen:
            module.eval()

    # Where a carrier moves a few layers alone, all others give the same for the same sample; beside adapters they
    # keep their statistics
    for net in net_modules(model):
        if net.execution.still == "layers":
            _still(net)
        if net.execution.still == "norms":
            _still_norms(net)


def _still(module: nn.Module) -> None:
    """Put what no weight of moves in eval mode; a module whose weights all move keeps its dropout."""
    weights = [weight.requires_grad for weight in module.parameters()]
    if not any(weights):
        module.eval()
    elif not all(weights):
        for child in module.children():
            _still(child)


def _still_norms(net: nn.Module) -> None:
    """Put every norm that keeps running statistics and does not move itself in eval mode."""
    for module in net.modules():
        keeps = isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats
        if keeps and not any(weight.requires_grad for weight in module.parameters()):
            module.eval()
