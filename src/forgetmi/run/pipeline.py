"""One run as resumable stages: cohort, original and retrained models, unlearning, signals, relearning, evaluation,
audit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forgetmi.cohort.canaries import keep_out, read_canaries, write_canaries
from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.further_withdrawal import further_withdrawal
from forgetmi.cohort.identifiers import load_key
from forgetmi.cohort.partition import partition as make_partition
from forgetmi.cohort.partition_file import read_partition, write_partition
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Cost, Meter
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import default_cache, full_disk_explained, write_json, write_text
from forgetmi.core.model_names import (
    ORIGINAL,
    UNLEARNED,
    is_retrained,
    retrained_name,
    retrained_number,
)
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.core.seeding import derive
from forgetmi.core.signals import Signals
from forgetmi.data.duplicates import find_duplicates
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.jobs.runner import run_all
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.report import near_duplicates
from forgetmi.run import workflow
from forgetmi.run.audit_stage import declare, read_draw, run_audit
from forgetmi.run.directory import RunDirectory
from forgetmi.run.relearn import relearn, relearnt
from forgetmi.run.spec import RunSpec, write_yaml


@dataclass(frozen=True, eq=False)
class Run:
    """What a finished run hands to its report.

    Args:
        directory: Where everything lies.
        cohort, partition: The data and who is in which set.
        evaluation: All scores.
    """

    directory: RunDirectory
    cohort: Cohort
    partition: Partition
    evaluation: Evaluation


def device_of(spec: RunSpec) -> str:
    """The device a specification means.

    Raises:
        SpecError: It asks for a GPU of this machine, and there is none.
    """
    if spec.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if spec.device == "cuda" and spec.runner == "local" and not torch.cuda.is_available():
        raise SpecError(
            Fault(
                "there is no GPU that PyTorch can use",
                where="--device cuda",
                do="Leave the option out, or install PyTorch for your GPU (make TORCH=torch).",
            )
        )
    return spec.device


def load_data(spec: RunSpec) -> tuple[Cohort, Partition]:
    """The cohort and its partition, a pure function of the specification and the files."""
    cohort = spec.cohort.load()
    return cohort, divide(spec, cohort)


def divide(spec: RunSpec, cohort: Cohort) -> Partition:
    """The partition a specification means, of its cohort."""
    asked = spec.partition
    forget: Any = asked.percent
    if asked.forget_list is not None:
        key = load_key(getattr(spec.cohort, "key_file", None))
        forget = read_forget_list(asked.forget_list, cohort=cohort, key=key)
    canaries = None if asked.canaries is None else read_canaries(asked.canaries, cohort)
    if canaries is not None:
        forget = canaries.request()
    if asked.after is not None:
        return further_withdrawal(read_partition(asked.after, cohort), forget, cohort=cohort)
    seed = spec.seed if spec.split_seed is None else spec.split_seed
    made = make_partition(
        cohort,
        forget=forget,
        holdout=asked.holdout,
        validation=asked.validation,
        validation_from=asked.validation_from,
        seed=seed,
        draw=asked.draw,
    )
    return made if canaries is None else keep_out(canaries, made, cohort)


def prepare(
    spec: RunSpec, cohort: Cohort, partition: Partition, progress: workflow.Progress | None = None
) -> workflow.Prepared:
    """The cohort made ready for the specification's models, as the given original was where there is one."""
    if spec.given.original is not None:
        return workflow.open_checkpoint(spec.given.original, cohort=cohort, progress=progress)[0]
    return workflow.prepare(
        cohort=cohort,
        partition=partition,
        images=spec.images,
        architecture=spec.model,
        vocabulary=spec.text.vocabulary,
        min_patients=spec.text.min_patients,
        max_length=spec.text.max_length,
        progress=progress,
    )


def model_seed(spec: RunSpec, name: str) -> int:
    """Seed of one model: the root seed for the original and the unlearned, its own for each retrained one."""
    return derive(spec.seed, name) if is_retrained(name) else spec.seed


def given_model(spec: RunSpec, name: str) -> Path | None:
    """Checkpoint of a model that exists already; None = it is to be made."""
    given = spec.given
    if name == ORIGINAL:
        return given.original
    if not is_retrained(name):
        return None

    number = retrained_number(name)
    return given.retrained[number] if number < len(given.retrained) else None


