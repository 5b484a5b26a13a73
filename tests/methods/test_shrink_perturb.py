"""Shrink and perturb: the mixture, its two ends, and what it reads."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.core.seeding import derive
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.short_retrain import ShortRetrain
from forgetmi.methods.shrink_perturb import ShrinkPerturb
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.unlearning.mixture import mix


def test_each_value_is_mixed_but_the_gate(small: Any, memorised: ImageText) -> None:
    student, fresh = copy.deepcopy(memorised), workflow.build(small.prepared.spec, seed=9)
    mix(student, fresh, keep=0.6)
    old, new = memorised.state_dict(), fresh.state_dict()
    for name, value in student.state_dict().items():
        if name.startswith("gate.") or not value.is_floating_point():
            assert torch.equal(value, old[name])
        else:
            assert torch.allclose(value, 0.6 * old[name] + 0.4 * new[name], atol=1e-6)


def test_the_original_s_own_first_weights_are_not_mixed_in(small: Any, unlearn: Any) -> None:
    """Even where the run's root seed is the one that the original was initialised with."""
    untrained = unlearn(ShrinkPerturb(keep=0.0, repair_epochs=0), seed=3).model.state_dict()
    first = workflow.build(small.prepared.spec, seed=3).state_dict()
    weights = [
        name
        for name in first
        if name.endswith("weight") and first[name].ndim > 1 and "gate" not in name
    ]
    assert len(weights) > 20
    assert not any(torch.equal(untrained[name], first[name]) for name in weights)


def test_all_of_the_original_and_no_repair_is_the_identity(
    unlearn: Any, memorised: ImageText
) -> None:
    done = unlearn(ShrinkPerturb(keep=1.0, repair_epochs=0))
    assert parameter_digest(done.model) == parameter_digest(memorised)
    assert (done.trace.steps, done.trace.samples) == (0, {"retain": 0})


def test_nothing_of_the_original_and_all_epochs_is_retraining(unlearn: Any) -> None:
    recipe = Recipe(epochs=2, warmup=0.0, decay=0.0)
    mixed, anew = (
        unlearn(method, recipe=recipe, seed=seed).model.state_dict()
        for method, seed in (
            (ShrinkPerturb(keep=0.0, repair_epochs=2), 5),
            (Retrain(), derive(5, "unlearn", "afresh")),
        )
    )
    compared = [
        name
        for name in anew
        if not name.startswith("gate.") and not name.endswith("num_batches_tracked")
    ]
    assert len(compared) > 50
    assert all(torch.equal(mixed[name], anew[name]) for name in compared)


def test_the_recipe_s_schedule_is_that_of_a_shorter_retraining(unlearn: Any) -> None:
    """With the recipe's warm-up and decay it differs from the constant rate, and is a short retraining at 0."""
    mixed = unlearn(ShrinkPerturb(keep=0.0, repair_epochs=1, schedule="recipe")).model.state_dict()
    short = unlearn(ShortRetrain(train_epochs=1, warmup=0.05, decay=0.35)).model.state_dict()
    constant = unlearn(ShrinkPerturb(keep=0.0, repair_epochs=1)).model.state_dict()
    compared = [name for name in short if name.endswith("weight") and "gate" not in name]
    assert len(compared) > 20
    assert all(torch.equal(mixed[name], short[name]) for name in compared)
    assert not any(
        torch.equal(mixed[name], constant[name]) for name in compared if short[name].ndim > 1
    )


def test_the_retained_are_read_once_an_epoch_and_no_one_else(small: Any, unlearn: Any) -> None:
    trace = unlearn(ShrinkPerturb(repair_epochs=2)).trace
    assert trace.samples == {"retain": 2 * len(small.partition.retain)}
    assert not any(name.startswith("gate.") for name in trace.changed)


@pytest.mark.parametrize("wrong", [{"keep": 1.1}, {"keep": -0.1}, {"repair_epochs": -1}])
def test_impossible_options_are_refused(wrong: Any) -> None:
    with pytest.raises(MethodError, match="keep"):
        ShrinkPerturb(**wrong)
