"""A second method of a run: made from the same original, judged by the same rule and the same retrained models.

It lies in a folder of its own, laid out like a run, so that the run's own models, scores and audit are as without it.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forgetmi.audit.front_door import verdict
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Cost, Meter
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.files import write_json, write_text
from forgetmi.core.json_text import read_json
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.scores import Evaluation
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.model.image_text import parameter_digest
from forgetmi.report.side_by_side import Column, SideBySide, side_by_side
from forgetmi.run import workflow
from forgetmi.run.applicable import check_model
from forgetmi.run.audit_stage import read_duplicates, stored_audit
from forgetmi.run.closed_folders import closed_to_method
from forgetmi.run.costs import cost_of, retraining_cost
from forgetmi.run.default_method import named
from forgetmi.run.device import device_of
from forgetmi.run.directory import RunDirectory
from forgetmi.run.given_patients import patients_after
from forgetmi.run.pool_references import pool_references
from forgetmi.run.pool_targets import closed_while_it_works
from forgetmi.run.pool_use import no_pool_faults
from forgetmi.run.prepared import open_checkpoint
from forgetmi.run.provenance import untouched_after_unlearning
from forgetmi.run.run_data import OpenedRun, load_data, prepare
from forgetmi.run.run_models import model_seed, retrained_names
from forgetmi.run.spec import RunSpec
from forgetmi.run.unlearn_from import unlearn_from

logger = logging.getLogger(__name__)

_FOLDER = "beside"
_VERDICT = "verdict.json"


def of_second(spec: RunSpec) -> RunSpec:
    """The specification of a run's second method, at its defaults."""
    return replace(spec, method=named(spec.beside), beside="", carrier_keep=False)


def second_folder(directory: RunDirectory, spec: RunSpec) -> RunDirectory:
    """Where the second method's model, trace, signals and scores are."""
    return RunDirectory(directory.root / _FOLDER / spec.beside)


def check_second(spec: RunSpec, cohort: Cohort) -> None:
    """Refuse a second method that the run cannot make.

    Raises:
        MethodError: It needs a log of the original's training or a pool, which are kept for the first alone, or it
            does not apply to the model.
        SpecError: There is no method of that name.
    """
    if not spec.beside:
        return

    second = of_second(spec)
    faults = list(no_pool_faults(second.method))
    if "training log" in second.method.info.reads:
        faults.append(
            Fault(
                f"{spec.beside} reads the log of the original's training",
                where="beside",
                why="it is kept for the run's first method",
                do="Choose another one, or make a run of its own with --method.",
            )
        )
    if faults:
        raise MethodError(faults)
    check_model(second, cohort)


def second_jobs(spec: RunSpec, directory: RunDirectory) -> list[Job]:
    """The job that makes the second method's model, unless it is stored already."""
    if not spec.beside or second_folder(directory, spec).signals(UNLEARNED).exists():
        return []
    return [Job(spec.beside, make_second, (spec, directory.root), after=ORIGINAL)]


def make_second(spec: RunSpec, root: Path, progress: ProgressCallback) -> None:
    """Unlearn by the second method from the run's original, and store the model, its trace and its signals.

    Runs in a worker process; goes on where an interrupted one stopped.

    Args:
        spec: The run.
        root: Its directory, with the finished original.
        progress: Called with (done, total) as work goes on.
    """
    directory, second = RunDirectory(root), of_second(spec)
    folder = second_folder(directory, spec)
    cohort, partition = load_data(spec)
    data = OpenedRun(cohort, partition, prepare(spec, cohort, partition))

    logger.info("stage %s begun", spec.beside)
    if folder.model(UNLEARNED).exists():
        _, loaded = open_checkpoint(
            folder.model(UNLEARNED), cohort=cohort, factory=spec.model.factory
        )
        model = loaded.model.to(device_of(spec))
    else:
        model = _make_and_store(second, directory, folder, data, progress)

    # Signals are written last: where they are, the model is finished
    folder.signals(UNLEARNED).parent.mkdir(parents=True, exist_ok=True)
    workflow.predict(prepared=data.prepared, model=model).save(folder.signals(UNLEARNED))
    folder.drop_states([UNLEARNED])
    logger.info("stage %s finished", spec.beside)


