"""A sweep: many trials of a run's options in one Optuna study, by a Weights & Biases sweep file, without a server."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.files import write_json, write_text
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.jobs.runner import run_all
from forgetmi.run.applicable import check_models
from forgetmi.run.claim import claim
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_use import learns_from_pool
from forgetmi.run.run_data import open_cohort
from forgetmi.run.spec import RunSpec, applied, to_plain, write_yaml
from forgetmi.search.finished_sweep import TRIALS, finished_trials
from forgetmi.search.former_names import update_stored_name
from forgetmi.search.objectives import check_objective
from forgetmi.search.study import (
    FAILED,
    POSITION,
    Study,
    Tried,
    create_study,
    end_interrupted,
    enqueue_grid,
    import_optuna,
    list_trials,
    load_study,
    missing_positions,
    position_of,
    suggest,
)
from forgetmi.search.sweep_values import Choice, Distribution, Weighted
from forgetmi.search.trial import score

logger = logging.getLogger(__name__)


def run_sweep(
    study: Study, *, on_progress: Callable[[str, int, int], None] | None = None
) -> list[Tried]:
    """Make the trials that are not there yet, several at a time, and list all of them.

    Args:
        study: The sweep.
        on_progress: Called with (name of the trial, done, total).

    Returns:
        Every trial, in order; also written as trials.json, and the best as best.yaml (for ``--spec``).

    Raises:
        SpecError: Optuna is not installed, an option is unknown, or the directory has another sweep in it.
        MethodError: A method cannot work on the model; nothing is made.
    """
    _check(study)
    if finished_trials(study) is None:
        _check_methods(study)
    with RunDirectory(study.root).lock():
        path = study.root / "sweep.json"
        update_stored_name(path, "objective")
        claim(path, _text(study), kind="sweep")

        # A finished one is left as it is, its storage unopened
        finished = finished_trials(study)
        if finished is not None:
            logger.info("sweep is finished already")
            return finished

        optuna_study = create_study(study)

        # What is missing; of a grid every point that has no finished trial, however its last one ended
        end_interrupted(optuna_study)
        if study.sweep.method == "grid":
            waiting = enqueue_grid(study, optuna_study)
            last = max(study.trials, waiting)
            positions = list(range(last - waiting, last))
        else:
            positions = missing_positions(study, optuna_study)

        jobs = []
        for position in positions:
            jobs.append(Job(f"trial {position + 1}", attempt, (study, position)))
        logger.info("sweep begun: %d trials to do of %d", len(jobs), study.trials)
        run_all(jobs, study.spec.resources, on_progress=on_progress)

        trials = list_trials(optuna_study)
        _write(study, trials)
        logger.info("sweep finished: %d trials", len(trials))
        return trials


def _write(study: Study, trials: list[Tried]) -> None:
    """A specification with the best options, and all trials: with that list, written last, a sweep is finished."""
    best = best_of(trials, maximise=study.maximise)
    if best is not None:
        # The run with the best options, for --spec
        spec = applied(study.spec, best.options, where="best")
        write_text(study.root / "best.yaml", write_yaml(spec))

    write_json(study.root / TRIALS, [asdict(trial) for trial in trials])


def best_of(trials: list[Tried], *, maximise: bool) -> Tried | None:
    """The best trial that may be chosen; None where there is none.

    Examples:
        >>> trials = [
        ...     Tried(0, {"method.lr": 0.1}, 0.5, "complete", ""),
        ...     Tried(1, {"method.lr": 0.2}, 0.1, "complete", "loses 0.100 of validation AUC (image)"),
        ...     Tried(2, {"method.lr": 0.3}, 0.3, "complete", ""),
        ... ]
        >>> best_of(trials, maximise=False).number
        2
    """
    best: Tried | None = None
    best_value = 0.0
    for trial in trials:
        if trial.value is None or trial.state != "complete" or trial.refused:
            continue

        # The first of equally good ones stays.
        value = -trial.value if maximise else trial.value
        if best is None or value < best_value:
            best, best_value = trial, value
    return best


def attempt(study: Study, position: int, progress: ProgressCallback) -> None:
    """One trial: let Optuna suggest options, unlearn, score, and report the score to Optuna.

    Args:
        study: The sweep.
        position: Position of the trial, from 0; seeds what is drawn.
        progress: Called with (done, total).
    """
    states = import_optuna().trial.TrialState
    # Every trial loads the study anew: others may have ended meanwhile
    optuna_study = load_study(study, position)
    trial = optuna_study.ask()

    options = {}
    for name, choice in study.sweep.parameters.items():
        options[name] = suggest(trial, name, choice)
    trial.set_user_attr(POSITION, position_of(study, options, position))
    trial.set_user_attr("options", options)
    spec = applied(study.spec, options, where=f"trial {trial.number}")

    try:
        value, refused, is_pruned = _score_by_rungs(study, spec, trial, progress)
        state = states.PRUNED if is_pruned else states.COMPLETE
    except MethodError as error:
        value, refused, state = None, " ".join(map(str, error.faults)), states.FAIL

    # Of a pruned trial Optuna takes the last value that was reported.
    trial.set_user_attr(FAILED, state == states.FAIL)
    trial.set_user_attr("refused", refused)
    optuna_study.tell(trial, value if state == states.COMPLETE else None, state=state)
    progress(1, 1)


def _score_by_rungs(
    study: Study, spec: RunSpec, trial: Any, progress: ProgressCallback
) -> tuple[float, str, bool]:
    """Score, why the trial may not be chosen, and whether it was given up before its last epoch."""

    def score_of(run: RunSpec) -> tuple[float, str]:
        return score(run, study.root, objective=study.objective, progress=progress)

    if study.sweep.early is None:
        value, refused = score_of(spec)
        return value, refused, False

    # A rung starts afresh: a method's last epochs may differ with their number (schedules).
    epochs = spec.method.epochs
    for rung in study.sweep.early.bands:
        if rung >= epochs:
            break
        value, refused = score_of(replace(spec, method=replace(spec.method, epochs=rung)))
        trial.report(value, rung)
        if trial.should_prune():
            return value, refused, True

    value, refused = score_of(spec)
    trial.report(value, epochs)
    return value, refused, False


def _check(study: Study) -> None:
    """Every parameter is an option, and each of its values fits; before any work."""
    faults = []
    for name, choice in study.sweep.parameters.items():
        for value in _examples(choice):
            try:
                applied(study.spec, {name: value}, where=name)
            except SpecError as error:
                faults += error.faults

    # The objective exists
    try:
        check_objective(study.objective, study.spec)
    except SpecError as error:
        faults += error.faults

    if study.sweep.early is not None and not study.spec.method.info.own_epochs:
        faults.append(
            Fault("early_terminate needs a method with epochs", do="Leave it out of the file.")
        )
    if study.trials < 1:
        faults.append(
            Fault(
                f"{study.trials} trials were asked for", where="--trials", do="Ask for 1 or more."
            )
        )

    # Several values of one parameter may have the same fault.
    if faults:
        raise SpecError(list(dict.fromkeys(faults)))


def _check_methods(study: Study) -> None:
    """Each method can work on each model, within each carrier that may be tried; before any work."""
    distinct: dict[str, RunSpec] = {}
    for name, choice in study.sweep.parameters.items():
        for value in _examples(choice):
            spec = applied(study.spec, {name: value}, where=name)
            pool = learns_from_pool(spec.method)
            distinct[repr((type(spec.method), pool, spec.carrier, spec.training, spec.model))] = (
                spec
            )
    check_models(distinct.values(), open_cohort(study.spec))


def _examples(choice: Choice) -> tuple[Any, ...]:
    """All values of a choice, or the median of a distribution."""
    if isinstance(choice, Weighted):
        return choice.values
    if isinstance(choice, Distribution):
        return (choice.at(0.5),)
    return choice


def _text(study: Study) -> str:
    """What must be the same for a sweep to go on, as stored; the number of trials may grow."""
    plain = {
        "spec": to_plain(replace(study.spec, workers=0)),
        "sweep": asdict(study.sweep),
        "objective": study.objective,
        "maximise": study.maximise,
    }
    return json.dumps(plain, indent=1, sort_keys=True, default=str) + "\n"
