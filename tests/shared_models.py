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


def changes(asked_for: frozenset[str] | None = None) -> list[str]:
    """What has changed since the last call, as sentences; what can be put right is put right.

    Args:
        asked_for: Names of fixtures whose models are looked at, the weights one by one; None = all models, by looks.
    """
    found = []
    for name, model, weights, looks in list(_SHARED.values()):
        # A name says the fixture first, then the kind
        if asked_for is not None and name.partition(" ")[0] not in asked_for:
            continue

        what = [
            kind for kind, one, two in zip(KINDS, looks, _looks(model), strict=True) if one != two
        ]
        is_asked_for = asked_for is not None and name in asked_for
        if not what and is_asked_for and parameter_digest(model) != weights:
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
    tensors: list[Any] = []
    gradients: list[Any] = []
    modes: list[Any] = []
    hanging: list[Any] = []

    # By hand: the modules' own iterators take several times as long, and this is done after every test
    waiting: list[nn.Module] = [model]
    seen: set[int] = set()
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        own = vars(module)
        for weight in own["_parameters"].values():
            if weight is not None:
                tensors.append((weight.data_ptr(), weight._version))
                gradients.append((weight.grad is None, weight.requires_grad))
        for buffer in own["_buffers"].values():
            if buffer is not None:
                tensors.append((buffer.data_ptr(), buffer._version))
        modes.append(own["training"])
        hanging.append((len(own), len(own["_forward_hooks"]), len(own["_forward_pre_hooks"])))
        waiting.extend(child for child in own["_modules"].values() if child is not None)
    return tensors, gradients, modes, hanging
