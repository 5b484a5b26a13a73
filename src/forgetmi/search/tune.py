"""Hyper-parameters on equal terms: the same number of trials for every method, each at most one retraining."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from forgetmi.core.cost import Meter
from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.files import full_disk_explained, write_json, write_text
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.jobs.runner import run_all
from forgetmi.run import workflow
from forgetmi.run.claim import claim
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_data import load_data, open_run
from forgetmi.run.run_models import retrained_names
from forgetmi.run.spec import RunSpec, replace_seed, to_plain, write_yaml
from forgetmi.run.stages import make_model
from forgetmi.run.unlearn_from import unlearn_from
from forgetmi.search.rules import Judgement, against_retrains, against_validation, own_rows

Rule = Literal["own", "shipped"]


@dataclass(frozen=True)
class Plan:
    """A tuning.

    Args:
        root: Its directory.
        specs: The runs it tries methods in, one a seed.
        rule: own, for a user's cohort: validation patients alone decide; shipped: retrained models decide, on cohorts
            that are never reported.
        trials: Every method's options in the order they are tried, by the method's name; the first are the defaults.
    """

    root: Path
    specs: tuple[RunSpec, ...]
    rule: Rule
    trials: Mapping[str, tuple[Any, ...]]

    def plain(self) -> dict[str, Any]:
        """What must be the same for an interrupted tuning to go on."""
        return {
            "rule": self.rule,
            "specs": [to_plain(spec) for spec in self.specs],
            "trials": {
                name: [to_plain(one) for one in tried] for name, tried in self.trials.items()
            },
        }

    def text(self) -> str:
        """The same as stored."""
        return json.dumps(self.plain(), indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Chosen:
    """What a tuning found for one method.

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


def candidates(method: Any, name: str, *, count: int, seed: int) -> tuple[Any, ...]:
    """The options to try: the given ones, then draws without repetition from the method's search space.

    Args:
        method: With the options to start from.
        name: Its registered name.
        count: Number of trials, >= 1; fewer where the space is smaller.
        seed: Root seed of the draw.
    """
    space = method.info.search
    grid = [
        replace(method, **dict(zip(space, values, strict=True)))
        for values in product(*space.values())
    ]
    others = [one for one in grid if one != method]
    order = numpy_generator(seed, "tune", name).permutation(len(others))
    return (method, *(others[at] for at in order[: count - 1]))


def make_plan(
    root: Path,
    spec: RunSpec,
    methods: Mapping[str, Any],
    *,
    rule: Rule,
    seeds: Sequence[int] = (),
    trials: int = 8,
) -> Plan:
    """Which options of which methods are tried where.

    Args:
        root: Directory of the tuning.
        spec: The run; its method is not used.
        methods: By registered name, with the options of the first trial.
        rule: See `Plan`.
        seeds: For the rule shipped: seeds of cohort, patients and models.
        trials: Of each method.

    Raises:
        SpecError: The rule and the rest do not fit together.
    """
    faults = []
    if trials < 1:
        faults.append(Fault(f"{trials} trials were asked for", do="Ask for at least 1."))
    if rule == "shipped" and (not seeds or spec.given.original is not None):
        faults.append(
            Fault(
                "the rule shipped trains its own models",
                why="seeds are missing or a model is given",
                do="Give --seeds and no model, or use the rule own.",
            )
        )
    if rule == "shipped" and spec.retrains < 2:
        faults.append(
            Fault(f"{spec.retrains} retrained models make no gap", do="Set retrains to 2 or more.")
        )
    if faults:
        raise SpecError(faults)
    specs = (
        tuple(replace_seed(spec, seed) for seed in seeds)
        if rule == "shipped"
        else (replace(spec, retrains=0, given=replace(spec.given, retrained=())),)
    )
    return Plan(
        root,
        specs,
        rule,
        {
            name: candidates(method, name, count=trials, seed=spec.seed)
            for name, method in methods.items()
        },
    )


