"""Make a standing pool: models of the training side without one fold each, made once for all requests to come."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_text
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import derive
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.jobs.runner import run_all
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.run import workflow
from forgetmi.run.claim import claim
from forgetmi.run.directory import RunDirectory
from forgetmi.run.given_patients import FACTS, patients_in
from forgetmi.run.pool_plan import (
    PLAN,
    Folds,
    Member,
    PoolPlan,
    draw_folds,
    plan_text,
    read_folds,
    write_folds,
)
from forgetmi.run.prepared import open_checkpoint
from forgetmi.run.run_data import divide
from forgetmi.run.some_rows import on_rows, save_for_audit, train_on_rows
from forgetmi.run.spec import RunSpec, write_yaml

# What else lies in a pool: what it was made with, and what the model in service says
SPEC, IN_SERVICE = "spec.yaml", "in_service.npz"


class PoolDirectory:
    """Paths of a standing pool.

    Args:
        root: The directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, member: Member) -> RunDirectory:
        """Where a member's model, signals and progress lie: apart by what it may be used for."""
        return RunDirectory(self.root / member.use)

    def signals(self, member: Member) -> Path:
        """A member's signals for every row of the cohort."""
        return self.of(member).signals(member.name)


def plan_pool(
    spec: RunSpec, *, folds: int, repetitions: int, targets: int, seed: int, keep_models: bool
) -> tuple[PoolPlan, Folds]:
    """A pool for a model in service.

    Args:
        spec: Names the model (`given.original`), its cohort and its recipe.
        folds, repetitions, targets, seed, keep_models: See `PoolPlan`.

    Raises:
        SpecError: The model does not name the patients it has seen, or numbers are out of range.
    """
    original = spec.given.original
    assert original is not None
    if patients_in(original) is None:
        raise SpecError(
            Fault(
                "the model does not name the patients it was trained on",
                where=original.name,
                why="a pool leaves out exactly those",
                do="Train it with forgetmi train or run, which store them.",
            )
        )

    faults = []
    for option, number, least in (("--repetitions", repetitions, 1), ("--targets", targets, 0)):
        if not least <= number <= _MOST:
            do = f"Ask for {least} to {_MOST}."
            faults.append(Fault(f"{number} is not possible", where=option, do=do))
    if faults:
        raise SpecError(faults)

    cohort = spec.cohort.load()
    drawn = draw_folds(
        cohort, divide(spec, cohort), folds=folds, repetitions=repetitions + targets, seed=seed
    )
    plan = PoolPlan(
        folds=folds,
        repetitions=repetitions,
        targets=targets,
        seed=seed,
        keep_models=keep_models,
        cohort=cohort.digest,
        original=read_facts(original / FACTS)["weights"],
        recipe=spec.training,
        people=drawn.digest,
    )
    return plan, drawn


# Repetitions: each costs K - 1 trainings
_MOST = 1000


def make_pool(
    plan: PoolPlan,
    folds: Folds,
    spec: RunSpec,
    root: Path,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """Train what is not there yet of a pool, side by side; given again, an interrupted one goes on.

    Args:
        plan, folds: The pool.
        spec: As for `plan_pool`.
        root: Its directory.
        on_progress: Called with (name of the member, done, total).

    Returns:
        How many members were trained now; 0 = the pool was finished already.

    Raises:
        SpecError: The directory holds another pool.
    """
    directory = PoolDirectory(root)
    with RunDirectory(root).lock():
        # The folds first: with the plan there is a pool
        if not (root / PLAN).exists():
            write_folds(root, folds)
            write_text(root / SPEC, write_yaml(spec))
        claim(root / PLAN, plan_text(plan), kind="pool")

        jobs = []
        if not (root / IN_SERVICE).exists():
            jobs.append(Job("in service", predict_in_service, (spec, root)))
        for member in plan.members():
            if not directory.signals(member).exists():
                jobs.append(Job(member.name, make_member, (plan, spec, root, member)))
        run_all(jobs, spec.resources, on_progress=on_progress)

        for member in plan.members():
            _clear(plan, directory.of(member), member)
    return len(jobs)


def make_member(
    plan: PoolPlan, spec: RunSpec, root: Path, member: Member, progress: ProgressCallback
) -> None:
    """Train one member and store its signals; runs in a worker process."""
    # Folders that other workers may be making, too
    directory = PoolDirectory(root).of(member)
    for folder in ("models", "signals", "state"):
        (directory.root / folder).mkdir(parents=True, exist_ok=True)

    # The model in service's own vocabulary and image rules
    assert spec.given.original is not None
    cohort = spec.cohort.load()
    partition = divide(spec, cohort)
    prepared, _ = open_checkpoint(spec.given.original, cohort=cohort, factory=spec.model.factory)
    prepared = prepared.on_hardware(spec)

    rows = rows_of(member, read_folds(root, plan), cohort, partition)
    if not directory.model(member.name).exists():
        train_on_rows(
            directory.model(member.name),
            spec=spec,
            cohort=cohort,
            sets=on_rows(partition, rows, forgotten=partition.patient[rows[:1]]),
            prepared=prepared,
            role="pool",
            seed=derive(plan.seed, "pool", member.name),
            state=directory.state(member.name),
            progress=progress,
        )
    directory.drop_state(member.name)

    # Its signals come last: they say that everything is done
    _, loaded = open_checkpoint(
        directory.model(member.name), cohort=cohort, factory=spec.model.factory
    )
    signals = workflow.predict(prepared=prepared, model=loaded.model)
    save_for_audit(signals, directory.signals(member.name))
    _clear(plan, directory, member)


def predict_in_service(spec: RunSpec, root: Path, progress: ProgressCallback) -> None:
    """Store the signals of the model in service, with which the members' are compared; runs in a worker process."""
    assert spec.given.original is not None
    prepared, loaded = open_checkpoint(
        spec.given.original, cohort=spec.cohort.load(), factory=spec.model.factory
    )
    prepared = prepared.on_hardware(spec)
    signals = workflow.predict(prepared=prepared, model=loaded.model)
    save_for_audit(signals, root / IN_SERVICE)


def rows_of(member: Member, folds: Folds, cohort: Cohort, partition: Partition) -> Ints:
    """The rows that a member is trained on: the training side without its fold, in the order of the cohort."""
    now = partition.of_request()
    side = np.sort(np.concatenate([now.forget, now.retain]))
    fold = folds.of(member.repetition, cohort.patient[side])
    return side[(fold >= 0) & (fold != member.fold)]


def _clear(plan: PoolPlan, directory: RunDirectory, member: Member) -> None:
    """Remove what a finished member needs no more; a killed process leaves some of it."""
    if not plan.keep_models:
        shutil.rmtree(directory.model(member.name), ignore_errors=True)
        with suppress(OSError):
            directory.model("").rmdir()
    directory.drop_states([member.name])
