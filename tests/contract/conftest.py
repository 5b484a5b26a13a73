"""One trained original and every registered method with the least work that still trains."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from torch import nn

from forgetmi import api
from forgetmi.methods.sisa import Sisa
from forgetmi.methods.update_log import UpdateLog
from forgetmi.model.train import Recipe
from forgetmi.registry import methods

RECIPE = Recipe(epochs=3)
LOGS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
"""What was kept while an original was trained, for the methods that need it."""


@pytest.fixture(scope="session")
def train_once(small: Any) -> Callable[[str], nn.Module]:
    """The original a method works on, by the method's name; most share one."""
    prepared, partition = small.prepared, small.partition

    @functools.cache
    def train(kind: str) -> nn.Module:
        match kind:
            case "sisa":
                model, log = Sisa().train(
                    prepared.records, rows=api.trained_rows(partition), patient=partition.patient, recipe=RECIPE,
                    fresh_model=lambda own: api.build(prepared.spec, seed=own), seed=3)
            case "amnesiac":
                log = UpdateLog(np.isin(np.arange(len(prepared.records)), partition.forget).astype(np.int64))
                model = api.train(prepared=prepared, partition=partition, recipe=RECIPE, seed=3, observers=[log])[0]
            case _:
                log = None
                model = api.train(prepared=prepared, partition=partition, recipe=RECIPE, seed=3)[0]
        LOGS[model] = log
        return model

    return train


@pytest.fixture
def original(name: str, train_once: Callable[[str], nn.Module]) -> nn.Module:
    return train_once(name if "training log" in methods.get(name).info.reads else "")


def quick(name: str, **changes: Any) -> Any:
    """A method with two epochs, where it has epochs."""
    method = methods.get(name)()
    fields, wanted = {f.name for f in dataclasses.fields(method)}, {"epochs": 2, **changes}
    return dataclasses.replace(method, **{key: value for key, value in wanted.items() if key in fields})