def tune(plan: Plan, *, on_progress: Callable[[str, int, int], None] | None = None) -> list[Chosen]:
    """Make what is not there yet of a tuning, and choose; every trial is kept.

    Args:
        plan: The tuning.
        on_progress: Called with (what, done, in all).

    Returns:
        A choice for every method, also written as NAME.json (all trials) and NAME.yaml (for ``--spec``).

    Raises:
        SpecError: The directory holds another tuning.
    """
    directory = RunDirectory(plan.root)
    with directory.lock(), full_disk_explained(plan.root.name):
        claim(plan.root / "plan.json", plan.text(), kind="tuning")
        jobs: dict[str, Job] = {}
        work = partial(make_model, test=plan.rule == "shipped")
        for spec in plan.specs:
            for name, tried in plan.trials.items():
                run = replace(spec, method=tried[0])
                home = _home(plan, run, name)
                models = {
                    model: f"{home.name} {model}"
                    for model in (ORIGINAL, *retrained_names(spec))
                    if model == ORIGINAL or home == _usual(plan, spec)
                }
                for model, label in models.items():
                    jobs.setdefault(label, Job(label, work, (run, home, model)))
                for number, method in enumerate(tried):
                    folder = _folder(plan, name, number, spec)
                    if not (folder / "trial.json").exists():
                        label = f"{name} {number + 1}/{len(tried)}, seed {spec.seed}"
                        jobs[label] = Job(
                            label,
                            attempt,
                            (plan.rule, replace(spec, method=method), home, folder),
                            after=models[ORIGINAL],
                        )
        todo = [
            job
            for job in jobs.values()
            if job.work is attempt
            or not RunDirectory(job.arguments[1]).signals(job.arguments[2]).exists()
        ]
        run_all(todo, plan.specs[0].resources, on_progress=on_progress)
        return [_choose(plan, name) for name in plan.trials]


def attempt(
    rule: Rule, spec: RunSpec, home: Path, folder: Path, progress: ProgressCallback
) -> None:
    """One trial on one seed: unlearn, run the model once, store what it says and what it took.

    Args:
        rule: The rule own looks at forgotten and validation patients alone.
        spec: The run, with the options to try.
        home: Run directory of the original.
        folder: Where the trial is kept.
        progress: Called with (done, in all).
    """
    data = open_run(spec)
    original = RunDirectory(home).model(ORIGINAL)
    folder.mkdir(parents=True, exist_ok=True)
    budget = spec.training.epochs * len(data.partition.retain)
    found: dict[str, Any] = {
        "options": to_plain(spec.method),
        "seed": spec.seed,
        "budget": budget,
        "failed": "",
    }
    with Meter() as meter:
        try:
            done = unlearn_from(
                original,
                spec,
                data,
                log_of=spec.given.original or original,
                state=folder / "state.pt",
                progress=lambda done, total: progress(done, total + 1),
            )
        except MethodError as error:
            found["failed"] = " ".join(str(fault) for fault in error.faults)
        else:
            found |= {
                "samples": sum(done.trace.samples.values()),
                "steps": done.trace.steps,
                "moved": done.trace.moved,
                "first_gradient": done.trace.first_gradient,
                "facts": done.trace.facts,
            }
            rows = None if rule == "shipped" else own_rows(data.partition)
            workflow.predict(prepared=data.prepared, model=done.model, rows=rows).save(
                folder / "signals.npz"
            )
    write_json(folder / "trial.json", {**found, "cost": asdict(meter.cost)})
    (folder / "state.pt").unlink(missing_ok=True)
    progress(1, 1)


def _usual(plan: Plan, spec: RunSpec) -> Path:
    """Run directory of a seed's usual original and its retrained models."""
    return plan.root / f"seed-{spec.seed}"


