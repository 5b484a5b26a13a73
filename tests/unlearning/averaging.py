"""What the tests of our own two methods share."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.unlearning.method import Unlearned, unlearn
from forgetmi.unlearning.pool_targets import PoolTargets
from forgetmi.unlearning.teacher import OutputTable, frozen, tabulate
from tests.shared_models import shared

RECIPE = Recipe(epochs=15, lr=5e-3)
STILL = ("gate.", "img_model.fc1.", "text_model.classifier.")


@cache
def trained(small: Any) -> ImageText:
    """An original whose heads both tell samples apart; never changed."""
    model, _ = workflow.train(
        prepared=small.prepared, partition=small.partition, recipe=RECIPE, seed=1
    )
    return shared("original", model)


def apply(
    small: Any, model: ImageText, method: Any, *, seed: int = 0, pool: PoolTargets | None = None
) -> Unlearned:
    """Run a method."""
    return unlearn(
        method,
        model,
        records=small.prepared.records,
        partition=small.partition,
        seed=seed,
        recipe=RECIPE,
        fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
        pool=pool,
    )


def outputs(small: Any, model: ImageText, rows: Any) -> OutputTable:
    """What a model says of some rows."""
    return tabulate(frozen(model), [small.prepared.records.batch(rows)])


def goal_of(
    monkeypatch: Any,
    small: Any,
    model: ImageText,
    method: Any,
    *,
    pool: PoolTargets | None = None,
) -> tuple[OutputTable, OutputTable]:
    """The original's outputs on the forgotten and the goal, as a method hands them over."""
    caught: list[tuple[OutputTable, OutputTable]] = []

    def catch(
        model: ImageText, teacher: ImageText, *, clean: OutputTable, goal: OutputTable, **more: Any
    ) -> ImageText:
        caught.append((clean, goal))
        return copy.deepcopy(model)

    monkeypatch.setattr(f"{type(method).__module__}.distil", catch)
    apply(small, model, method, pool=pool)
    return caught[0]
