"""The pieces of work of a benchmark, each in whatever process: make one model, measure the models of one point."""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forgetmi.benchmark.grid import Cell, Point
from forgetmi.benchmark.store import Outcome, Store
from forgetmi.core.cost import Cost, Meter
from forgetmi.core.errors import Fault, ForgetMIError, MethodError
from forgetmi.core.files import write_text
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.scores import Evaluation
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.model.image_text import parameter_digest
from forgetmi.run import workflow
from forgetmi.run.device import device_of
from forgetmi.run.fingerprint import versions
from forgetmi.run.given_patients import patients_after
from forgetmi.run.original_training import log_path, train_original
from forgetmi.run.prepared import open_checkpoint
from forgetmi.run.provenance import untouched_after_training
from forgetmi.run.run_data import open_run
from forgetmi.run.source_digest import source_digest
from forgetmi.run.stages import training_facts
from forgetmi.run.unlearn_from import unlearn_from

logger = logging.getLogger(__name__)

# A model, its trace and its cost
Made = tuple[Any, dict[str, Any], Cost]

# Libraries that scores depend on
JUDGES = ("numpy", "scipy", "scikit-learn")


def make_jobs(store: Store, cells: Sequence[Cell]) -> list[Job]:
    """A job for every model that is not there yet; unlearning waits for its original."""
    jobs = []
    for cell in cells:
        if not store.finished(cell.digest):
            after = cell.original or None
            jobs.append(Job(cell.digest, make, (store, cell), after=after, killed=killed))
        else:
            # A process that was killed at its last step leaves it
            store.state(cell.digest).unlink(missing_ok=True)
    return jobs


def make(store: Store, cell: Cell, progress: ProgressCallback) -> None:
    """Make one model, run it once over the cohort and store its signals; a failure is stored as such.

    Args:
        store: Where.
        cell: Which.
        progress: Called with (done, total) as work goes on.

    Raises:
        OSError: The disk is full or cannot be written: nothing is wrong with the model.
    """
    if store.finished(cell.digest):
        return
    logger.info("model begun: %s, seed %d", cell.role, cell.seed)
    store.folder(cell.digest).mkdir(parents=True, exist_ok=True)

    # Its last step is to run it over the cohort.
    def before_prediction(done: int, total: int) -> None:
        progress(done, total + 1)

    reason, weights, cost = "", "", None
    with Meter(device_of(cell.spec)) as meter:
        try:
            model, trace, cost = _MAKERS[cell.role](store, cell, before_prediction)
            prepared = open_run(cell.spec).prepared
            signals = workflow.predict(prepared=prepared, model=model)
            store.keep(cell.digest, signals, trace)
            weights = parameter_digest(model)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a model that cannot be had is named, and the others are made
            reason = explain(error)

    # A machine that was thought to be lost may have finished it meanwhile.
    if not store.finished(cell.digest):
        outcome = Outcome(reason, cost or meter.cost, weights)
        store.finish(cell.digest, outcome, identity=json.loads(cell.identity))
    store.state(cell.digest).unlink(missing_ok=True)
    logger.info("model %s: %s, seed %d", "failed" if reason else "finished", cell.role, cell.seed)
    progress(1, 1)


def killed(store: Store, cell: Cell, fault: Fault) -> None:
    """Store that a model could not be made because its process was killed; what that cost nobody measured: 0.

    Args:
        store: Where.
        cell: Which.
        fault: What became of the process.
    """
    if not store.finished(cell.digest):
        outcome = Outcome(str(fault), Cost(0.0, 0.0, 0))
        store.finish(cell.digest, outcome, identity=json.loads(cell.identity))


def explain(error: Exception) -> str:
    """Why something failed, without anything from the data: our own messages, else the type and the place."""
    if isinstance(error, ForgetMIError):
        return " ".join(str(fault) for fault in error.faults)

    # The last line of ours that was running, else the last of all.
    frames = traceback.extract_tb(error.__traceback__)
    frame = frames[-1]
    for candidate in reversed(frames):
        if "forgetmi" in Path(candidate.filename).parts:
            frame = candidate
            break
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"


def _original(store: Store, cell: Cell, progress: ProgressCallback) -> Made:
    # The cost is that of training alone
    data = open_run(cell.spec)
    checkpoint = store.model(cell.digest)
    with Meter(device_of(cell.spec)) as meter:
        trained = train_original(
            prepared=data.prepared,
            partition=data.partition,
            method=cell.spec.method,
            recipe=cell.spec.training,
            seed=cell.seed,
            resume=store.state(cell.digest),
            log=log_path(checkpoint),
            progress=progress,
            device=device_of(cell.spec),
        )
    patients = patients_after(cell.spec, data.cohort, data.partition, role=ORIGINAL)
    data.prepared.save(
        checkpoint,
        trained.model,
        patients=patients,
        role=cell.role,
        seed=cell.seed,
        **untouched_after_training(cell.spec, trained.model),
    )
    return trained.model, training_facts(trained.trace), meter.cost