def _home(plan: Plan, spec: RunSpec, name: str) -> Path:
    """Run directory of the original a method starts from: its own where it needs one, else the usual one."""
    usual = _usual(plan, spec)
    return (
        usual.with_name(f"{usual.name}-{name}") if spec.method.info.original is not None else usual
    )


def _folder(plan: Plan, name: str, number: int, spec: RunSpec) -> Path:
    return plan.root / "trials" / name / f"{number}-seed-{spec.seed}"


def _choose(plan: Plan, name: str) -> Chosen:
    """Judge a method's trials on every seed, take the best that is allowed on all of them, and write it down."""
    tried = plan.trials[name]
    judged: list[list[Judgement | str]] = [[] for _ in tried]
    for spec in plan.specs:
        for number, judgement in enumerate(_judge(plan, name, spec)):
            judged[number].append(judgement)
    records = [_record(plan, name, number, found) for number, found in enumerate(judged)]
    allowed = [record for record in records if not record["refused"]]
    best = min(allowed, key=lambda record: record["score"]) if allowed else records[0]
    chosen = Chosen(
        name,
        tried[best["trial"]],
        best["trial"],
        best["score"],
        records[0]["score"],
        forgot=best["score"] is not None and not best["stayed"],
        refused="" if allowed else "; ".join(sorted({record["refused"] for record in records})),
    )
    write_json(
        plan.root / f"{name}.json",
        {
            "method": name,
            "rule": plan.rule,
            "seeds": [spec.seed for spec in plan.specs],
            "trials": records,
            "chosen": None if chosen.refused else chosen.number,
            "did_not_forget": not chosen.forgot,
        },
    )
    if not chosen.refused:
        write_text(plan.root / f"{name}.yaml", write_yaml({"method": chosen.method}))
    return chosen


def _record(plan: Plan, name: str, number: int, found: Sequence[Judgement | str]) -> dict[str, Any]:
    """One trial over all seeds."""
    good = [one for one in found if isinstance(one, Judgement)]
    whole = len(good) == len(found)
    refused = sorted({one if isinstance(one, str) else one.refused for one in found} - {""})
    return {
        "trial": number,
        "options": to_plain(plan.trials[name][number]),
        "refused": "; ".join(refused),
        "score": float(np.mean([one.score for one in good])) if whole else None,
        "stayed": whole and all(one.stayed for one in good),
        "seeds": {
            str(spec.seed): one if isinstance(one, str) else one.plain()
            for spec, one in zip(plan.specs, found, strict=True)
        },
    }


def _judge(plan: Plan, name: str, spec: RunSpec) -> list[Judgement | str]:
    """A judgement of each trial on one seed; a sentence where there is none."""
    cohort, partition = load_data(spec)
    stored = [
        json.loads((_folder(plan, name, number, spec) / "trial.json").read_text(encoding="utf-8"))
        for number in range(len(plan.trials[name]))
    ]
    home = _home(plan, replace(spec, method=plan.trials[name][0]), name)
    models = {ORIGINAL: Signals.load(RunDirectory(home).signals(ORIGINAL))}
    models |= {
        model: Signals.load(RunDirectory(_usual(plan, spec)).signals(model))
        for model in retrained_names(spec)
    }
    models |= {
        f"trial-{number}": Signals.load(_folder(plan, name, number, spec) / "signals.npz")
        for number, trial in enumerate(stored)
        if not trial["failed"]
    }
    judged = (
        against_retrains(models, partition, ordinal=cohort.ordinal, seed=spec.seed)
        if plan.rule == "shipped"
        else against_validation(models, partition)
    )
    found: list[Judgement | str] = []
    for number, trial in enumerate(stored):
        one = trial["failed"] or judged[f"trial-{number}"]
        if isinstance(one, Judgement) and trial["samples"] > trial["budget"]:
            why = f"reads {trial['samples']} samples, one retraining reads {trial['budget']}"
            one = replace(one, refused="; ".join(filter(None, (one.refused, why))))
        found.append(one)
    return found
