"""The pieces of work of a benchmark, each in whatever process: make one model, measure the models of one point."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forgetmi.benchmark.grid import Cell, Point
from forgetmi.benchmark.store import Outcome, Store
from forgetmi.core.cost import Cost, Meter
from forgetmi.core.errors import Fault, ForgetMIError, MethodError
from forgetmi.core.files import write_text
from forgetmi.core.scores import Evaluation
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.model.image_text import parameter_digest
from forgetmi.run import workflow
from forgetmi.run.device import device_of
from forgetmi.run.fingerprint import versions
from forgetmi.run.original_training import log_path, train_original
from forgetmi.run.prepared import open_checkpoint
from forgetmi.run.run_data import open_run
from forgetmi.run.source_digest import source_digest
from forgetmi.run.unlearn_from import unlearn_from

Made = tuple[Any, dict[str, Any], Cost]
JUDGES = ("numpy", "scipy", "scikit-learn")  # libraries that scores depend on


def make_jobs(store: Store, cells: Sequence[Cell]) -> list[Job]:
    """A job for every model that is not there yet; unlearning waits for its original."""
    todo = [cell for cell in cells if not store.finished(cell.digest)]
    return [
        Job(cell.digest, make, (store, cell), after=cell.original or None, killed=killed)
        for cell in todo
    ]


def make(store: Store, cell: Cell, progress: ProgressCallback) -> None:
    """Make one model, run it once over the cohort and store what it says; a failure is stored as such.

    Args:
        store: Where.
        cell: Which.
        progress: Called with (done, in all) as work goes on.

    Raises:
        OSError: The disk is full or cannot be written: nothing is wrong with the model.
    """
    if store.finished(cell.digest):
        return
    store.folder(cell.digest).mkdir(parents=True, exist_ok=True)
    reason, weights, cost = "", "", None
    with Meter() as meter:
        try:
            model, trace, cost = _MAKERS[cell.role](
                store, cell, lambda done, total: progress(done, total + 1)
            )
            prepared = open_run(cell.spec).prepared
            store.keep(cell.digest, workflow.predict(prepared=prepared, model=model), trace)
            weights = parameter_digest(model)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a model that cannot be had is named, and the others are made
            reason = explain(error)
    if not store.finished(cell.digest):  # by a machine that was thought to be lost
        store.finish(
            cell.digest,
            Outcome(reason, cost or meter.cost, weights),
            identity=json.loads(cell.identity),
        )
    store.state(cell.digest).unlink(missing_ok=True)
    progress(1, 1)


def killed(store: Store, cell: Cell, fault: Fault) -> None:
    """Store that a model could not be made because its process was killed; what that cost nobody measured: 0.

    Args:
        store: Where.
        cell: Which.
        fault: What became of the process.
    """
    if not store.finished(cell.digest):
        store.finish(
            cell.digest, Outcome(str(fault), Cost(0.0, 0.0, 0)), identity=json.loads(cell.identity)
        )


def explain(error: Exception) -> str:
    """Why something failed, without anything from the data: our own messages, else the type and the place."""
    if isinstance(error, ForgetMIError):
        return " ".join(str(fault) for fault in error.faults)
    frames = traceback.extract_tb(error.__traceback__)
    at = next(
        (frame for frame in reversed(frames) if "forgetmi" in Path(frame.filename).parts),
        frames[-1],
    )
    return f"{type(error).__name__} in {Path(at.filename).name}, line {at.lineno}"


def _original(store: Store, cell: Cell, progress: ProgressCallback) -> Made:
    data = open_run(cell.spec)
    home = store.model(cell.digest)
    with Meter() as meter:
        made = train_original(
            prepared=data.prepared,
            partition=data.partition,
            method=cell.spec.method,
            recipe=cell.spec.training,
            seed=cell.seed,
            resume=store.state(cell.digest),
            log=log_path(home),
            progress=progress,
            device=device_of(cell.spec),
        )
    data.prepared.save(home, made.model, role=cell.role, seed=cell.seed)
    return made.model, {"epochs": made.trace.epochs, "steps": made.trace.total("steps")}, meter.cost


def _retrain(store: Store, cell: Cell, progress: ProgressCallback) -> Made:
    data = open_run(cell.spec)
    with Meter() as meter:
        model, happened = workflow.train(
            prepared=data.prepared,
            partition=data.partition,
            recipe=cell.spec.training,
            seed=cell.seed,
            without_forgotten=True,
            resume=store.state(cell.digest),
            progress=progress,
            device=device_of(cell.spec),
        )
    return model, {"epochs": happened.epochs, "steps": happened.total("steps")}, meter.cost


def _unlearn(store: Store, cell: Cell, progress: ProgressCallback) -> Made:
    before = store.outcome(cell.original)
    if before is None or before.reason:
        raise MethodError(
            Fault(
                "its original could not be made", why=before.reason if before else "it is missing"
            )
        )
    # The cost is that of unlearning alone.
    data = open_run(cell.spec)
    original = store.model(cell.original)
    _, loaded = open_checkpoint(original, cohort=data.cohort, like=data.prepared)
    with Meter() as meter:
        done = unlearn_from(
            original,
            cell.spec,
            data,
            loaded=loaded,
            seed=cell.seed,
            state=store.state(cell.digest),
            progress=progress,
        )
    return done.model, done.trace.plain(), meter.cost


_MAKERS: dict[str, Callable[[Store, Cell, ProgressCallback], Made]] = {
    "original": _original,
    "retrain": _retrain,
    "unlearn": _unlearn,
}


def measure_jobs(store: Store, grid: Sequence[Point]) -> list[Job]:
    """A job for every group of finished models that was not measured yet."""
    found = {
        evaluation_digest(store, point, original): (point, original)
        for point in grid
        for original in originals(point)
    }
    return [
        Job(digest, measure, (store, point, original, digest))
        for digest, (point, original) in found.items()
        if digest and not store.evaluation(digest).exists()
    ]


def measure(
    store: Store, point: Point, original: str, digest: str, progress: ProgressCallback
) -> None:
    """Measure the models that started from one original against the retrained ones, and store the scores.

    Args:
        store: Where.
        point: The forget set and training seed.
        original: Digest of the original.
        digest: Name of the result; see `evaluation_digest`.
        progress: Called with (done, in all).
    """
    data = open_run(point.spec)
    retrains = [cell for cell in point.retrains if store.finished(cell.digest)]
    evaluation = workflow.evaluate(
        original=store.signals(original),
        unlearned={
            name_of(cell): store.signals(cell.digest)
            for cell in started_from(point, original)
            if store.finished(cell.digest)
        },
        retrained=[store.signals(cell.digest) for cell in retrains],
        partition=data.partition,
        ordinal=data.cohort.ordinal,
        seed=point.spec.split_seed or 0,
        resamples=point.spec.resamples,
    )
    write_text(store.evaluation(digest), evaluation.to_json())
    progress(1, 1)


def evaluation_digest(store: Store, point: Point, original: str) -> str:
    """Digest of everything that determines the scores of a group; empty = nothing can be measured yet."""
    there = [
        cell.digest
        for cell in (*point.retrains, *started_from(point, original))
        if store.finished(cell.digest)
    ]
    if not store.finished(original):
        return ""
    text = json.dumps(
        [
            original,
            there,
            point.spec.split_seed,
            point.spec.resamples,
            source_digest(("forgetmi.evaluation.suite",)),
            versions(JUDGES),
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def evaluation_of(store: Store, point: Point, original: str) -> Evaluation | None:
    """The stored scores of a group; None where it was not measured."""
    digest = evaluation_digest(store, point, original)
    return store.read_evaluation(digest) if digest and store.evaluation(digest).exists() else None


def originals(point: Point) -> list[str]:
    """Digests of the originals of a point, the usual one first."""
    return list(
        dict.fromkeys(
            [
                point.original.digest,
                *(cell.original for row in point.unlearned.values() for cell in row),
            ]
        )
    )


def started_from(point: Point, original: str) -> list[Cell]:
    """The models of a point that unlearned from one original."""
    return [cell for row in point.unlearned.values() for cell in row if cell.original == original]


def name_of(cell: Cell) -> str:
    """Name of an unlearned model among those it is measured with."""
    return f"{cell.setting}#{cell.number}"
