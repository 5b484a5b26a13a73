"""One trained original and every registered method with the least work that still trains."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from forgetmi import api
from forgetmi.model.image_text import ImageText
from forgetmi.model.train import Recipe
from forgetmi.registry import methods

RECIPE = Recipe(epochs=3)


@pytest.fixture(scope="session")
def original(small: Any) -> ImageText:
    return api.train(prepared=small.prepared, partition=small.partition, recipe=RECIPE, seed=3)[0]


def quick(name: str, **changes: Any) -> Any:
    """A method with two epochs, where it has epochs."""
    method = methods.get(name)()
    fields, wanted = {f.name for f in dataclasses.fields(method)}, {"epochs": 2, **changes}
    return dataclasses.replace(method, **{key: value for key, value in wanted.items() if key in fields})