def _make_and_store(
    second: RunSpec,
    directory: RunDirectory,
    folder: RunDirectory,
    data: OpenedRun,
    progress: ProgressCallback,
) -> Any:
    """Unlearn, measure what that cost, and write trace and checkpoint."""
    original = directory.model(ORIGINAL)
    folder.state(UNLEARNED).parent.mkdir(parents=True, exist_ok=True)

    # A method must not see what it is judged by
    with (
        Meter(device_of(second)) as meter,
        closed_to_method(closed_while_it_works(second, directory)),
    ):
        result = unlearn_from(
            original,
            second,
            data,
            seed=model_seed(second, UNLEARNED),
            signals=Signals.load(directory.signals(ORIGINAL)),
            state=folder.state(UNLEARNED),
            progress=progress,
        )

    # The checkpoint is written last: it says that the model is finished
    model = result.model
    trace = {**result.trace.plain(), "cost": asdict(meter.cost), "weights": parameter_digest(model)}
    folder.trace(UNLEARNED).parent.mkdir(parents=True, exist_ok=True)
    write_json(folder.trace(UNLEARNED), trace)
    data.prepared.save(
        folder.model(UNLEARNED),
        model,
        patients=patients_after(second, data.cohort, data.partition, role=UNLEARNED),
        role=UNLEARNED,
        seed=model_seed(second, UNLEARNED),
        **untouched_after_unlearning(second, model, original),
    )
    return model


def judge_second(spec: RunSpec, directory: RunDirectory, data: OpenedRun) -> None:
    """Write the second method's scores, without intervals, and what the run's rule says of it."""
    if not spec.beside:
        return

    # The same original and the same retrained models as the first method has
    folder = second_folder(directory, spec)
    original = Signals.load(directory.signals(ORIGINAL))
    unlearned = Signals.load(folder.signals(UNLEARNED))
    retrained = [Signals.load(directory.signals(name)) for name in retrained_names(spec)]
    retrained += pool_references(directory, data.partition).values()

    evaluation = workflow.evaluate(
        original=original,
        unlearned=unlearned,
        retrained=retrained,
        partition=data.partition,
        task=data.cohort.task,
        classes=data.cohort.classes,
        seed=spec.seed,
        resamples=0,
    )
    write_text(folder.metrics, evaluation.to_json())

    # By the declared rule, without those who have a copy, as the run's own audit
    if spec.audit.enabled:
        found = verdict(
            cohort=data.cohort,
            partition=data.partition,
            original=original,
            unlearned=unlearned,
            retrained=retrained,
            rule=spec.audit.rule,
            duplicates=read_duplicates(directory),
            seed=spec.seed,
        )
        channels = {channel.channel: channel.outcome for channel in found.channels}
        write_json(
            folder.root / _VERDICT,
            {"outcome": found.outcome, "rule": spec.audit.digest, "channels": channels},
        )


def compared(spec: RunSpec, directory: RunDirectory) -> SideBySide | None:
    """The original, both methods' models and the retrained ones of a finished run; None without a second method."""
    folder = second_folder(directory, spec)
    if not spec.beside or not folder.metrics.exists():
        return None

    first = Column(
        spec.method.info.title,
        Evaluation.read(directory.metrics),
        cost_of(directory, UNLEARNED),
        stored_audit(directory.audit).verdict.outcome if spec.audit.enabled else "",
    )
    second = Column(
        of_second(spec).method.info.title,
        Evaluation.read(folder.metrics),
        cost_of(folder, UNLEARNED),
        _stored_outcome(folder) if spec.audit.enabled else "",
    )
    retraining: Cost | None = retraining_cost(spec, directory)
    return side_by_side(first, second, retraining)


def second_cpu_seconds(spec: RunSpec, directory: RunDirectory) -> float:
    """Processor seconds of the second method's unlearning; 0 without one."""
    return cost_of(second_folder(directory, spec), UNLEARNED).cpu_seconds if spec.beside else 0.0


def _stored_outcome(folder: RunDirectory) -> str:
    """What the rule said of the second method."""
    values = read_json(folder.root / _VERDICT, what="the verdict", do="Restore the file.")
    outcome = {"outcome": values.get("outcome")} if isinstance(values, dict) else values
    return from_plain(_Stored, outcome, where=_VERDICT).outcome


@dataclass(frozen=True)
class _Stored:
    """Of the content of verdict.json, the outcome."""

    outcome: str
