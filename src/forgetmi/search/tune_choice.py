"""The choice of a tuning: every trial is scored on every seed, and the best that may be chosen is written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.json_text import read_json
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.run.claim import write_if_new
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_data import load_data
from forgetmi.run.run_models import retrained_names
from forgetmi.run.spec import RunSpec, to_plain, write_yaml
from forgetmi.search.rule_names import RETRAINING
from forgetmi.search.rules import SelectionScore, against_retrains, against_validation
from forgetmi.search.tune_plan import Plan


@dataclass(frozen=True)
class Chosen:
    """The result of a tuning for one method.

    Args:
        name: The method's registered name.
        method: With the best options.
        number: Which trial that was; 0 = the defaults.
        score: Its score, mean over the seeds.
        default: Score of the defaults; None where they failed.
        forgot: Whether it moved away from the original on some seed.
        refused: Why no trial may be chosen; empty = one was.
    """

    name: str
    method: Any
    number: int
    score: float | None
    default: float | None
    forgot: bool
    refused: str = ""


def choose(plan: Plan, name: str) -> Chosen:
    """Score a method's trials on every seed, take the best that is allowed on all of them, and write it down.

    Args:
        plan: The tuning, with all trials made.
        name: The method's registered name.
    """
    # Scores by seed, then by trial
    scores = [_scores(plan, name, spec) for spec in plan.specs]
    records = []
    for number in range(len(plan.trials[name])):
        on_seeds = [of_seed[number] for of_seed in scores]
        records.append(_record(plan, name, number, on_seeds))

    # The best of those that every seed allows; without any, the defaults stand for the method.
    allowed = [record for record in records if not record["refused"]]
    best = min(allowed, key=lambda record: record["score"]) if allowed else records[0]
    reasons = {record["refused"] for record in records}
    chosen = Chosen(
        name=name,
        method=plan.trials[name][best["trial"]],
        number=best["trial"],
        score=best["score"],
        default=records[0]["score"],
        forgot=best["score"] is not None and not best["stayed"],
        refused="" if allowed else "; ".join(sorted(reasons)),
    )

    _write(plan, chosen, records)
    return chosen


def _write(plan: Plan, chosen: Chosen, records: Sequence[dict[str, Any]]) -> None:
    """All trials as NAME.json, and the best options as NAME.yaml; a file that says so already is left as it is."""
    if not chosen.refused:
        # Ready for --spec
        options = write_yaml({"method": chosen.method})
        write_if_new(plan.root / f"{chosen.name}.yaml", options)

    # Last: with this file the method's tuning is finished
    values = {
        "method": chosen.name,
        "rule": plan.rule,
        "seeds": [spec.seed for spec in plan.specs],
        "trials": list(records),
        "chosen": None if chosen.refused else chosen.number,
        "did_not_forget": not chosen.forgot,
    }
    text = json.dumps(values, indent=1, sort_keys=True, allow_nan=False)
    write_if_new(plan.root / f"{chosen.name}.json", f"{text}\n")


def _record(
    plan: Plan, name: str, number: int, on_seeds: Sequence[SelectionScore | str]
) -> dict[str, Any]:
    """One trial over all seeds."""
    scores: list[SelectionScore] = []
    reasons: set[str] = set()
    by_seed: dict[str, Any] = {}
    for spec, result in zip(plan.specs, on_seeds, strict=True):
        if isinstance(result, str):
            reasons.add(result)
            by_seed[str(spec.seed)] = result
        else:
            scores.append(result)
            reasons.add(result.refused)
            by_seed[str(spec.seed)] = result.plain()

    # Only a trial that succeeded on every seed has a score.
    is_complete = len(scores) == len(on_seeds)
    mean = float(np.mean([result.score for result in scores])) if is_complete else None
    return {
        "trial": number,
        "options": to_plain(plan.trials[name][number]),
        "refused": "; ".join(sorted(reasons - {""})),
        "score": mean,
        "stayed": is_complete and all(result.stayed for result in scores),
        "seeds": by_seed,
    }


def _scores(plan: Plan, name: str, spec: RunSpec) -> list[SelectionScore | str]:
    """A score of each trial on one seed; a sentence where there is none."""
    numbers = range(len(plan.trials[name]))
    stored = []
    for number in numbers:
        stored.append(_stored_trial(plan.trial_folder(name, number, spec) / "trial.json"))

    # Failed trials have no signals
    by_trial = _by_rule(plan, name, spec, [not trial.failed for trial in stored])
    results: list[SelectionScore | str] = []
    for number, trial in zip(numbers, stored, strict=True):
        if trial.failed:
            results.append(trial.failed)
            continue

        # Equal terms: no more samples than one retraining
        result = by_trial[f"trial-{number}"]
        if isinstance(result, SelectionScore):
            result = _within_budget(result, samples=trial.samples, budget=trial.budget)
        results.append(result)
    return results


@dataclass(frozen=True)
class _Trial:
    """What is read of a trial.json: why it failed, and the samples that it and one retraining read."""

    failed: str
    budget: int
    samples: int = 0


def _stored_trial(path: Path) -> _Trial:
    """What `forgetmi.search.tune.attempt` stored of one trial."""
    where = f"{path.parent.name}/{path.name}"
    values = read_json(path, what="a trial", do="Remove it, and it is made again.", where=where)

    # The rest is for readers of the file
    known = ("failed", "budget", "samples")
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key in known}
    return from_plain(_Trial, values, where=where)


def _within_budget(score: SelectionScore, *, samples: int, budget: int) -> SelectionScore:
    """The score, refused where the trial read more samples than one retraining does."""
    if samples <= budget:
        return score

    reason = f"reads {samples} samples, one retraining reads {budget}"
    reasons = [text for text in (score.refused, reason) if text]
    return replace(score, refused="; ".join(reasons))


def _by_rule(
    plan: Plan, name: str, spec: RunSpec, succeeded: Sequence[bool]
) -> dict[str, SelectionScore | str]:
    """The rule's scores of the trials that succeeded, by "trial-0", "trial-1" ..."""
    # Scores are computed from stored signals alone
    cohort, partition = load_data(spec)

    # The original, the retrained models (none by the rule validation), and the trials
    home = RunDirectory(plan.home(spec, name))
    usual_home = RunDirectory(plan.usual_home(spec))
    models = {ORIGINAL: Signals.load(home.signals(ORIGINAL))}
    for model in retrained_names(spec):
        models[model] = Signals.load(usual_home.signals(model))
    for number, has_signals in enumerate(succeeded):
        if has_signals:
            folder = plan.trial_folder(name, number, spec)
            models[f"trial-{number}"] = Signals.load(folder / "signals.npz")

    if plan.rule == RETRAINING:
        return against_retrains(models, partition, task=cohort.task, seed=spec.seed)
    return against_validation(models, partition, task=cohort.task)