def make_model(
    spec: RunSpec, root: Path, name: str, progress: ProgressCallback, *, test: bool = True
) -> None:
    """Train, take over or unlearn one model, store it, run it once over the cohort and store what it says.

    Runs in a worker process; goes on where an interrupted one stopped. A finished part is not done again.

    Args:
        spec: The run.
        root: Its directory.
        name: "original", "unlearned" or "retrain-0" and so on.
        progress: Called with (done, in all) as work goes on.
        test: Whether the finished model is run over test patients (holdout and reference), too.
    """
    directory, device = RunDirectory(root), device_of(spec)
    if directory.signals(name).exists():
        return
    cohort, partition = load_data(spec)
    prepared = prepare(spec, cohort, partition)
    if not directory.model(name).exists():
        directory.state(name).parent.mkdir(parents=True, exist_ok=True)
        with Meter() as meter:
            if name == UNLEARNED:
                _, original = workflow.open_checkpoint(directory.model(ORIGINAL), cohort=cohort)
                log = workflow.open_log(
                    spec.given.original or directory.model(ORIGINAL), spec.method
                )
                done = workflow.unlearn(
                    prepared=prepared,
                    partition=partition,
                    model=original.model.to(device),
                    method=spec.method,
                    recipe=spec.training,
                    seed=model_seed(spec, name),
                    batch_size=spec.batch_size,
                    training_log=log,
                    state=directory.state(name),
                    progress=progress,
                    device=device,
                )
                model, trace = done.model, done.trace.plain()
                if done.training_log is not None:
                    done.training_log.save(workflow.log_beside(directory.model(name)))
            elif (given := given_model(spec, name)) is not None:
                _, loaded = workflow.open_checkpoint(given, cohort=cohort, like=prepared)
                model = loaded.model.to(device)
                workflow.fit_missing_gate(
                    prepared, loaded, partition, without_forgotten=name != ORIGINAL, seed=spec.seed
                )
                trace = {"given": loaded.digest}
            elif name == ORIGINAL:
                directory.model(name).parent.mkdir(parents=True, exist_ok=True)
                made = workflow.train_original(
                    prepared=prepared,
                    partition=partition,
                    method=spec.method,
                    recipe=spec.training,
                    seed=model_seed(spec, name),
                    resume=directory.state(name),
                    progress=progress,
                    device=device,
                    log=workflow.log_beside(directory.model(name)),
                )
                model, trace = (
                    made.model,
                    {"epochs": made.trace.epochs, "steps": made.trace.total("steps")},
                )
            else:
                model, happened = workflow.train(
                    prepared=prepared,
                    partition=partition,
                    recipe=spec.training,
                    seed=model_seed(spec, name),
                    without_forgotten=True,
                    resume=directory.state(name),
                    progress=progress,
                    device=device,
                )
                trace = {"epochs": happened.epochs, "steps": happened.total("steps")}
        write_json(
            directory.trace(name),
            {**trace, "cost": asdict(meter.cost), "weights": parameter_digest(model)},
        )
        prepared.save(directory.model(name), model, role=name, seed=model_seed(spec, name))
        directory.state(name).unlink(missing_ok=True)
    else:
        _, loaded = workflow.open_checkpoint(directory.model(name), cohort=cohort)
        model = loaded.model.to(device)
    directory.signals(name).parent.mkdir(exist_ok=True)
    rows = (
        None
        if test
        else np.sort(np.concatenate([partition.forget, partition.retain, partition.validation]))
    )
    workflow.predict(prepared=prepared, model=model, rows=rows).save(directory.signals(name))


def relearn_model(spec: RunSpec, root: Path, name: str, progress: ProgressCallback) -> None:
    """Teach one finished model some of the forgotten again and store what it says epoch by epoch; see `make_model`.

    An ensemble cannot be taught so; then nothing is stored, and the audit says that relearning is missing.
    """
    directory, stage = RunDirectory(root), f"relearn-{name}"
    cohort, partition = load_data(spec)
    prepared, loaded = workflow.open_checkpoint(directory.model(name), cohort=cohort)
    if not isinstance(loaded.model, ImageText) or len(partition.of_request().forget) < 4:
        return
    with Meter() as meter:
        relearn(
            prepared=prepared,
            partition=partition,
            model=loaded.model.to(device_of(spec)),
            recipe=spec.training,
            epochs=spec.audit.relearn_epochs,
            lr=spec.audit.relearn_lr,
            seed=spec.seed,
            folder=directory.relearning(name),
            resume=directory.state(stage),
            progress=progress,
        )
    write_json(directory.trace(stage), {"cost": asdict(meter.cost)})
    directory.state(stage).unlink(missing_ok=True)


