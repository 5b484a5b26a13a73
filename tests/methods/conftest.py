"""A memorising original and one way to unlearn from it, for the tests of single methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.unlearning.method import Method, Unlearned
from forgetmi.unlearning.method import unlearn as run_method
from tests.shared_models import shared

Unlearn = Callable[..., Unlearned]


@pytest.fixture(scope="session")
def memorised(small: Any) -> ImageText:
    """Trained long enough to know the forgotten better than patients it never saw."""
    model, _ = workflow.train(
        prepared=small.prepared,
        partition=small.partition,
        recipe=Recipe(epochs=14, lr=3e-3),
        seed=3,
    )
    return shared("memorised", model)


@pytest.fixture(scope="session")
def unlearn(small: Any, memorised: ImageText) -> Unlearn:
    """Run a method on it."""

    def run(
        method: Method, *, seed: int = 5, recipe: Recipe | None = None, **more: Any
    ) -> Unlearned:
        return run_method(
            method,
            memorised,
            records=small.prepared.records,
            partition=small.partition,
            seed=seed,
            recipe=recipe or Recipe(epochs=2),
            fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
            **more,
        )

    return run
