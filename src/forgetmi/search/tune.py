"""Hyper-parameters on equal terms: the same number of trials for every method, each at most one retraining."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from forgetmi.core.cost import Meter
from forgetmi.core.errors import MethodError
from forgetmi.core.files import full_disk_explained, write_json
from forgetmi.core.model_names import ORIGINAL
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.jobs.runner import run_all
from forgetmi.run import workflow
from forgetmi.run.claim import claim
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_data import open_run
from forgetmi.run.run_models import retrained_names
from forgetmi.run.spec import RunSpec, to_plain
from forgetmi.run.stages import make_model
from forgetmi.run.unlearn_from import unlearn_from
from forgetmi.search.former_names import update_stored_name
from forgetmi.search.rule_names import RETRAINING, Rule
from forgetmi.search.rules import validation_rows
from forgetmi.search.tune_choice import Chosen, choose
from forgetmi.search.tune_plan import Plan

logger = logging.getLogger(__name__)

_STATE = "state.pt"  # what an interrupted trial resumes from


def tune(plan: Plan, *, on_progress: Callable[[str, int, int], None] | None = None) -> list[Chosen]:
    """Make what is not there yet of a tuning, and choose; every trial is stored.

    Args:
        plan: The tuning.
        on_progress: Called with (name of the job, done, total).

    Returns:
        A choice for every method, also written as NAME.json (all trials) and NAME.yaml (for ``--spec``).

    Raises:
        SpecError: The directory has another tuning in it.
    """
    directory = RunDirectory(plan.root)
    with directory.lock(), full_disk_explained(plan.root.name):
        path = plan.root / "plan.json"
        update_stored_name(path, "rule")
        claim(path, plan.text(), kind="tuning")

        jobs = _unfinished_jobs(plan)
        logger.info("tuning begun: %d methods, %d jobs to do", len(plan.trials), len(jobs))
        run_all(jobs, plan.specs[0].resources, on_progress=on_progress)
        _drop_states(plan)

        chosen = [choose(plan, name) for name in plan.trials]
        logger.info("tuning finished: %d choices", len(chosen))
        return chosen


def is_finished(plan: Plan) -> bool:
    """Whether every trial of a tuning is made and every choice written down."""
    written = all((plan.root / f"{name}.json").exists() for name in plan.trials)
    return written and not _unfinished_jobs(plan)


@dataclass(frozen=True)
class _Task:
    """A job, and the file that is there once it is done."""

    job: Job
    result: Path


def _unfinished_jobs(plan: Plan) -> list[Job]:
    """Every job of a tuning whose result is not there yet, in the order they are best done."""
    tasks: dict[str, _Task] = {}
    for spec in plan.specs:
        for name in plan.trials:
            # Methods that start from the usual original share it: it is made once.
            for task in _model_tasks(plan, spec, name):
                tasks.setdefault(task.job.name, task)
            for task in _trial_tasks(plan, spec, name):
                tasks[task.job.name] = task

    return [task.job for task in tasks.values() if not task.result.exists()]


def _model_tasks(plan: Plan, spec: RunSpec, name: str) -> Iterator[_Task]:
    """The original a method starts from and, where that is the usual one, the retrained models."""
    home = plan.home(spec, name)
    models = [ORIGINAL]
    if home == plan.usual_home(spec):
        models += retrained_names(spec)

    # Signals on test patients are needed by the rule retraining alone.
    work = partial(make_model, test=plan.rule == RETRAINING)
    first, *_ = plan.trials[name]
    run = replace(spec, method=first)
    for model in models:
        job = Job(_model_job(home, model), work, (run, home, model))
        yield _Task(job, RunDirectory(home).signals(model))


def _trial_tasks(plan: Plan, spec: RunSpec, name: str) -> Iterator[_Task]:
    """Every trial of a method on one seed, after the original it starts from."""
    home = plan.home(spec, name)
    methods = plan.trials[name]
    for number, method in enumerate(methods):
        folder = plan.trial_folder(name, number, spec)
        job = Job(
            f"{name} {number + 1}/{len(methods)}, seed {spec.seed}",
            attempt,
            (plan.rule, replace(spec, method=method), home, folder),
            after=_model_job(home, ORIGINAL),
        )
        yield _Task(job, folder / "trial.json")


def _drop_states(plan: Plan) -> None:
    """Remove what finished jobs would have resumed from; a process that was killed at its last step leaves it."""
    for spec in plan.specs:
        for name, methods in plan.trials.items():
            RunDirectory(plan.home(spec, name)).drop_states([ORIGINAL, *retrained_names(spec)])
            for number in range(len(methods)):
                (plan.trial_folder(name, number, spec) / _STATE).unlink(missing_ok=True)


def _model_job(home: Path, model: str) -> str:
    """Name of the job that makes a model."""
    return f"{home.name} {model}"


def attempt(
    rule: Rule, spec: RunSpec, home: Path, folder: Path, progress: ProgressCallback
) -> None:
    """One trial on one seed: unlearn, run the model once, store its signals and its cost.

    Args:
        rule: The rule validation reads forgotten and validation patients alone.
        spec: The run, with the options to try.
        home: Run directory of the original.
        folder: Where the trial is stored.
        progress: Called with (done, total).
    """
    # The data stay in memory for the next trial
    data = open_run(spec)
    original = RunDirectory(home).model(ORIGINAL)
    folder.mkdir(parents=True, exist_ok=True)

    # What was tried, and how many samples one retraining reads
    record: dict[str, Any] = {
        "options": to_plain(spec.method),
        "seed": spec.seed,
        "budget": spec.training.epochs * len(data.partition.retain),
        "failed": "",
    }
    with Meter() as meter:
        try:
            # Unlearn, with the options to try
            unlearned = unlearn_from(
                original,
                spec,
                data,
                log_of=spec.given.original or original,
                state=folder / _STATE,
                progress=lambda done, total: progress(done, total + 1),
            )
        except MethodError as error:
            record["failed"] = " ".join(str(fault) for fault in error.faults)
        else:
            trace = unlearned.trace
            record |= {
                "samples": sum(trace.samples.values()),
                "steps": trace.steps,
                "moved": trace.moved,
                "first_gradient": trace.first_gradient,
                "facts": trace.facts,
            }

            # Run the model over the patients that the rule reads
            rows = None if rule == RETRAINING else validation_rows(data.partition)
            signals = workflow.predict(prepared=data.prepared, model=unlearned.model, rows=rows)
            signals.save(folder / "signals.npz")

    # The record is written last: it says that the trial is done
    write_json(folder / "trial.json", {**record, "cost": asdict(meter.cost)})
    (folder / _STATE).unlink(missing_ok=True)
    progress(1, 1)
