"""Requests one after another on one model: how gap, JSf, AUC and verdict drift, with and without a refresh.

    python studies/one_after_another.py --work FOLDER [--requests 50] [--page docs/cost_law.md]

One original of the embedded cohort; each request names one more patient of its training side and is carried out on the
model that the one before left. In the second series a short retraining replaces the model after every tenth request.
At every tenth request models are retrained without everybody who was forgotten so far, and both series are compared
with them. What is finished in the folder stays when the command is given again; the table says how far it came.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cost_law import SMALL
from forgetmi.audit.decision import decide
from forgetmi.audit.forget_draw import forget_draw
from forgetmi.audit.patient_scores import through
from forgetmi.audit.rule import Rule
from forgetmi.cohort.further_withdrawal import further_withdrawal
from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.model_names import ORIGINAL, retrained_name
from forgetmi.core.partition import Partition
from forgetmi.core.registry import methods
from forgetmi.core.scores import Failed
from forgetmi.core.seeding import derive, numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.run import workflow
from forgetmi.run.prepared import Prepared, open_checkpoint
from pages import command, put, rows

SERIES = ("without", "with")
REFRESH = "short_retrain"


@dataclass(frozen=True)
class Plan:
    """What is done.

    Args:
        patients, reference: Of the generated cohort; never-seen ones of the second kind widen the comparison.
        requests: How many follow each other.
        every: Requests from one measurement, and one refresh, to the next.
        retrains: Models retrained at each measurement.
        method: Registered name.
        seed: Root seed.
        model: small (32 pixels) or compact.
    """

    patients: int
    reference: int
    requests: int
    every: int
    retrains: int
    method: str
    seed: int
    model: str

    def name(self, series: str, number: int) -> str:
        """What the model after a request is called; before the first refresh both series are one."""
        if number == 0:
            return ORIGINAL
        return f"{SERIES[0] if number < self.every else series}-{number}"

    @property
    def measured_at(self) -> range:
        """Numbers of requests after which the models are compared."""
        return range(self.every, self.requests + 1, self.every)


@dataclass(frozen=True)
class Point:
    """One comparison.

    Args:
        requests: Carried out so far.
        series: With or without a refresh.
        gap, floor: On the image head.
        divergence, divergence_floor: JSf of the image head, and that of the retrained models.
        auc, auc_retrained: On never-seen patients.
        verdict: Of the declared rule, on everybody forgotten so far.
    """

    requests: int
    series: str
    gap: float
    floor: float
    divergence: float
    divergence_floor: float
    auc: float
    auc_retrained: float
    verdict: str


@dataclass(frozen=True, eq=False)
class Study:
    """The data of a plan, and where its models lie."""

    plan: Plan
    work: Path
    cohort: Cohort
    sets: tuple[Partition, ...]
    prepared: Prepared

    def model(self, name: str) -> Any:
        """A stored model."""
        return open_checkpoint(self.work / name, cohort=self.cohort, like=self.prepared)[1].model

    def has(self, name: str) -> bool:
        """Whether it is stored."""
        return (self.work / name / "model.json").exists()

    def keep(self, name: str, model: Any) -> None:
        """Store it."""
        self.prepared.save(self.work / name, model, patients=None, role=name)


def study_of(plan: Plan, work: Path) -> Study:
    """The cohort, and the sets after each request: number k has k patients forgotten."""
    small: dict[str, Any] = SMALL if plan.model == "small" else {"cohort": {}}
    cohort = SyntheticCohort(
        patients=plan.patients, reference_patients=plan.reference, seed=plan.seed, **small["cohort"]
    ).load()

    # Who withdraws, in which order: drawn among those who are trained on
    first = partition(cohort, forget=1.0, seed=plan.seed)
    side = np.concatenate([first.forget, first.retain])
    patients = sorted({str(one) for one in cohort.patient[side]})
    order = numpy_generator(plan.seed, "study", "order").permutation(len(patients))
    named = [patients[place] for place in order[: plan.requests]]
    kept = [row for row in side if str(cohort.patient[row]) != named[0]]
    gone = [row for row in side if str(cohort.patient[row]) == named[0]]
    sets = [replace(first, forget=np.array(sorted(gone)), retain=np.array(sorted(kept)), notes=())]
    for one in named[1:]:
        sets.append(further_withdrawal(sets[-1], ForgetRequest(patients=(one,)), cohort=cohort))

    prepared = workflow.prepare(
        cohort=cohort,
        partition=sets[0],
        images=small.get("images"),
        architecture=small.get("model"),
    )
    return Study(plan, work, cohort, tuple(sets), prepared)


def carried_out(study: Study) -> Iterator[str]:
    """Make the models that are missing, one after the other; yields what was made."""
    plan = study.plan
    if not study.has(ORIGINAL):
        trained, _ = workflow.train(
            prepared=study.prepared, partition=study.sets[0], seed=plan.seed
        )
        study.keep(ORIGINAL, trained)
        yield ORIGINAL

    for number in range(1, plan.requests + 1):
        for series in SERIES:
            name = plan.name(series, number)
            if not study.has(name):
                before = plan.name(series, number - 1)
                study.keep(name, after_request(study, before, number, series))
                yield name
        if number in plan.measured_at:
            for one in range(plan.retrains):
                name = f"{retrained_name(one)}-{number}"
                if not study.has(name):
                    study.keep(name, retrained(study, number, one))
                    yield name


def after_request(study: Study, before: str, number: int, series: str) -> Any:
    """The model that a request leaves; where a refresh is due, a short retraining."""
    refresh = series == "with" and number in study.plan.measured_at
    method = methods.get(REFRESH if refresh else study.plan.method)()
    return workflow.unlearn(
        prepared=study.prepared,
        partition=study.sets[number - 1],
        model=study.model(before),
        method=method,
        seed=derive(study.plan.seed, "request", str(number)),
    ).model


def retrained(study: Study, number: int, one: int) -> Any:
    """A model retrained without everybody who was forgotten so far."""
    model, _ = workflow.train(
        prepared=study.prepared,
        partition=study.sets[number - 1],
        seed=derive(study.plan.seed, retrained_name(one)),
        without_forgotten=True,
    )
    return model


def point(study: Study, number: int, series: str) -> Point:
    """Compare one series with the retrained models, on all who were forgotten so far."""
    # All of them, not the last alone
    sets = replace(study.sets[number - 1], earlier=np.empty(0, np.int64))

    def said_by(name: str) -> Signals:
        return workflow.predict(prepared=study.prepared, model=study.model(name))

    retrains = [said_by(f"{retrained_name(one)}-{number}") for one in range(study.plan.retrains)]
    original, unlearned = said_by(ORIGINAL), said_by(study.plan.name(series, number))
    scores = workflow.evaluate(
        original=original, unlearned=unlearned, retrained=retrains, partition=sets, resamples=0
    )

    def value(row: str, measure: str, on: str = "") -> float:
        # With very few people some measures are not defined
        score = scores.get(row, measure, head="image", on=on)
        return float("nan") if isinstance(score, Failed) else float(score.value)

    names = [retrained_name(one) for one in range(study.plan.retrains)]
    models = {ORIGINAL: original, "unlearned": unlearned, **dict(zip(names, retrains, strict=True))}
    rule = Rule()
    by_channel = through(
        AdversaryKnowledge(sets, models, task=study.cohort.task).with_target("unlearned"),
        rule.channels,
    )
    verdict = decide(rule, {channel: [forget_draw(one)] for channel, one in by_channel.items()})
    return Point(
        number,
        series,
        value("unlearned", "gap"),
        float(np.mean([value(name, "gap") for name in names])),
        value("unlearned", "jsf", "forget"),
        float(np.mean([value(name, "jsf", "forget") for name in names])),
        value("unlearned", "auc", "test"),
        float(np.mean([value(name, "auc", "test") for name in names])),
        verdict.outcome,
    )


def table(points: list[Point]) -> list[str]:
    """All comparisons."""
    body = []
    for one in points:
        body.append(
            [
                one.requests,
                f"{one.series} refresh",
                f"{one.gap:.3f} ({one.floor:.3f})",
                f"{one.divergence:.3f} ({one.divergence_floor:.3f})",
                f"{one.auc:.3f} ({one.auc_retrained:.3f})",
                one.verdict,
            ]
        )
    head = ["requests", "series", "gap (floor)", "JSf (floor)", "test AUC (retrained)", "verdict"]
    return rows(head, body)


def main() -> None:
    """Carry out what is missing, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of models and results")
    parser.add_argument("--page", type=Path, help="page with marks for the table")
    parser.add_argument("--patients", type=int, default=180)
    parser.add_argument("--reference", type=int, default=300)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--retrains", type=int, default=3)
    parser.add_argument("--method", default="forget_mi")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", choices=("small", "compact"), default="small")
    options = vars(parser.parse_args())
    work, page = options.pop("work"), options.pop("page")

    plan = Plan(**options)
    study = study_of(plan, work)
    for name in carried_out(study):
        print(name, flush=True)
    points = [point(study, number, one) for number in plan.measured_at for one in SERIES]
    (work / "points.json").write_text(json.dumps([asdict(one) for one in points], indent=1))

    words = [f"--{name}={value}" for name, value in options.items()]
    text = "\n".join(
        [f"    {command('one_after_another', ['--work=FOLDER', *words])}", "", *table(points)]
    )
    put(page, {"one-after-another": text})


if __name__ == "__main__":
    main()
