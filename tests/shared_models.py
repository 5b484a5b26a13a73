"""Models that many tests share: a test that changes one fails itself, by its own name."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from forgetmi.model.image_text import parameter_digest

M = TypeVar("M", bound=nn.Module)
KINDS = ("its weights or statistics", "its gradients", "its mode", "its hooks or attributes")

# Each model with its fixture's name and what was last seen of it: weights by digest, and what is cheap to look at
_SHARED: dict[int, tuple[str, nn.Module, str, tuple[Any, ...]]] = {}


def shared(name: str, model: M) -> M:
    """Hand out a model that no test may change, in eval mode and without gradients.

    Args:
        name: Of the fixture that hands it out; tests that ask for it are looked at most closely.
        model: The model.
    """
    model.eval().zero_grad()
    _remember(name, model)
    return model


def changes(asked_for: frozenset[str]) -> list[str]:
    """What has changed since the last call, as sentences; what can be put right is put right.

    Args:
        asked_for: Names of fixtures whose models are compared weight by weight, not by looks alone.
    """
    found = []
    for name, model, weights, looks in list(_SHARED.values()):
        what = [
            kind for kind, one, two in zip(KINDS, looks, _looks(model), strict=True) if one != two
        ]
        if not what and name in asked_for and parameter_digest(model) != weights:
            what = [KINDS[0]]
        if what:
            found.append(f"{name}: {', '.join(what)}")
            model.eval().zero_grad()
            _remember(name, model)
    return found


def _remember(name: str, model: nn.Module) -> None:
    _SHARED[id(model)] = (name, model, parameter_digest(model), _looks(model))


def _looks(model: nn.Module) -> tuple[Any, ...]:
    """Places and versions of tensors, who has gradients, modes, and what hangs on each module: no value is read."""
    tensors = [*model.parameters(), *model.buffers()]
    modules = list(model.modules())
    return (
        [(tensor.data_ptr(), tensor._version) for tensor in tensors],
        [(p.grad is None, p.requires_grad) for p in model.parameters()],
        [module.training for module in modules],
        [(len(vars(one)), len(one._forward_hooks), len(one._forward_pre_hooks)) for one in modules],
    )
