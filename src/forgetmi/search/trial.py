"""One trial of a method's options: unlearn from a shared original, and score the result."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Failed
from forgetmi.core.signals import Signals
from forgetmi.jobs.pool import ProgressCallback
from forgetmi.run import workflow
from forgetmi.run.directory import RunDirectory
from forgetmi.run.fingerprint import fingerprint
from forgetmi.run.pool_use import no_pool_faults
from forgetmi.run.run_data import OpenedRun, open_run
from forgetmi.run.run_models import retrained_names
from forgetmi.run.spec import RunSpec, to_plain
from forgetmi.run.stages import make_model
from forgetmi.run.unlearn_from import unlearn_from
from forgetmi.search.former_names import current_name
from forgetmi.search.objectives import check_objective, objective_of
from forgetmi.search.rule_names import VALIDATION
from forgetmi.search.rules import against_validation, validation_rows


def score(
    spec: RunSpec, root: Path, *, objective: str, progress: ProgressCallback
) -> tuple[float, str]:
    """Unlearn as a specification says and score the result; originals and retrained models are stored for other trials.

    Args:
        spec: The run.
        root: Directory of the models that trials share.
        objective: See `forgetmi.search.study.Study`.
        progress: Called with (done, total) as unlearning goes on.

    Returns:
        The score, and why this trial may not be chosen (empty = it may).

    Raises:
        SpecError: There is no such score, or the method learns from a pool; no model is made.
        MethodError: The method failed, or the score cannot be computed.
    """
    check_objective(objective, spec)
    if faults := no_pool_faults(spec.method):
        raise SpecError(faults)
    by_validation = current_name(objective) == VALIDATION

    # The models that the trial starts from and is compared with
    data = open_run(spec)
    partition = data.partition
    home = home_of(spec, root, data, test=not by_validation)
    models = _models(spec, home, test=not by_validation)

    # Unlearn
    original = home.model(ORIGINAL)
    done = unlearn_from(
        original,
        spec,
        data,
        log_of=spec.given.original or original,
        progress=lambda done, total: progress(done, total + 1),
    )

    # Score
    if by_validation:
        rows = validation_rows(partition)
        unlearned = workflow.predict(prepared=data.prepared, model=done.model, rows=rows)
        return _validation_score(models[ORIGINAL], unlearned, partition, data.cohort.task)

    unlearned = workflow.predict(prepared=data.prepared, model=done.model, rows=None)
    evaluation = workflow.evaluate(
        original=models[ORIGINAL],
        unlearned=unlearned,
        retrained=[models[name] for name in retrained_names(spec)],
        partition=partition,
        task=data.cohort.task,
        seed=spec.seed,
        resamples=0,
    )

    # One score of the evaluation
    name, head, on = objective_of(objective, spec)
    try:
        result = evaluation.get(UNLEARNED, name, head=head, on=on)
    except KeyError:
        raise MethodError(
            Fault(f"the task {data.cohort.task} has no score {objective}", where="--objective")
        ) from None
    if isinstance(result, Failed):
        raise MethodError(Fault(result.reason))
    return result.value, ""


def _validation_score(
    original: Signals, unlearned: Signals, partition: Partition, task: str
) -> tuple[float, str]:
    """The score by the rule "validation", and why the model may not be chosen."""
    models = {ORIGINAL: original, UNLEARNED: unlearned}
    results = against_validation(models, partition, task=task)
    result = results[UNLEARNED]
    if isinstance(result, str):
        raise MethodError(Fault(result))
    return result.score, result.refused


def home_of(
    spec: RunSpec,
    root: Path,
    data: OpenedRun,
    *,
    test: bool = True,
) -> RunDirectory:
    """Directory of the original that a trial starts from: another one whenever options, data, libraries or source are.

    Args:
        spec: The run; of its method only what the original's training depends on matters.
        root: Directory of the models that trials share.
        data: Its data, as they are now.
        test: Whether it is run over test patients, too.
    """
    # A method that trains its own original is part of that original.
    has_own_original = spec.method.info.original is not None
    method = spec.method if has_own_original else None

    # Options, data, libraries and source in one digest
    options = to_plain(
        replace(spec, workers=0, carrier="", carrier_keep=False, method=method or RunSpec().method)
    )
    made_of = fingerprint(data.prepared, data.partition, method)
    text = json.dumps([options, made_of, test], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return RunDirectory(root / "models" / digest[:16])


def _models(spec: RunSpec, home: RunDirectory, *, test: bool) -> dict[str, Signals]:
    """The signals of the models that a trial is compared with (with test patients: the retrained ones, too)."""
    # Retrained models serve scores on test patients alone
    names = [ORIGINAL]
    if test:
        names += retrained_names(spec)

    with _one_at_a_time(home.root):
        for name in names:
            make_model(spec, home.root, name, lambda done, total: None, test=test)
    return {name: Signals.load(home.signals(name)) for name in names}


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """One process at a time makes the models of a folder; others wait and then load them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".turn").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