def relearnt_names(spec: RunSpec) -> list[str]:
    """The models that are taught again: the unlearned one and one retrained model, where the audit wants it."""
    wanted = spec.audit.enabled and spec.audit.relearn_epochs > 0 and retrained_names(spec)
    return [UNLEARNED, retrained_names(spec)[0]] if wanted else []


def model_names(spec: RunSpec) -> list[str]:
    """Every model of a run; the original first, because unlearning waits for it."""
    return [ORIGINAL, *retrained_names(spec), UNLEARNED]


def retrained_names(spec: RunSpec) -> list[str]:
    """The retrained models: given ones first, then those made here."""
    return [retrained_name(r) for r in range(len(spec.given.retrained) + spec.retrains)]


def retraining_cost(spec: RunSpec, directory: RunDirectory) -> Cost | None:
    """What one retraining cost here; None where none was done."""
    made = [name for name in retrained_names(spec) if given_model(spec, name) is None]
    return cost_of(directory, made[0]) if made else None


def run(
    spec: RunSpec, root: Path, *, on_progress: Callable[[str, int, int], None] | None = None
) -> Run:
    """Do what is not done yet of a run, and write its metrics.

    Args:
        spec: The run.
        root: Its directory: new, or that of the same run interrupted.
        on_progress: Called with (what, done, in all).

    Returns:
        What the report needs.

    Raises:
        ForgetMIError: Input, disk or another process is in the way; nothing is half-written.
    """

    def told(what: str) -> workflow.Progress:
        return lambda done, total: (
            on_progress(what, done, total) if on_progress is not None else None
        )

    cohort, partition = load_data(spec)
    prepared = prepare(spec, cohort, partition, told("images"))
    directory = RunDirectory(root)
    with directory.lock(), full_disk_explained(root.name):
        directory.claim(write_yaml(spec))
        write_partition(directory.partition, partition)
        if spec.audit.enabled:
            declare(directory, spec.audit)
        if spec.partition.canaries is not None:
            write_canaries(directory.root, read_canaries(spec.partition.canaries, cohort))
        write_json(directory.notices, dict(prepared.records.images.notices))
        if spec.duplicates and not directory.duplicates.exists():
            duplicates = find_duplicates(
                cohort, partition, cache=default_cache(), progress=told("copies")
            )
            write_json(directory.duplicates, near_duplicates.to_plain(duplicates))
        waits = {UNLEARNED: ORIGINAL}
        jobs = [
            Job(name, make_model, (spec, root, name), after=waits.get(name))
            for name in model_names(spec)
            if not directory.signals(name).exists()
        ]
        jobs += [
            Job(f"relearn-{name}", relearn_model, (spec, root, name), after=name)
            for name in relearnt_names(spec)
            if not relearnt(directory.relearning(name), epochs=spec.audit.relearn_epochs)
        ]
        run_all(jobs, spec.resources, on_progress=on_progress)
        signals = {name: Signals.load(directory.signals(name)) for name in model_names(spec)}
        with Meter() as meter:
            evaluation = workflow.evaluate(
                original=signals[ORIGINAL],
                unlearned=signals[UNLEARNED],
                retrained=[signals[name] for name in retrained_names(spec)],
                partition=partition,
                ordinal=cohort.ordinal,
                seed=spec.seed,
                resamples=spec.resamples,
            )
        write_text(directory.metrics, evaluation.to_json())
        write_json(directory.trace("evaluate"), {"cost": asdict(meter.cost)})
        if spec.audit.enabled:
            _, meter = run_audit(
                directory,
                [read_draw(directory, cohort, partition, seed=spec.seed)],
                cohort=cohort,
                declared=spec.audit,
                seed=spec.seed,
            )
            write_json(directory.trace("audit"), {"cost": asdict(meter.cost)})
    return Run(directory, cohort, partition, evaluation)


def stage_names(spec: RunSpec, directory: RunDirectory) -> list[str]:
    """Every finished stage whose cost was measured, in order."""
    stages = [
        *model_names(spec),
        *(f"relearn-{name}" for name in relearnt_names(spec)),
        "evaluate",
        "audit",
    ]
    return [name for name in stages if directory.trace(name).exists()]


def cost_of(directory: RunDirectory, name: str) -> Cost:
    """What one stage cost."""
    return Cost(**json.loads(directory.trace(name).read_text(encoding="utf-8"))["cost"])


def total_cpu_seconds(spec: RunSpec, directory: RunDirectory) -> float:
    """Processor seconds of all finished stages together."""
    return sum(cost_of(directory, name).cpu_seconds for name in stage_names(spec, directory))
