"""A sweep that was killed: every point of a grid has a finished trial, and the same one is the best."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgetmi.methods.cf_k import CFk
from forgetmi.search import sweep
from forgetmi.search.study import Study, create_study, load_study
from forgetmi.search.sweep import attempt, best_of, run_sweep
from forgetmi.search.sweep_file import Sweep
from tests.runs import SMALL

pytest.importorskip("optuna")

SPEC = replace(SMALL, method=CFk(epochs=2), retrains=0, workers=1)

# Two are equally good: the first of the grid is the best
VALUES = {0.1: 0.5, 0.2: 0.3, 0.3: 0.3, 0.4: 0.6}
RATES = tuple(VALUES)


class Killed(BaseException):
    """The end of a process: nothing after it is done."""


@pytest.fixture(autouse=True)
def scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores without a model."""

    def score(spec: Any, root: Path, **options: object) -> tuple[float, str]:
        return VALUES.get(spec.method.lr, spec.method.lr), ""

    monkeypatch.setattr(sweep, "score", score)


def study(root: Path, method: str = "grid", *, trials: int = 4) -> Study:
    choices = {"method.lr": RATES, "method.image_k": (1,)}
    return Study(root, SPEC, Sweep(method, choices), "validation", False, trials, "journal")


def killed_in_trials(asked: Study, numbers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of several processes that are killed in the middle of some trials; the others end."""
    doomed = set(numbers)

    def at_once(jobs: Any, resources: object, **options: object) -> None:
        for job in jobs:
            position = job.arguments[1]
            try:
                with monkeypatch.context() as patch:
                    if position in doomed:
                        patch.setattr(sweep, "score", die)
                    attempt(asked, position, lambda done, total: None)
            except Killed:
                continue
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "run_all", at_once)
        with pytest.raises(Killed):
            run_sweep(asked)


def die(*arguments: object, **options: object) -> None:
    raise Killed


def test_a_killed_grid_has_every_point_and_the_same_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = [1, 2]
    whole = run_sweep(study(tmp_path / "whole"))
    asked = study(tmp_path / "killed")
    killed_in_trials(asked, doomed, monkeypatch)
    tried = run_sweep(asked)

    complete = [trial.options["method.lr"] for trial in tried if trial.state == "complete"]
    assert complete == list(RATES)
    best, expected = best_of(tried, maximise=False), best_of(whole, maximise=False)
    assert best is not None
    assert expected is not None
    assert (best.options, best.value) == (expected.options, expected.value)
    assert best.options["method.lr"] == 0.2
    assert (tmp_path / "killed" / "best.yaml").read_text() == (
        tmp_path / "whole" / "best.yaml"
    ).read_text()

    # Those that were interrupted are listed as such
    stored = json.loads((tmp_path / "killed" / "trials.json").read_text())
    assert sum(one["refused"] == "interrupted" for one in stored) == len(doomed)


@pytest.mark.parametrize("refused", ["", "loses 0.100 of validation AUC (image)"])
def test_a_trial_that_was_killed_between_its_score_and_its_end_is_made_again(
    tmp_path: Path, refused: str
) -> None:
    asked = study(tmp_path)
    create_study(asked).enqueue_trial({"method.lr": 2, "method.image_k": 0})
    trial = load_study(asked, 0).ask()
    trial.suggest_categorical("method.lr", range(len(RATES)))
    trial.suggest_categorical("method.image_k", range(1))
    trial.set_user_attr("failed", False)
    trial.set_user_attr("refused", refused)

    tried = run_sweep(study(tmp_path))
    complete = [trial.options["method.lr"] for trial in tried if trial.state == "complete"]
    assert complete == list(RATES)
    assert [one.refused for one in tried if one.state == "failed"] == ["interrupted"]


def test_a_trial_that_was_killed_before_it_had_options_is_made(tmp_path: Path) -> None:
    asked = study(tmp_path)
    create_study(asked).enqueue_trial({"method.lr": 2, "method.image_k": 0})
    load_study(asked, 0).ask()
    tried = run_sweep(study(tmp_path))
    complete = [trial.options["method.lr"] for trial in tried if trial.state == "complete"]
    assert complete == list(RATES)


def test_a_grid_that_grows_takes_up_its_lost_point_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_trials(study(tmp_path, trials=2), [0], monkeypatch)
    few = run_sweep(study(tmp_path, trials=2))
    assert [one.options["method.lr"] for one in few if one.state == "complete"] == [0.1, 0.2]
    all_of_them = run_sweep(study(tmp_path))
    done = [one.options["method.lr"] for one in all_of_them if one.state == "complete"]
    assert done == list(RATES)


def test_a_killed_random_sweep_draws_the_lost_point_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def options(asked: Study) -> list[Any]:
        return [trial.options for trial in run_sweep(asked) if trial.state == "complete"]

    whole = options(study(tmp_path / "whole", "random", trials=3))
    asked = study(tmp_path / "killed", "random", trials=3)
    killed_in_trials(asked, [1], monkeypatch)
    assert options(asked) == whole
