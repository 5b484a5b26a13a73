"""The watch over models that tests share: each kind of change is found, and named once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.shared_models import changes, shared


def small_change(model: nn.Module) -> None:
    with torch.no_grad():
        model[0].weight[0, 0] += 1e-6  # type: ignore[index]


def behind_the_version(model: nn.Module) -> None:
    model[0].weight.data[0, 0] += 1e-6  # type: ignore[index]


def gradients(model: nn.Module) -> None:
    model(torch.ones(1, 2)).sum().backward()


CHANGES: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "weights": (small_change, "its weights or statistics"),
    "weights through .data": (behind_the_version, "its weights or statistics"),
    "other weights": (lambda model: model[0].reset_parameters(), "its weights or statistics"),  # type: ignore[index,operator]
    "gradients": (gradients, "its gradients"),
    "frozen": (lambda model: model.requires_grad_(False), "its gradients"),
    "mode": (lambda model: model[1].train(), "its mode"),  # type: ignore[index]
    "hook": (
        lambda model: model.register_forward_hook(lambda *given: None),
        "its hooks or attributes",
    ),
    "attribute": (lambda model: setattr(model, "forward", None), "its hooks or attributes"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_and_named(name: str) -> None:
    change, what = CHANGES[name]
    model = shared("watched", nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    asked_for = frozenset({"watched"})
    assert changes(asked_for) == []
    change(model)
    assert changes(asked_for) == [f"watched: {what}"]
    assert changes(asked_for) == []


def test_a_model_that_was_not_asked_for_is_looked_at_with_all_others() -> None:
    model = shared("watched kind", nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    small_change(model)
    assert changes(frozenset({"another"})) == []
    assert changes(None) == ["watched kind: its weights or statistics"]
    assert changes(None) == []
