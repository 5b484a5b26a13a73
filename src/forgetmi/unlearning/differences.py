"""In what an unlearned model differs from the original."""

from __future__ import annotations

import torch
from torch import nn

from forgetmi.core.net import HEAD
from forgetmi.model.net_module import net_modules


def changed_tensors(model: nn.Module, result: nn.Module) -> tuple[str, ...]:
    """Names of the tensors that differ."""
    old, new = model.state_dict(), result.state_dict()
    return tuple(name for name in old if not torch.equal(old[name], new[name]))


def of_heads(model: nn.Module, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some tensors that belong to a head of the model, or of one that it consists of."""
    heads: set[int] = set()
    for net in net_modules(model):
        tensors = net.state_dict(keep_vars=True)
        for part, content in net.parts().items():
            if part.startswith(HEAD):
                heads.update(id(tensors[name]) for name in content.names)

    own = model.state_dict(keep_vars=True)
    return tuple(name for name in names if id(own[name]) in heads)


def distance_moved(model: nn.Module, result: nn.Module) -> float:
    """Euclidean distance between all parameters."""
    old, new = model.state_dict(), result.state_dict()

    # Parameters only, no running statistics.
    squares = 0.0
    for name, _ in model.named_parameters():
        difference = (new[name] - old[name]).double()
        squares += float(difference.square().sum())
    return squares**0.5