def _retrain(store: Store, cell: Cell, progress: ProgressCallback) -> Made:
    data = open_run(cell.spec)
    with Meter(device_of(cell.spec)) as meter:
        model, trace = workflow.train(
            prepared=data.prepared,
            partition=data.partition,
            recipe=cell.spec.training,
            seed=cell.seed,
            without_forgotten=True,
            resume=store.state(cell.digest),
            progress=progress,
            device=device_of(cell.spec),
        )
    return model, training_facts(trace), meter.cost


def _unlearn(store: Store, cell: Cell, progress: ProgressCallback) -> Made:
    # Without an original there is nothing to unlearn from
    outcome = store.outcome(cell.original)
    if outcome is None or outcome.reason:
        why = outcome.reason if outcome is not None else "it is missing"
        raise MethodError(Fault("its original could not be made", why=why))

    # The cost is that of unlearning alone.
    data = open_run(cell.spec)
    original = store.model(cell.original)
    _, loaded = open_checkpoint(original, cohort=data.cohort, like=data.prepared)
    with Meter(device_of(cell.spec)) as meter:
        result = unlearn_from(
            original,
            cell.spec,
            data,
            loaded=loaded,
            seed=cell.seed,
            state=store.state(cell.digest),
            progress=progress,
        )
    return result.model, result.trace.plain(), meter.cost


_MAKERS: dict[str, Callable[[Store, Cell, ProgressCallback], Made]] = {
    "original": _original,
    "retrain": _retrain,
    "unlearn": _unlearn,
}


def measure_jobs(store: Store, grid: Sequence[Point]) -> list[Job]:
    """A job for every group of finished models that was not measured yet."""
    # A group is measured anew when one of its models is new: its digest is another then.
    groups = {}
    for point in grid:
        for original in originals(point):
            groups[evaluation_digest(store, point, original)] = (point, original)

    jobs = []
    for digest, (point, original) in groups.items():
        if digest and not store.evaluation(digest).exists():
            jobs.append(Job(digest, measure, (store, point, original, digest)))
    return jobs


def measure(
    store: Store, point: Point, original: str, digest: str, progress: ProgressCallback
) -> None:
    """Measure the models that started from one original against the retrained ones, and store the scores.

    Args:
        store: Where.
        point: The forget set and training seed.
        original: Digest of the original.
        digest: Name of the result; see `evaluation_digest`.
        progress: Called with (done, total).
    """
    data = open_run(point.spec)

    # Signals of the models that could be made
    unlearned = {}
    for cell in started_from(point, original):
        if store.finished(cell.digest):
            unlearned[name_of(cell)] = store.signals(cell.digest)
    retrained = []
    for cell in point.retrains:
        if store.finished(cell.digest):
            retrained.append(store.signals(cell.digest))

    # Every unlearned model against the same retrained ones
    logger.info(
        "evaluation begun: %d unlearned, %d retrained models", len(unlearned), len(retrained)
    )
    evaluation = workflow.evaluate(
        original=store.signals(original),
        unlearned=unlearned,
        retrained=retrained,
        partition=data.partition,
        task=data.cohort.task,
        classes=data.cohort.classes,
        seed=point.spec.split_seed or 0,
        resamples=point.spec.resamples,
    )
    write_text(store.evaluation(digest), evaluation.to_json())
    logger.info("evaluation finished")
    progress(1, 1)


def evaluation_digest(store: Store, point: Point, original: str) -> str:
    """Digest of everything that determines the scores of a group; empty = nothing can be measured yet."""
    if not store.finished(original):
        return ""

    # The models that can be measured now
    models = [*point.retrains, *started_from(point, original)]
    finished = [cell.digest for cell in models if store.finished(cell.digest)]

    # With another way to compute scores or other libraries they are computed anew
    determined_by = [
        original,
        finished,
        point.spec.split_seed,
        point.spec.resamples,
        source_digest(("forgetmi.evaluation.suite",)),
        versions(JUDGES),
    ]
    return hashlib.sha256(json.dumps(determined_by).encode()).hexdigest()[:32]


def evaluation_of(store: Store, point: Point, original: str) -> Evaluation | None:
    """The stored scores of a group; None where it was not measured."""
    digest = evaluation_digest(store, point, original)
    return store.read_evaluation(digest) if digest and store.evaluation(digest).exists() else None


def originals(point: Point) -> list[str]:
    """Digests of the originals of a point, the usual one first."""
    digests = [point.original.digest]
    for row in point.unlearned.values():
        digests += [cell.original for cell in row]
    return list(dict.fromkeys(digests))


def started_from(point: Point, original: str) -> list[Cell]:
    """The models of a point that unlearned from one original."""
    return [cell for row in point.unlearned.values() for cell in row if cell.original == original]


def name_of(cell: Cell) -> str:
    """Name of an unlearned model among those it is measured with."""
    return f"{cell.setting}#{cell.number}"
