"""A sweep under way and its trials, as Optuna stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetmi.core.database_url import sqlite_url
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.seeding import derive
from forgetmi.run.spec import RunSpec
from forgetmi.search.sweep_file import Sweep, grid
from forgetmi.search.sweep_values import Choice

STUDY = "sweep"  # its name in the storage
# Why a trial failed whose process was ended
INTERRUPTED = "interrupted"
# Stored with a trial: whether the method gave up
FAILED = "failed"
POSITION = "position"  # attribute of a trial: its place in the sweep
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Study:
    """A sweep under way.

    Args:
        root: Its directory.
        spec: The run whose options are tried.
        sweep: What is tried.
        objective: "validation" (see `forgetmi.search.rules`), or a score as NAME:HEAD:SET, e.g. ``gap:image:``.
        maximise: Whether more of it is better.
        trials: How many; of a grid all that there are.
        storage: URL of an Optuna storage, "sqlite" or "journal" (files of the directory).
    """

    root: Path
    spec: RunSpec
    sweep: Sweep
    objective: str
    maximise: bool
    trials: int
    storage: str = "sqlite"


@dataclass(frozen=True)
class Tried:
    """One trial.

    Args:
        number: Of the trial.
        options: The parameters.
        value: The score; None = there is none.
        state: complete, pruned (given up early) or failed.
        refused: Why it may not be chosen, or why it failed; empty = it may.
    """

    number: int
    options: Mapping[str, Any]
    value: float | None
    state: str
    refused: str


def import_optuna() -> Any:
    """Optuna, with its messages turned down.

    Raises:
        SpecError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise SpecError(
            Fault("Optuna is not installed", do="Install it with  pip install 'forgetmi[sweep]'.")
        ) from error

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def create_study(study: Study) -> Any:
    """The sweep's Optuna study, made where it is not there yet."""
    return import_optuna().create_study(
        storage=_storage(study),
        study_name=STUDY,
        load_if_exists=True,
        direction="maximize" if study.maximise else "minimize",
    )


def load_study(study: Study, position: int) -> Any:
    """The sweep's Optuna study, for one trial.

    Args:
        study: The sweep.
        position: Position of the trial, from 0; seeds what is drawn.
    """
    optuna = import_optuna()

    # Trials run in several processes: each has a sampler of its own
    seed = derive(study.spec.seed, "sweep", position) % 2**32
    if study.sweep.method == "bayes":
        sampler = optuna.samplers.TPESampler(seed=seed)
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)

    return optuna.load_study(
        storage=_storage(study), study_name=STUDY, sampler=sampler, pruner=_pruner(study)
    )


def _storage(study: Study) -> Any:
    """Where Optuna keeps the trials."""
    optuna = import_optuna()

    # A journal, in a file of the directory
    if study.storage == "journal":
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(str(study.root / "study.journal")))

    # A file of the directory, or another database
    url = study.storage
    if url == "sqlite":
        url = sqlite_url(study.root.resolve() / "study.db")
    try:
        return optuna.storages.RDBStorage(url)
    except Exception as error:
        # Each database's library has errors of its own; their texts may hold a password of the address
        raise SpecError(
            Fault(
                "the storage of the trials cannot be opened",
                where="--storage",
                why=type(error).__name__,
                do="Give sqlite, journal, or the address of a database that Optuna can reach.",
            )
        ) from error


def _pruner(study: Study) -> Any:
    """Optuna's decides at first band x factor^k, which the k-th band reaches and never passes by a whole factor."""
    optuna = import_optuna()
    early = study.sweep.early

    # Without bands every trial runs to its end
    if early is None:
        return optuna.pruners.NopPruner()

    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=early.bands[0], reduction_factor=early.factor
    )


def suggest(trial: Any, name: str, choice: Choice) -> Any:
    """The value to try: distributions by the share of draws below it, so that one form of suggestion serves all."""
    if isinstance(choice, tuple):
        # By position: values may be of any type
        positions = list(range(len(choice)))
        return choice[trial.suggest_categorical(name, positions)]

    return choice.at(trial.suggest_float(name, 0.0, 1.0))


