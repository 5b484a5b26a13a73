"""Fourteen findings: Forget-MI and calibrated consensus beside retrained models, finding by finding and on average.

    python studies/findings.py --out OUT [--into docs/methods_by_model.md] [--patients 120] [--epochs 80] [--seeds 0]

Four cohorts of the same patients: as it is, with -1 counted as absent and as present, and without the films of 30 % of
the patients. Each model's signals and cost are stored as soon as it is there; what OUT holds is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.model_names import ORIGINAL, is_retrained
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.evaluation.finding_measures import SINGLE
from forgetmi.evaluation.gaps import FLOOR, GAP, main_head
from forgetmi.model.architecture import Architecture
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from measured_models import Study, after
from pages import command, hardware, put, rows

PERCENT = 20.0

# Films and reports; it learns findings and remembers patients within seconds, as larger models do within hours
CLINIC = Architecture(factory="small_models:clinic")

# At their defaults, which are made for models trained at a rate of 5e-4, and at ten times these: the model's is 5e-3
METHODS = (
    "forget_mi",
    "forget_mi:lr=0.003",
    "calibrated_consensus",
    "calibrated_consensus:lr=0.005",
    "undo",
)
TITLES = {
    ORIGINAL: "original",
    FLOOR: "retrained",
    "forget_mi": "Forget-MI",
    "forget_mi:lr=0.003": "Forget-MI, 10 x its rate",
    "calibrated_consensus": "calibrated consensus",
    "calibrated_consensus:lr=0.005": "calibrated consensus, 10 x its rate",
    "undo": "UNDO",
}

# Shown finding by finding
BY_FINDING = (ORIGINAL, FLOOR, METHODS[1], METHODS[3], "undo")

# Name of a score, set, and how the page calls it; of the film head
SCORES = (
    ("auc", "test", "AUC test"),
    ("loss_auc", "forget", "memory"),
    ("gap", "", "gap"),
    ("jsf", "forget", "JSf"),
)


@dataclass(frozen=True)
class Condition:
    """A cohort.

    Args:
        title: On the page.
        uncertain: What -1 counts as.
        films_missing: Share of patients without films.
    """

    title: str
    uncertain: Literal["ignore", "zero", "one"] = "ignore"
    films_missing: float = 0.0


CONDITIONS = {
    "ignore": Condition("-1 unknown"),
    "missing": Condition("-1 unknown, 30 % of the patients without films", films_missing=0.3),
    "zero": Condition("-1 absent", uncertain="zero"),
    "one": Condition("-1 present", uncertain="one"),
}


def main(argv: Sequence[str]) -> None:
    options = _options(argv)
    found: dict[str, list[dict[str, Evaluation]]] = {}
    studies: dict[str, Study] = {}
    for condition in options.conditions:
        for seed in options.seeds:
            study = prepare(condition, seed, options)
            study.reference()
            reasons = {name: study.method(name) for name in METHODS}
            scores = study.evaluate(reasons, resamples=options.resamples)
            found.setdefault(condition, []).append(scores)
            studies.setdefault(condition, study)

    first = next(iter(found))
    names = studies[first].data.cohort.classes
    lines = [
        *_conditions(found),
        "",
        *_findings(found[first], names),
        "",
        *(_fact(condition, study, options) for condition, study in studies.items()),
        "",
        f"`{command('findings', argv)}` on {hardware()}",
    ]
    put(options.into, {"findings": "\n".join(lines)})


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--retrains", type=int, default=2)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--conditions", nargs="+", choices=[*CONDITIONS], default=[*CONDITIONS])
    return parser.parse_args(argv)


def prepare(condition: str, seed: int, options: argparse.Namespace) -> Study:
    """One cohort, ready for the package's own model."""
    out = options.out / f"{condition}-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    chosen = CONDITIONS[condition]
    cohort = SyntheticCohort(
        patients=options.patients,
        size=options.size,
        seed=seed,
        task="findings",
        uncertain=chosen.uncertain,
        films_missing=chosen.films_missing,
    ).load()
    sets = partition(cohort, forget=PERCENT, seed=seed)
    data = workflow.prepare(
        cohort=cohort,
        partition=sets,
        images=ImagePreprocessing(size=options.size),
        architecture=CLINIC,
        max_length=128,
    )
    recipe = Recipe(epochs=options.epochs, lr=5e-3, batch_size=8)
    return Study(out, data, sets, recipe, seed, options.retrains)


