"""Requests one after another: who is forgotten when, and that an interrupted study goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetmi.core.registry import methods
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from tests.studies.test_studies import load


class Quick:
    """Every method in one epoch."""

    def get(self, name: str) -> Any:
        option = "train_epochs" if name == "short_retrain" else "epochs"
        kind: Any = methods.get(name)
        return lambda: kind(**{option: 1})


@pytest.mark.slow
def test_each_request_goes_on_from_the_model_that_the_one_before_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_file = load("one_after_another")
    train = workflow.train
    monkeypatch.setattr(workflow, "train", lambda **given: train(recipe=Recipe(epochs=1), **given))
    monkeypatch.setattr(study_file, "methods", Quick())
    plan = study_file.Plan(
        patients=30,
        reference=60,
        requests=3,
        every=2,
        retrains=2,
        method="forget_mi",
        seed=3,
        model="small",
    )
    study = study_file.study_of(plan, tmp_path)

    # One patient more each time, the others where they were
    for before, after in zip(study.sets[:-1], study.sets[1:], strict=True):
        assert set(before.forget) < set(after.forget)
        assert np.array_equal(before.holdout, after.holdout)
        assert np.array_equal(after.earlier, before.forget)

    # Interrupted in the middle, and given again
    made = [name for _, name in zip(range(3), study_file.carried_out(study), strict=False)]
    made += list(study_file.carried_out(study))
    assert made == [
        "original",
        "without-1",
        "without-2",
        "with-2",
        "retrain-0-2",
        "retrain-1-2",
        "without-3",
        "with-3",
    ]
    assert list(study_file.carried_out(study)) == []
    points = [study_file.point(study, 2, series) for series in study_file.SERIES]
    assert points[0].floor == points[1].floor
    assert points[0].gap != points[1].gap
    assert len(study_file.table(points)) == 4
