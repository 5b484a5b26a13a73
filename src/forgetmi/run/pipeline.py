"""The pipeline of a run, stage by stage: models, signals, relearning, evaluation, audit; an interrupted one goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from forgetmi.cohort.canaries import read_canaries, write_canaries
from forgetmi.cohort.partition_file import write_partition
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Meter
from forgetmi.core.files import default_cache, full_disk_explained, write_json, write_text
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.data.duplicates import find_duplicates
from forgetmi.jobs.pool import Job
from forgetmi.jobs.runner import run_all
from forgetmi.report import near_duplicates
from forgetmi.run import workflow
from forgetmi.run.absolute_paths import absolute
from forgetmi.run.applicable import check_model
from forgetmi.run.audit_stage import declare, read_draw, run_audit
from forgetmi.run.beside import check_second, judge_second, second_jobs
from forgetmi.run.directory import RunDirectory
from forgetmi.run.film_workers import film_workers
from forgetmi.run.pool_references import NOTICE, keep_references, pool_references
from forgetmi.run.pool_targets import check_targets
from forgetmi.run.prepared import Progress
from forgetmi.run.relearn import relearnt
from forgetmi.run.run_data import OpenedRun, load_data, prepare
from forgetmi.run.run_models import model_names, relearnt_names, retrained_names
from forgetmi.run.spec import RunSpec
from forgetmi.run.stages import make_model, relearn_model, relearn_stage
from forgetmi.run.stored_cohort import write_cohort_facts
from forgetmi.run.stored_spec import spec_text

logger = logging.getLogger(__name__)

StageProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Run:
    """What a finished run hands to its report.

    Args:
        directory: Where everything lies.
        cohort, partition: The data and who is in which set.
        evaluation: All scores.
        finished_before: Whether it was finished before the command, which then did nothing.
    """

    directory: RunDirectory
    cohort: Cohort
    partition: Partition
    evaluation: Evaluation
    finished_before: bool = False


def run(spec: RunSpec, root: Path, *, on_progress: StageProgress | None = None) -> Run:
    """Do what is not done yet of a run, and write its metrics.

    Args:
        spec: The run.
        root: Its directory: new, or that of the same run interrupted.
        on_progress: Called with (stage, done, total).

    Returns:
        What the report needs.

    Raises:
        ForgetMIError: Input, disk or another process is in the way; nothing is half-written.
    """
    spec = absolute(spec)
    logger.info("run begun: %d models", len(model_names(spec)))

    # A directory that cannot be used is refused before images are decoded
    directory = RunDirectory(root)
    directory.check_claim(spec_text(spec, directory))
    cohort, partition = load_data(spec)
    check_model(spec, cohort)
    check_second(spec, cohort)
    check_targets(spec, cohort, partition)
    prepared = prepare(
        spec,
        cohort,
        partition,
        _progress_of("images", on_progress),
        film_workers(spec.resources),
    )
    data = OpenedRun(cohort, partition, prepared)

    with directory.lock(), full_disk_explained(root.name):
        # What is fixed before any model exists: specification, sets, the audit's rule.
        directory.claim(spec_text(spec, directory))
        _write_data_facts(spec, directory, data)
        if spec.references is not None:
            keep_references(spec.references, directory, data.cohort, data.partition)
        _find_duplicates(spec, directory, data, _progress_of("copies", on_progress))

        # Models and their signals, side by side.
        run_all(_jobs(spec, directory), spec.resources, on_progress=on_progress)
        directory.drop_states(_stages(spec))

        # Scores and verdict, from the stored signals alone.
        evaluation = _evaluate(spec, directory, data)
        if spec.audit.enabled:
            _audit(spec, directory, data)
        judge_second(spec, directory, data)

    logger.info("run finished")
    return Run(directory, cohort, partition, evaluation)


def _progress_of(stage: str, on_progress: StageProgress | None) -> Progress | None:
    """A callback of (done, total) for one stage."""
    if on_progress is None:
        return None
    return lambda done, total: on_progress(stage, done, total)


def _write_data_facts(spec: RunSpec, directory: RunDirectory, data: OpenedRun) -> None:
    """Write who is in which set, the audit's rule, the canaries, and what was converted while images were decoded."""
    write_partition(directory.partition, data.partition)
    write_cohort_facts(directory, data.cohort)

    # A rule counts only if it was declared before the first signal.
    if spec.audit.enabled:
        declare(directory, spec.audit)

    if spec.partition.canaries is not None:
        canaries = read_canaries(spec.partition.canaries, data.cohort)
        write_canaries(directory.root, canaries)

    # The report says what was converted: of images how many, of other things no number
    without_number = dict.fromkeys(data.prepared.notices, 0)
    if spec.references is not None:
        without_number[NOTICE] = 0
    write_json(directory.notices, {**data.prepared.records.images.notices, **without_number})


