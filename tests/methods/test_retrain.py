"""Retrain: with nobody to leave out it is the original's own training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from forgetmi.core.partition import Partition
from forgetmi.methods.retrain import Retrain
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow

RECIPE = Recipe(epochs=1, batch_size=12, shift=1.0)


@pytest.fixture
def nobody(small: Any) -> Partition:
    """Everyone the original saw is retained; the one to be forgotten is somebody it never saw."""
    sets = small.partition
    stranger = sets.patient[sets.holdout] == sets.patient[sets.holdout[0]]
    return dataclasses.replace(
        sets,
        forget=sets.holdout[stranger],
        holdout=sets.holdout[~stranger],
        retain=np.sort(np.concatenate([sets.forget, sets.retain])),
    )


def retrained(small: Any, original: ImageText, partition: Partition, *, seed: int) -> str:
    return parameter_digest(
        workflow.unlearn(
            prepared=small.prepared,
            partition=partition,
            model=original,
            method=Retrain(),
            recipe=RECIPE,
            seed=seed,
        ).model
    )


def test_forgetting_nobody_with_the_originals_seed_gives_the_original_bit_for_bit(
    small: Any,
    nobody: Partition,
) -> None:
    original, _ = workflow.train(
        prepared=small.prepared, partition=small.partition, recipe=RECIPE, seed=7
    )
    assert retrained(small, original, nobody, seed=7) == parameter_digest(original)
    assert retrained(small, original, nobody, seed=8) != parameter_digest(original)
    assert retrained(small, original, small.partition, seed=7) != parameter_digest(original)
