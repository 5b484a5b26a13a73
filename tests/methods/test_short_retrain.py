"""Short retrain: with everything as the recipe has it, it is Retrain."""

from __future__ import annotations

from typing import Any

import pytest

from forgetmi.core.errors import MethodError
from forgetmi.core.seeding import derive
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.short_retrain import ShortRetrain
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.recipe import Recipe


def test_with_the_recipe_s_epochs_and_schedule_it_is_retrain(unlearn: Any) -> None:
    recipe = Recipe(epochs=2, warmup=0.25, decay=0.25)
    short = unlearn(ShortRetrain(train_epochs=2, warmup=0.25, decay=0.25), recipe=recipe)
    whole = unlearn(Retrain(), recipe=recipe, seed=derive(5, "unlearn", "afresh"))
    assert parameter_digest(short.model) == parameter_digest(whole.model)


def test_it_reads_the_retained_alone_as_often_as_it_has_epochs(small: Any, unlearn: Any) -> None:
    trace = unlearn(ShortRetrain(train_epochs=1)).trace
    assert trace.samples == {"retain": len(small.partition.retain)}


def test_told_no_epochs_it_takes_a_share_of_the_recipe_s(small: Any, unlearn: Any) -> None:
    """A model that took long to train is not replaced by one that was trained for a moment."""
    trace = unlearn(ShortRetrain(), recipe=Recipe(epochs=4)).trace
    assert trace.samples == {"retain": 2 * len(small.partition.retain)}


def test_no_epochs_are_refused() -> None:
    with pytest.raises(MethodError, match="at least 1"):
        ShortRetrain(train_epochs=0)
