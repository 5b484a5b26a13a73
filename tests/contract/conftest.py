"""One trained original and every registered method with the least work that still trains."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from torch import nn

from forgetmi.core.registry import methods
from forgetmi.methods.retrain import Retrain
from forgetmi.model.recipe import Recipe
from forgetmi.run.original_training import train_original
from tests.conftest import Small, gate_steps, prepare_small
from tests.shared_models import shared

RECIPE = Recipe(epochs=3)
LOGS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
"""What was kept while an original was trained, for the methods that need it."""


@pytest.fixture(scope="session")
def small(_own_cache: None) -> Small:
    """The fewest patients with which every set has some, and few layers: every method is run several times."""
    return prepare_small(patients=16, forget=20.0, widths=(8, 16), blocks=1)


@pytest.fixture(scope="session")
def train_once(small: Any) -> Callable[[str], nn.Module]:
    """The original a method works on, by the method's name; most share one."""
    prepared, partition = small.prepared, small.partition

    @functools.cache
    def train(kind: str) -> nn.Module:
        method = quick(kind) if kind else Retrain()
        # Rounding is small beside what a longer fit makes of the joint embedding
        with gate_steps(100):
            made = train_original(
                prepared=prepared, partition=partition, method=method, recipe=RECIPE, seed=3
            )
        LOGS[made.model] = made.log
        return shared(f"original {kind}".rstrip(), made.model)

    return train


@pytest.fixture(scope="module")
def original(name: str, train_once: Callable[[str], nn.Module]) -> nn.Module:
    if needs_public_towers(name):
        pytest.skip("it works on public towers alone: test_public_contract.py")
    return train_once(name if "training log" in methods.get(name).info.reads else "")


def needs_public_towers(name: str) -> bool:
    """Whether a method is refused on models with random towers, as this package's own has."""
    return "public towers" in getattr(methods.get(name), "needs", frozenset())


# As little as a method can do, by the names of its options
LITTLE: dict[str, Any] = {
    "epochs": 2,
    "train_epochs": 2,
    "repair_epochs": 2,
    "tune_epochs": 1,
    "repair_steps": 20,
    "copies": 3,
    "draws": 3,
    "shards": 2,
    "slices": 2,
    "orders": 2,
    "least": 2,
}


def quick(name: str, **changes: Any) -> Any:
    """A method that does little, with two epochs where it has epochs."""
    method = methods.get(name)()
    fields, wanted = {f.name for f in dataclasses.fields(method)}, LITTLE | changes
    return dataclasses.replace(
        method, **{key: value for key, value in wanted.items() if key in fields}
    )
