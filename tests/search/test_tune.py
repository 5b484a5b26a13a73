"""Tuning: the same trials from the same seed, nothing done twice, and rules that choose what they say."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetmi.cli import main
from forgetmi.core.errors import SpecError
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation import suite
from forgetmi.methods.fine_tune import FineTune
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.scrub import Scrub
from forgetmi.run.run_data import load_data
from forgetmi.run.spec import read_yaml, write_yaml
from forgetmi.search.rules import SelectionScore, against_validation, validation_rows
from forgetmi.search.tune import is_finished, tune
from forgetmi.search.tune_plan import Plan, candidates, make_plan
from tests import runs
from tests.evidence.copied_runs import states

# So many that an allowed trial is there
SMALL = dataclasses.replace(runs.SMALL, cohort=dataclasses.replace(runs.SMALL.cohort, patients=40))


def test_trials_begin_with_the_given_options_and_depend_on_the_seed_alone() -> None:
    first, again, other = (
        candidates(Scrub(lr=2e-4), "scrub", count=8, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first[0] == Scrub(lr=2e-4)
    assert len(set(first)) == 8
    assert candidates(Retrain(), "retrain", count=8, seed=0) == (Retrain(),)
    assert candidates(Scrub(), "scrub", count=1, seed=0) == (Scrub(),)
    everything = candidates(FineTune(), "fine_tune", count=100, seed=0)
    assert len(everything) == len(set(everything)) == 9


def said(image: list[float], text: list[float]) -> Signals:
    """A model of two classes that gives the true class these probabilities, on labels 0 0 1 1 0 1."""
    label = np.array([0, 0, 1, 1, 0, 1])

    def logits(share: list[float]) -> Any:
        p = np.array(share)
        return np.log(np.where(np.arange(2)[None, :] == label[:, None], p[:, None], 1 - p[:, None]))

    names = np.array([str(row) for row in range(6)])
    return Signals.image_text(
        "m", "c", np.arange(6), names, names, label, logits(image), logits(text)
    )


SETS = Partition(
    forget=np.array([0, 1]),
    retain=np.array([5]),
    validation=np.array([2, 3, 4]),
    cohort="c",
    holdout=np.array([], np.int64),
    patient=np.arange(6),
    group=np.arange(6),
)


def test_the_rule_for_ones_own_cohort_by_hand() -> None:
    original = said([0.9, 0.9, 0.8, 0.8, 0.5, 0.5], [0.9, 0.9, 0.6, 0.6, 0.5, 0.5])
    tried = said([0.6, 0.6, 0.8, 0.8, 0.5, 0.5], [0.7, 0.7, 0.6, 0.6, 0.5, 0.5])
    worse = said([0.6, 0.6, 0.2, 0.2, 0.5, 0.5], [0.7, 0.7, 0.6, 0.6, 0.5, 0.5])
    found = against_validation(
        {"original": original, "tried": tried, "same": original, "worse": worse}, SETS
    )
    one, same, bad = found["tried"], found["same"], found["worse"]
    assert isinstance(one, SelectionScore)
    assert isinstance(same, SelectionScore)
    assert isinstance(bad, SelectionScore)
    # Both forgotten are of class 0; of the validation patients only the last is, with loss -log .5.
    assert one.parts["image"] == pytest.approx(abs(-np.log(0.6) + np.log(0.5)))
    assert one.parts["text"] == pytest.approx(abs(-np.log(0.7) + np.log(0.5)))
    assert one.score == pytest.approx(one.parts["image"] + one.parts["text"])
    assert (one.refused, one.stayed, same.stayed) == ("", False, True)
    assert "validation AUC (image)" in bad.refused
    broken = tried.replaced(image_logits=np.full((6, 2), np.nan))
    reason = against_validation({"original": original, "broken": broken}, SETS)["broken"]
    assert isinstance(reason, str)
    assert "not finite" in reason


def test_what_was_forgotten_earlier_is_no_part_of_the_rule() -> None:
    now = dataclasses.replace(
        SETS,
        forget=np.array([0, 1, 5]),
        retain=np.array([6]),
        earlier=np.array([5]),
        patient=np.arange(7),
        group=np.arange(7),
    )
    models = {
        "original": said([0.9] * 6, [0.9] * 6),
        "tried": said([0.6, 0.6, 0.8, 0.8, 0.5, 0.01], [0.7] * 6),
    }
    assert validation_rows(now).tolist() == [0, 1, 2, 3, 4]
    assert against_validation(models, now) == against_validation(models, SETS)


def plan(root: Path) -> Plan:
    return make_plan(
        root, SMALL, {"fine_tune": FineTune(epochs=1, lr=1e-5)}, rule="validation", trials=3
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tune") / "whole"
    tune(plan(root))
    return root


def results(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(root.glob("fine_tune.*"))}


def test_every_trial_is_kept_and_the_best_is_ready_for_a_run(whole: Path) -> None:
    kept = json.loads((whole / "fine_tune.json").read_text())
    trials = [
        json.loads((whole / f"trials/fine_tune/{n}-seed-3/trial.json").read_text())
        for n in range(3)
    ]
    assert [one["options"] for one in kept["trials"]] == [one["options"] for one in trials]
    assert trials[0]["options"]["epochs"] == 1
    for record, trial in zip(kept["trials"], trials, strict=True):
        assert ("one retraining reads" in record["refused"]) == (trial["samples"] > trial["budget"])
    assert any(trial["samples"] > trial["budget"] for trial in trials)
    allowed = [record for record in kept["trials"] if not record["refused"]]
    best = kept["trials"][kept["chosen"]]
    assert best["score"] == min(record["score"] for record in allowed)
    chosen = read_yaml(whole / "fine_tune.yaml").method
    assert chosen == plan(whole).trials["fine_tune"][kept["chosen"]]


def test_no_test_patient_is_looked_at(whole: Path) -> None:
    _, partition = load_data(SMALL)
    looked = Signals.load(whole / "trials/fine_tune/0-seed-3/signals.npz").row
    assert set(looked) == set(partition.forget) | set(partition.validation)
    every = [
        Signals.load(path)
        for path in whole.rglob("*.npz")
        if path.parent.name in ("signals", "0-seed-3")
    ]
    assert len(every) > 1
    assert not any(np.isin(one.row, partition.holdout).any() for one in every)


def test_an_interrupted_tuning_goes_on_and_does_nothing_twice(whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "stopped"

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("fine_tune 2/3") and done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(plan(root), on_progress=stop)
    first = root / "trials/fine_tune/0-seed-3/trial.json"
    before = first.read_bytes(), first.stat().st_mtime_ns
    done: list[str] = []
    tune(plan(root), on_progress=lambda what, at, total: done.append(what))
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert {what.split(",")[0] for what in done} == {"fine_tune 2/3", "fine_tune 3/3"}
    assert results(root) == results(whole)
    assert is_finished(plan(root))
    before = states(root)
    tune(plan(root))
    assert states(root) == before
    (root / "fine_tune.json").unlink()
    assert not is_finished(plan(root))
    with pytest.raises(SpecError, match="another tuning"):
        tune(dataclasses.replace(plan(root), trials={"fine_tune": (FineTune(),)}))


@pytest.mark.slow
def test_shipped_defaults_are_judged_by_retrained_models(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "spec.yaml").write_text(write_yaml(SMALL))
    root = tmp_path / "out"
    assert (
        main(
            [
                "tune",
                "--spec",
                str(tmp_path / "spec.yaml"),
                "--out",
                str(root),
                "--rule",
                "shipped",
                "--seeds",
                "3",
                "--trials",
                "1",
                "--methods",
                "ssd",
                "retrain",
            ]
        )
        == 0
    )
    assert "ssd" in capsys.readouterr().out
    kept = json.loads((root / "ssd.json").read_text())
    cohort, partition = load_data(SMALL)
    home = root / "seed-3" / "signals"
    models = {path.stem: Signals.load(path) for path in sorted(home.glob("*.npz"))}
    assert set(models) == {"original", "retrain-0", "retrain-1"}
    models["ssd"] = Signals.load(root / "trials/ssd/0-seed-3/signals.npz")
    scores = suite.evaluate(models, partition, task=cohort.task, seed=3, resamples=0)
    expected = sum(
        scores.get("ssd", name, head="image", on=on).value  # type: ignore[union-attr]
        for name, on in (("gap", ""), ("jsf", "forget"))
    )
    assert kept["trials"][0]["score"] == pytest.approx(expected)
    assert not json.loads((root / "retrain.json").read_text())["trials"][0]["refused"]


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="at least 1"):
        make_plan(tmp_path, SMALL, {}, rule="validation", trials=0)
    assert main(["tune", "--out", str(tmp_path / "none"), "--seeds"]) == 2
    with pytest.raises(SpecError, match=r"seeds are missing[\s\S]*no gap"):
        make_plan(tmp_path, dataclasses.replace(SMALL, retrains=1), {}, rule="retraining")


def test_former_names_of_the_rules_are_still_read(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", "--out", str(tmp_path / "none"), "--trials", "0"]
    assert main([*words, "--rule", "own"]) == main([*words, "--rule=own"]) == 2
    printed = capsys.readouterr()
    assert printed.out.count("the rule 'own' is called 'validation' now") == 2
    assert "at least 1" in printed.err

    # A tuning that an earlier version began goes on.
    stored = (whole / "plan.json").read_text()
    (whole / "plan.json").write_text(stored.replace('"rule": "validation"', '"rule": "own"'))
    before = results(whole)
    tune(plan(whole))
    assert results(whole) == before
