"""Shadow models: trained like the original on random halves of the patients, as references of the audit's attacks.

They serve LiRA, RMIA, IAM, U-LiRA and RULI, never as Retrain (which is the exact retained side). A never-seen patient
must be inside some of them, too: otherwise nothing tells what having been trained on would look like for that patient.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.json_text import read_json
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import derive
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import Pool
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.jobs.runner import run_all
from forgetmi.run import workflow
from forgetmi.run.claim import claim
from forgetmi.run.directory import RunDirectory
from forgetmi.run.prepared import open_checkpoint
from forgetmi.run.run_data import OpenedRun
from forgetmi.run.shadow_plan import (
    Plan,
    attacked_digest,
    forget_sets,
    inside,
    patients_digest,
    rows_of_sides,
)
from forgetmi.run.some_rows import on_rows, save_for_audit, train_on_rows
from forgetmi.run.spec import RunSpec
from forgetmi.run.unlearn_from import unlearn_from

PLAN = "plan.json"


def make_pool(
    plan: Plan,
    spec: RunSpec,
    run: RunDirectory,
    root: Path,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """Train what is not there yet of a pool, side by side; given again, an interrupted pool goes on.

    Args:
        plan: The pool.
        spec, run: The finished run whose architecture, vocabulary, recipe and method are used.
        root: Directory of the pool.
        on_progress: Called with (name of the model, done, total).

    Returns:
        How many were trained now; 0 = the pool was finished already.

    Raises:
        SpecError: The directory holds another pool.
    """
    directory = RunDirectory(root)
    with directory.lock():
        # Another plan would draw other halves
        claim(root / PLAN, _text(plan), kind="pool of shadow models")

        jobs = []
        for number in range(plan.models):
            name = _name(number)
            if not directory.signals(name).exists():
                jobs.append(Job(name, make_shadow, (plan, spec, run.root, root, number)))
        run_all(jobs, spec.resources, on_progress=on_progress)
        _clear(plan, directory)
    return len(jobs)


def _clear(plan: Plan, directory: RunDirectory) -> None:
    """Remove what a finished pool needs no more; a process that was killed at its last steps leaves some of it."""
    stages = []
    for number in range(plan.models):
        name = _name(number)
        shutil.rmtree(directory.model(name), ignore_errors=True)
        stages += [name, *(_name(number, position) for position in range(plan.unlearnings))]
    directory.drop_states(stages)
    with suppress(OSError):
        directory.model("").rmdir()


def make_shadow(
    plan: Plan, spec: RunSpec, run: Path, root: Path, number: int, progress: ProgressCallback
) -> None:
    """Train one shadow model, let it unlearn, and store the signals of all; runs in a worker process."""
    # Folders that other workers may be making, too
    directory = RunDirectory(root)
    name = _name(number)
    for folder in ("models", "signals", "state"):
        (root / folder).mkdir(exist_ok=True)

    # The run's data as the run had them, prepared as for its original; a given original may be another one by now
    made = RunDirectory(run)
    cohort = spec.cohort.load()
    partition = read_partition(made.partition, cohort)
    prepared, _ = open_checkpoint(made.model(ORIGINAL), cohort=cohort, factory=spec.model.factory)
    prepared = prepared.on_hardware(spec)
    patients = np.flatnonzero(inside(plan, partition)[number])
    seed = derive(plan.seed, "shadow", number)

    # Trained on its half of the patients
    if not directory.model(name).exists():
        train_on_rows(
            directory.model(name),
            spec=spec,
            cohort=cohort,
            sets=_half(partition, patients, patients[:1]),
            prepared=prepared,
            role="shadow",
            seed=seed,
            state=directory.state(name),
            progress=progress,
        )

    directory.drop_state(name)

    # Each forget set unlearned from the trained model
    for position, forgotten in enumerate(forget_sets(plan, partition, number)):
        unlearned = _name(number, position)
        if directory.signals(unlearned).exists():
            continue

        result = unlearn_from(
            directory.model(name),
            spec,
            OpenedRun(cohort, _half(partition, patients, forgotten), prepared),
            seed=derive(seed, "unlearn", position),
            state=directory.state(unlearned),
            progress=progress,
        )
        signals = workflow.predict(prepared=prepared, model=result.model)
        save_for_audit(signals, directory.signals(unlearned))
        directory.drop_state(unlearned)

    # Its own signals come last: they say that everything is done, and the weights are needed no more.
    _, loaded = open_checkpoint(directory.model(name), cohort=cohort, factory=spec.model.factory)
    save_for_audit(workflow.predict(prepared=prepared, model=loaded.model), directory.signals(name))
    shutil.rmtree(directory.model(name))


def _half(partition: Partition, patients: Ints, forgotten: Ints) -> Partition:
    """Trained on these patients alone, of whom some are forgotten; validation as it was."""
    # The rows of these patients, in the order of the cohort
    rows = rows_of_sides(partition)
    rows = rows[np.isin(partition.patient[rows], patients)]
    return on_rows(partition, rows, forgotten=forgotten)


def _name(number: int, unlearning: int | None = None) -> str:
    name = f"shadow-{number:03d}"
    return name if unlearning is None else f"{name}-unlearned-{unlearning}"


def _text(plan: Plan) -> str:
    """A plan as stored; that of shadow models says nothing of verifiers, as before there were any."""
    plain = asdict(plan)
    if plan.retained_share == 0:
        del plain["retained_share"]
    return json.dumps(plain, indent=1, sort_keys=True) + "\n"


def _stored(root: Path) -> Plan:
    do = "Restore the file, or make the pool again with another --out."
    values = read_json(root / PLAN, what="the plan of the pool", do=do)
    return from_plain(Plan, values, where=PLAN, complete=True)


def read_pools(root: Path, *, cohort: Cohort, partition: Partition) -> tuple[Pool, Pool | None]:
    """The plain shadow models of a finished pool, and the unlearned ones where there are any.

    Args:
        root: Directory of the pool.
        cohort: The cohort it was made for.
        partition: Of the run it was made for; where nothing was unlearned, also of another run with the same holdout
            and training side.

    Raises:
        SpecError: It is no pool, is of other data, is not finished, or holds verifiers.
    """
    plan, directory = _finished_pool(root, cohort, partition)
    if plan.retained_share > 0:
        raise SpecError(
            Fault("these are ignorance verifiers", where=root.name, do="Give them as --verifiers.")
        )

    # Models as they were trained; nobody is unlearned.
    masks = inside(plan, partition)
    signals = [Signals.load(directory.signals(_name(number))) for number in range(plan.models)]
    plain = Pool(tuple(signals), masks, np.zeros_like(masks))
    if plan.unlearnings == 0:
        return plain, None

    # Each model once for every forget set that it unlearned.
    retained, gone, unlearned = [], [], []
    for number in range(plan.models):
        for position, forgotten in enumerate(forget_sets(plan, partition, number)):
            out = np.isin(np.arange(masks.shape[1]), forgotten)
            retained.append(masks[number] & ~out)
            gone.append(out)
            unlearned.append(Signals.load(directory.signals(_name(number, position))))
    return plain, Pool(tuple(unlearned), np.array(retained), np.array(gone))


def read_verifiers(root: Path, *, cohort: Cohort, partition: Partition) -> tuple[Signals, ...]:
    """The signals of finished ignorance verifiers.

    Args:
        root: Directory of the pool.
        cohort: The cohort it was made for.
        partition: Of a run whose forgotten patients none of them was trained on.

    Raises:
        SpecError: It is no pool, is of other data, is not finished, or holds shadow models, which are not ignorant.
    """
    plan, directory = _finished_pool(root, cohort, partition)
    if plan.retained_share == 0:
        raise SpecError(
            Fault(
                "these are shadow models, which are not ignorant of the forgotten",
                where=root.name,
                do="Give them as --shadows, or make verifiers: forgetmi shadows --retained-share 0.15.",
            )
        )
    return tuple(Signals.load(directory.signals(_name(number))) for number in range(plan.models))


def _finished_pool(root: Path, cohort: Cohort, partition: Partition) -> tuple[Plan, RunDirectory]:
    """The plan and the directory of a pool.

    Raises:
        SpecError: It is no pool, is of other data, or is not finished.
    """
    if not (root / PLAN).exists():
        raise SpecError(
            Fault(
                "this is no directory of shadow models",
                where=root.name,
                do="Give the --out of forgetmi shadows.",
            )
        )
    # Of the same patients, and whole
    plan = _stored(root)
    directory = RunDirectory(root)
    _check_data(plan, root, cohort, partition)
    _check_finished(plan, directory)
    return plan, directory


def _check_data(plan: Plan, root: Path, cohort: Cohort, partition: Partition) -> None:
    """Refuse a pool of other patients: who is in which half is drawn again."""
    same_patients = (plan.cohort, plan.people) == (cohort.digest, patients_digest(partition))
    # Forget sets are drawn from the patients that attacks ask about, of whom verifiers know none
    any_asked = not plan.unlearnings and plan.retained_share == 0
    same_attacked = any_asked or plan.asked == attacked_digest(partition)
    if not same_patients or not same_attacked:
        raise SpecError(
            Fault(
                "the shadow models are of another cohort or of other sets",
                where=root.name,
                do="Give the run they were made for first.",
            )
        )


def _check_finished(plan: Plan, directory: RunDirectory) -> None:
    """Refuse a pool with models that are not done."""
    numbers = range(plan.models)
    finished = sum(directory.signals(_name(number)).exists() for number in numbers)
    if finished < plan.models:
        raise SpecError(
            Fault(
                f"{finished} of {plan.models} shadow models are done",
                where=directory.root.name,
                do="Give the command of forgetmi shadows again; it goes on where it stopped.",
            )
        )
