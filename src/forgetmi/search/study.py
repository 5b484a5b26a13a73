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
from forgetmi.search.sweep_file import Sweep
from forgetmi.search.sweep_values import Choice

STUDY = "sweep"  # its name in the storage
# Why a trial failed whose process was ended
INTERRUPTED = "interrupted"
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


def count_done(optuna_study: Any) -> int:
    """Trials that need not be made again; one whose process is gone does."""
    states = import_optuna().trial.TrialState

    # Scored, pruned, or failed for a reason of the method
    scored = optuna_study.get_trials(states=[states.COMPLETE, states.PRUNED])
    failed = optuna_study.get_trials(states=[states.FAIL])
    with_reason = [trial for trial in failed if "refused" in trial.user_attrs]
    return len(scored) + len(with_reason)


def list_trials(optuna_study: Any) -> list[Tried]:
    """Every trial that came to an end, in order."""
    trials = []
    for trial in optuna_study.get_trials():
        # Waiting and running ones are left out
        state = STATES.get(trial.state.name)
        if state is None:
            continue

        trials.append(
            Tried(
                number=trial.number,
                options=trial.user_attrs.get("options", {}),
                value=trial.value,
                state=state,
                refused=trial.user_attrs.get("refused", INTERRUPTED),
            )
        )
    return trials