def _find_duplicates(
    spec: RunSpec, directory: RunDirectory, data: OpenedRun, progress: Progress | None
) -> None:
    """Look for near-duplicates of what is forgotten, once."""
    if not spec.duplicates or directory.duplicates.exists():
        return

    logger.info("search for near-duplicates begun")
    duplicates = find_duplicates(
        data.cohort,
        data.partition,
        cache=default_cache(),
        images=data.prepared.images,
        progress=progress,
        spread=film_workers(spec.resources),
    )
    logger.info("search for near-duplicates finished: %d found", len(duplicates.pairs))

    write_json(directory.duplicates, near_duplicates.to_plain(duplicates))


def _jobs(spec: RunSpec, directory: RunDirectory) -> list[Job]:
    """A job for every model and every relearning that is not stored yet."""
    # What is stored already is not made again
    root = directory.root
    jobs = []

    # Unlearning waits for the original; retrained models do not.
    for name in model_names(spec):
        if not directory.signals(name).exists():
            after = ORIGINAL if name == UNLEARNED else None
            jobs.append(Job(name, make_model, (spec, root, name), after=after))

    jobs += second_jobs(spec, directory)

    # A model is taught again once it is finished
    epochs = spec.audit.relearn_epochs
    for name in relearnt_names(spec):
        stage = relearn_stage(name)
        done = relearnt(directory.relearning(name), epochs=epochs)
        if not done or not directory.trace(stage).exists():
            jobs.append(Job(stage, relearn_model, (spec, root, name), after=name))
    return jobs


def _stages(spec: RunSpec) -> list[str]:
    """Every stage that saves its progress."""
    return [*model_names(spec), *map(relearn_stage, relearnt_names(spec))]


def _evaluate(spec: RunSpec, directory: RunDirectory, data: OpenedRun) -> Evaluation:
    """Compute all scores from the stored signals and write them."""
    signals = {name: Signals.load(directory.signals(name)) for name in model_names(spec)}
    references = pool_references(directory, data.partition)
    retrained = [signals[name] for name in retrained_names(spec)]

    logger.info("evaluation begun: %d models", len(signals))
    with Meter() as meter:
        evaluation = workflow.evaluate(
            original=signals[ORIGINAL],
            unlearned=signals[UNLEARNED],
            retrained=[*retrained, *references.values()],
            partition=data.partition,
            task=data.cohort.task,
            classes=data.cohort.classes,
            seed=spec.seed,
            resamples=spec.resamples,
        )
    logger.info("evaluation finished")

    write_text(directory.metrics, evaluation.to_json())
    write_json(directory.trace("evaluate"), {"cost": asdict(meter.cost)})

    # The signals are on disk; what would draw them keeps none in memory
    return replace(evaluation, draw=None)


def _audit(spec: RunSpec, directory: RunDirectory, data: OpenedRun) -> None:
    """Decide by the declared rule and write the audit."""
    logger.info("audit begun")
    draw = read_draw(directory, data.cohort, data.partition, seed=spec.seed)
    _, meter = run_audit(
        directory,
        [draw],
        cohort=data.cohort,
        declared=spec.audit,
        seed=spec.seed,
    )
    write_json(directory.trace("audit"), {"cost": asdict(meter.cost)})
    logger.info("audit finished")