def _conditions(found: Mapping[str, Sequence[Mapping[str, Evaluation]]]) -> list[str]:
    """Each condition with its models, film head and both heads."""
    body = []
    for condition, seeds in found.items():
        for row, title in TITLES.items():
            cells = []
            for name, on, _ in SCORES:
                cells.append(_over_seeds([_value(scores, row, name, on) for scores in seeds]))
            body.append([CONDITIONS[condition].title, title, *cells])
    return rows(["cohort", "model", *(title for *_, title in SCORES)], body)


def _findings(seeds: Sequence[Mapping[str, Evaluation]], names: Sequence[str]) -> list[str]:
    """AUC of each finding on the forgotten and on never-seen patients, and their mean."""
    body = []
    for number, finding in enumerate([*names, "mean"]):
        score = "auc" if finding == "mean" else f"{SINGLE}{number + 1}"
        cells = []
        for row in BY_FINDING:
            pair = [
                _over_seeds([_value(scores, row, score, on) for scores in seeds])
                for on in ("forget", "test")
            ]
            cells.append(" / ".join(pair))
        body.append([finding, *cells])
    return rows(["AUC forgotten / never seen", *(TITLES[row] for row in BY_FINDING)], body)


Shown = tuple[float, tuple[float, float] | None] | None


def _value(scores: Mapping[str, Evaluation], row: str, name: str, on: str) -> Shown:
    """A score of the film head with its interval; of the retrained models the mean and range; None = not defined."""
    evaluation = scores.get(row, scores[ORIGINAL])
    head = main_head(evaluation)
    if row == FLOOR and name == GAP:
        return _score(evaluation, FLOOR, f"{GAP}_floor", head, "")
    if row != FLOOR:
        model = after(row) if row in METHODS else row
        return _score(evaluation, model, name, head, on)

    values = []
    for model in evaluation.scores:
        score = _score(evaluation, model, name, head, on) if is_retrained(model) else None
        if score is not None:
            values.append(score[0])
    return (float(np.mean(values)), (min(values), max(values))) if values else None


def _score(evaluation: Evaluation, model: str, name: str, head: str, on: str) -> Shown:
    try:
        score = evaluation.get(model, name, head=head, on=on)
    except KeyError:
        return None
    return None if isinstance(score, Failed) else (score.value, score.interval)


def _over_seeds(shown: Sequence[Shown]) -> str:
    """One seed's score with its interval; of several the mean and range of the scores."""
    there = [one for one in shown if one is not None]
    if not there:
        return "-"
    values = [value for value, _ in there]
    interval = there[0][1] if len(there) == 1 else (min(values), max(values))
    text = f"{np.mean(values):.2f}"
    return text if interval is None else f"{text} ({interval[0]:.2f} to {interval[1]:.2f})"


def _fact(condition: str, study: Study, options: argparse.Namespace) -> str:
    """Sizes, in one line."""
    count = study.sets.counts()
    lacking = study.data.cohort.present.get("image")
    missing = 0 if lacking is None else int((~lacking).sum())
    seconds = {name: study.cost(name) for name in (ORIGINAL, *METHODS)}
    costs = ", ".join(f"{TITLES[name]} {value:.0f}" for name, value in seconds.items())
    return (
        f"{CONDITIONS[condition].title}: {count['forget']['patients']} patients "
        f"({count['forget']['images']} films) forgotten, {count['retain']['images']} retained, "
        f"{count['holdout']['patients']} never-seen test patients; {missing} of "
        f"{len(study.data.cohort)} rows without a film; processor seconds: {costs}.\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