def positions_in_grid(sweep: Sweep, options: Mapping[str, Any]) -> dict[str, int]:
    """One combination of a grid as `suggest` stores it: each parameter's position among its values."""
    # Distributions have no place in a grid
    positions = {}
    for name, choice in sweep.parameters.items():
        if isinstance(choice, tuple):
            positions[name] = choice.index(options[name])
    return positions


def ended_trials(optuna_study: Any) -> list[Any]:
    """Optuna's trials that need not be made again: scored, pruned, or failed for a reason of the method."""
    states = import_optuna().trial.TrialState
    ended = (states.COMPLETE, states.PRUNED, states.FAIL)

    # Of others that failed the process is gone
    trials = optuna_study.get_trials(states=ended)
    return [trial for trial in trials if trial.state != states.FAIL or _method_failed(trial)]


def _method_failed(trial: Any) -> bool:
    """Whether the method gave up; else a failed trial's process was killed, perhaps between its score and its end."""
    # An earlier version said it by the reason alone
    return trial.user_attrs.get(FAILED, bool(trial.user_attrs.get("refused")))


def end_interrupted(optuna_study: Any) -> None:
    """End the trials that seem to run: they belong to a process that is gone, for the directory is locked."""
    states = import_optuna().trial.TrialState
    for trial in optuna_study.get_trials(states=[states.RUNNING]):
        optuna_study.tell(trial.number, state=states.FAIL)


def missing_positions(study: Study, optuna_study: Any) -> list[int]:
    """Positions of the trials that are still to be made, those of an interrupted process among them.

    Args:
        study: The sweep.
        optuna_study: Its Optuna study; no trial of it runs.
    """
    # An earlier version did not store positions: its trials take the first ones
    stored = [trial.user_attrs.get(POSITION) for trial in ended_trials(optuna_study)]
    done = {position for position in stored if position is not None}
    unnamed = stored.count(None)

    missing = [position for position in range(study.trials) if position not in done]
    return missing[unnamed:]


def enqueue_grid(study: Study, optuna_study: Any) -> int:
    """Line up every point of a grid that has no finished trial and is not waiting for one; returns how many wait then.

    Args:
        study: The sweep, of a grid.
        optuna_study: Its Optuna study; no trial of it runs.
    """
    states = import_optuna().trial.TrialState
    waiting = [_point(trial) for trial in optuna_study.get_trials(states=[states.WAITING])]
    done = [_point(trial) for trial in ended_trials(optuna_study)]

    for options in grid(study.sweep.parameters)[: study.trials]:
        point = positions_in_grid(study.sweep, options)
        if point not in done and point not in waiting:
            optuna_study.enqueue_trial(point)
            waiting.append(point)
    return len(waiting)


def _point(trial: Any) -> dict[str, int]:
    """The point of a grid that a trial is for, in the form of `positions_in_grid`."""
    return dict(trial.params or trial.system_attrs.get("fixed_params", {}))


def position_of(study: Study, options: Mapping[str, Any], position: int) -> int:
    """The position of a trial in its sweep: of a grid that of its point, whichever process took it."""
    if study.sweep.method != "grid":
        return position
    return grid(study.sweep.parameters).index(dict(options))


def list_trials(optuna_study: Any) -> list[Tried]:
    """Every trial that came to an end, in the order of an uninterrupted sweep of one process."""

    def place(trial: Any) -> int:
        return trial.user_attrs.get(POSITION, trial.number)

    trials = []
    for trial in sorted(optuna_study.get_trials(), key=place):
        # Waiting and running ones are left out
        state = STATES.get(trial.state.name)
        if state is None:
            continue

        refused = trial.user_attrs.get("refused", INTERRUPTED)
        if state == "failed" and not _method_failed(trial):
            refused = INTERRUPTED

        trials.append(
            Tried(
                number=trial.number,
                options=trial.user_attrs.get("options", {}),
                value=trial.value,
                state=state,
                refused=refused,
            )
        )
    return trials
