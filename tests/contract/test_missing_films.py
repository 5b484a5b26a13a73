"""What stands where a film is missing changes nothing: no method learns from it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.core.registry import methods
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from tests.contract.conftest import quick

RECIPE = Recipe(epochs=2)

# It looks at films in a way of its own; the others in the slow tests
ALWAYS = ("chip",)
LEFT_OUT = (*ALWAYS, "forget_mi_release", "s3t")
OTHERS = [name for name in methods.names() if name not in LEFT_OUT]


class OtherFilms:
    """An image store that gives noise for rows without a film.

    Args:
        images: The store.
        there: Bool[n], which rows have a film.
    """

    def __init__(self, images: Any, there: np.ndarray) -> None:
        self._images = images
        self._there = there

    def __len__(self) -> int:
        return len(self._images)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._images, name)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Float[b, 1, h, w]."""
        films = self._images.images(rows)
        noise = np.random.default_rng(0).random((len(self._there), *films.shape[1:]), np.float32)
        return np.where(self._there[rows, None, None, None], films, noise[rows])


def unlearned(name: str, small: Any, films: Any, there: np.ndarray) -> dict[str, torch.Tensor]:
    """The weights after a training of the original and an unlearning, both without some films."""
    records = dataclasses.replace(small.prepared.records, images=films, present={"image": there})
    prepared = dataclasses.replace(small.prepared, records=records)
    method = quick(name)
    made = train_original(
        prepared=prepared, partition=small.partition, method=method, recipe=RECIPE, seed=3
    )
    done = workflow.unlearn(
        prepared=prepared,
        partition=small.partition,
        model=made.model,
        method=method,
        recipe=RECIPE,
        seed=5,
        training_log=made.log,
    )
    return done.model.state_dict()


@pytest.mark.parametrize(
    "name", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_no_method_learns_from_films_that_are_missing(name: str, small: Any) -> None:
    films = small.prepared.records.images
    there = np.arange(len(small.prepared.records)) % 3 > 0
    noisy = unlearned(name, small, OtherFilms(films, there), there)
    other = unlearned(name, small, films, there)
    assert noisy.keys() == other.keys()
    for key, value in noisy.items():
        assert torch.equal(value, other[key]), key
