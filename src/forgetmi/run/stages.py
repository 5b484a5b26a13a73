"""The stages of a run that work on one model, each in a process of its own: make it, teach it again."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.cost import Meter
from forgetmi.core.files import write_json
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.jobs.pool import ProgressCallback
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.net_module import NetModule
from forgetmi.model.train import TrainingTrace
from forgetmi.run import workflow
from forgetmi.run.closed_folders import closed_to_method
from forgetmi.run.device import device_of
from forgetmi.run.directory import RunDirectory
from forgetmi.run.given_patients import patients_after
from forgetmi.run.original_training import log_path, train_original
from forgetmi.run.pool_targets import closed_while_it_works, pool_targets
from forgetmi.run.prepared import fit_missing_gate, open_checkpoint
from forgetmi.run.provenance import (
    stored_untouched,
    untouched_after_training,
    untouched_after_unlearning,
)
from forgetmi.run.relearn import relearn
from forgetmi.run.run_data import OpenedRun, load_data, prepare
from forgetmi.run.run_models import given_model, model_seed
from forgetmi.run.spec import RunSpec
from forgetmi.run.unlearn_from import unlearn_from

logger = logging.getLogger(__name__)

# Forgotten images: with fewer there is nobody to teach and nobody to compare
LEAST_TAUGHT = 4


def make_model(
    spec: RunSpec, root: Path, name: str, progress: ProgressCallback, *, test: bool = True
) -> None:
    """Train, take over or unlearn one model, store it, run it once over the cohort and store its signals.

    Runs in a worker process; goes on where an interrupted one stopped. A finished part is not done again.

    Args:
        spec: The run.
        root: Its directory.
        name: "original", "unlearned" or "retrain-0" and so on.
        progress: Called with (done, total) as work goes on.
        test: Whether the finished model is run over test patients (holdout and reference), too.
    """
    # Signals are written last: where they are, the model is finished
    directory = RunDirectory(root)
    if directory.signals(name).exists():
        directory.drop_state(name)
        return

    logger.info("stage %s begun", name)
    cohort, partition = load_data(spec)
    data = OpenedRun(cohort, partition, prepare(spec, cohort, partition))

    # The model, or the one that an earlier attempt finished.
    if directory.model(name).exists():
        _, loaded = open_checkpoint(
            directory.model(name), cohort=cohort, factory=spec.model.factory
        )
        model = loaded.model.to(device_of(spec))
        directory.drop_state(name)
    else:
        model = _make_and_store(spec, directory, name, data, progress)

    # Its signals over the cohort.
    directory.signals(name).parent.mkdir(exist_ok=True)
    rows = None if test else _rows_without_test(partition)
    signals = workflow.predict(prepared=data.prepared, model=model, rows=rows)
    signals.save(directory.signals(name))
    logger.info("stage %s finished: signals of %d rows", name, len(signals))


def _make_and_store(
    spec: RunSpec, directory: RunDirectory, name: str, data: OpenedRun, progress: ProgressCallback
) -> Any:
    """Make a model, measure what that cost, and write its trace and checkpoint."""
    # Each kind of model is made in its own way, and measured in the same
    directory.state(name).parent.mkdir(parents=True, exist_ok=True)
    with Meter(device_of(spec)) as meter:
        if name == UNLEARNED:
            model, trace = _unlearned(spec, directory, data, progress)
        elif given_model(spec, name) is not None:
            model, trace = _given(spec, name, data)
        elif name == ORIGINAL:
            model, trace = _original(spec, directory, data, progress)
        else:
            model, trace = _retrained(spec, directory, name, data, progress)

    # The checkpoint is written last: it says that the model is finished.
    weights = parameter_digest(model)
    write_json(directory.trace(name), {**trace, "cost": asdict(meter.cost), "weights": weights})
    patients = patients_after(spec, data.cohort, data.partition, role=name)
    data.prepared.save(
        directory.model(name),
        model,
        patients=patients,
        role=name,
        seed=model_seed(spec, name),
        **_untouched(spec, directory, name, model),
    )
    directory.drop_state(name)
    return model


def _untouched(
    spec: RunSpec, directory: RunDirectory, name: str, model: Any
) -> dict[str, list[str]]:
    """What the checkpoint says of parts that no training has moved."""
    if name == UNLEARNED:
        return untouched_after_unlearning(spec, model, directory.model(ORIGINAL))
    given = given_model(spec, name)
    if given is None:
        return untouched_after_training(spec, model)
    return stored_untouched(given)


def _unlearned(
    spec: RunSpec, directory: RunDirectory, data: OpenedRun, progress: ProgressCallback
) -> tuple[Any, dict[str, Any]]:
    original = directory.model(ORIGINAL)
    pool = pool_targets(
        spec, directory, data.cohort, data.partition, scale=data.prepared.records.scale
    )

    # A method must not see what it is judged by
    with closed_to_method(closed_while_it_works(spec, directory)):
        result = unlearn_from(
            original,
            spec,
            data,
            pool=pool,
            log_of=spec.given.original or original,
            seed=model_seed(spec, UNLEARNED),
            state=directory.state(UNLEARNED),
            progress=progress,
        )

    # The log without the forgotten, from which the next request goes on
    if result.training_log is not None:
        result.training_log.save(log_path(directory.model(UNLEARNED)))
    if spec.carrier_keep and result.adapters is not None:
        result.adapters.save(directory.adapters)
    return result.model, result.trace.plain()


def _given(spec: RunSpec, name: str, data: OpenedRun) -> tuple[Any, dict[str, Any]]:
    # Of the same kind as the run's other models
    checkpoint = given_model(spec, name)
    assert checkpoint is not None
    _, loaded = open_checkpoint(checkpoint, cohort=data.cohort, like=data.prepared)
    model = loaded.model.to(device_of(spec))

    # A checkpoint in a foreign form may come without a gate.
    fit_missing_gate(
        data.prepared,
        loaded,
        data.partition,
        without_forgotten=name != ORIGINAL,
        seed=spec.seed,
    )
    return model, {"given": loaded.digest}


def _original(
    spec: RunSpec, directory: RunDirectory, data: OpenedRun, progress: ProgressCallback
) -> tuple[Any, dict[str, Any]]:
    # The training log is written next to the checkpoint, so its folder must be there
    directory.model(ORIGINAL).parent.mkdir(parents=True, exist_ok=True)
    trained = train_original(
        prepared=data.prepared,
        partition=data.partition,
        method=spec.method,
        recipe=spec.training,
        seed=model_seed(spec, ORIGINAL),
        resume=directory.state(ORIGINAL),
        log=log_path(directory.model(ORIGINAL)),
        progress=progress,
        device=device_of(spec),
    )
    return trained.model, training_facts(trained.trace)


def _retrained(
    spec: RunSpec, directory: RunDirectory, name: str, data: OpenedRun, progress: ProgressCallback
) -> tuple[Any, dict[str, Any]]:
    model, trace = workflow.train(
        prepared=data.prepared,
        partition=data.partition,
        recipe=spec.training,
        seed=model_seed(spec, name),
        without_forgotten=True,
        resume=directory.state(name),
        progress=progress,
        device=device_of(spec),
    )
    return model, training_facts(trace)


def training_facts(trace: TrainingTrace) -> dict[str, Any]:
    """What the trace file of a trained model holds."""
    return {"epochs": trace.epochs, "steps": trace.total("steps")}


def _rows_without_test(partition: Partition) -> Ints:
    """Rows of training and validation patients, in the order of the cohort."""
    return np.sort(np.concatenate([partition.forget, partition.retain, partition.validation]))


def relearn_stage(name: str) -> str:
    """The stage that teaches a model again, as its trace and its progress are called."""
    return f"relearn-{name}"


def relearn_model(spec: RunSpec, root: Path, name: str, progress: ProgressCallback) -> None:
    """Teach one finished model some of the forgotten again and store its signals epoch by epoch; see `make_model`.

    An ensemble cannot be taught so; then nothing is stored, and the audit says that relearning is missing.
    """
    directory = RunDirectory(root)
    stage = relearn_stage(name)

    # A relearning needs one classifier and enough patients
    cohort, partition = load_data(spec)
    prepared, loaded = open_checkpoint(
        directory.model(name), cohort=cohort, factory=spec.model.factory
    )
    prepared = prepared.on_hardware(spec)
    forgotten = partition.of_request().forget
    if not isinstance(loaded.model, NetModule) or len(forgotten) < LEAST_TAUGHT:
        return

    logger.info("stage %s begun: %d forgotten images", stage, len(forgotten))
    directory.state(stage).parent.mkdir(exist_ok=True)
    with Meter(device_of(spec)) as meter:
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

    # What it cost, and no more progress to resume from
    write_json(directory.trace(stage), {"cost": asdict(meter.cost)})
    directory.drop_state(stage)
    logger.info("stage %s finished", stage)
