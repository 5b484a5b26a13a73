"""A sweep: many trials of a run's options in one Optuna study, by a Weights & Biases sweep file, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.files import write_json, write_text
from forgetmi.core.seeding import derive
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.jobs.runner import run_all
from forgetmi.run.claim import claim
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import RunSpec, applied, to_plain, write_yaml
from forgetmi.search.sweep_file import Sweep, grid
from forgetmi.search.sweep_values import Distribution, Weighted
from forgetmi.search.trial import check_objective, score

STUDY = "sweep"


@dataclass(frozen=True)
class Study:
    """A sweep under way.

    Args:
        root: Its directory.
        spec: The run whose options are tried.
        sweep: What is tried.
        objective: "own" (see `forgetmi.search.rules`), or a score as NAME:HEAD:SET, e.g. ``gap:image:``.
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
    options: dict[str, Any]
    value: float | None
    state: str
    refused: str


def run_sweep(
    study: Study, *, on_progress: Callable[[str, int, int], None] | None = None
) -> list[Tried]:
    """Make the trials that are not there yet, several at a time, and list all of them.

    Args:
        study: The sweep.
        on_progress: Called with (what, done, in all).

    Returns:
        Every trial, in order; also written as trials.json, and the best as best.yaml (for ``--spec``).

    Raises:
        SpecError: Optuna is not installed, an option is unknown, or the directory holds another sweep.
    """
    optuna = _optuna()
    _check(study)
    with RunDirectory(study.root).lock():
        claim(study.root / "sweep.json", _sweep_text(study), kind="sweep")
        found = optuna.create_study(
            storage=_storage(study),
            study_name=STUDY,
            load_if_exists=True,
            direction="maximize" if study.maximise else "minimize",
        )
        states = optuna.trial.TrialState
        for trial in found.get_trials(states=[states.RUNNING]):  # of a process that is gone
            found.tell(trial.number, state=states.FAIL)
        if study.sweep.method == "grid":
            for options in grid(study.sweep.parameters):
                found.enqueue_trial(_numbers(study.sweep, options), skip_if_exists=True)
        done = len(found.get_trials(states=[states.COMPLETE, states.PRUNED])) + len(
            [one for one in found.get_trials(states=[states.FAIL]) if "refused" in one.user_attrs]
        )
        jobs = [Job(f"trial {at + 1}", attempt, (study, at)) for at in range(done, study.trials)]
        run_all(jobs, study.spec.resources, on_progress=on_progress)
        tried = _tried(found)
        write_json(study.root / "trials.json", [asdict(one) for one in tried])
        if (best := best_of(tried, maximise=study.maximise)) is not None:
            write_text(
                study.root / "best.yaml",
                write_yaml(applied(study.spec, best.options, where="best")),
            )
        return tried


def best_of(tried: list[Tried], *, maximise: bool) -> Tried | None:
    """The best trial that may be chosen; None where there is none."""
    good = [
        one
        for one in tried
        if one.value is not None and one.state == "complete" and not one.refused
    ]
    return min(good, key=lambda one: -one.value if maximise else one.value, default=None)  # type: ignore[operator]


def attempt(study: Study, at: int, progress: ProgressCallback) -> None:
    """One trial: ask what to try, unlearn, score, tell.

    Args:
        study: The sweep.
        at: How manieth it is; seeds what is drawn.
        progress: Called with (done, in all).
    """
    optuna = _optuna()
    kind = (
        optuna.samplers.TPESampler
        if study.sweep.method == "bayes"
        else optuna.samplers.RandomSampler
    )
    sampler = kind(seed=derive(study.spec.seed, "sweep", at) % 2**32)
    found = optuna.load_study(
        storage=_storage(study), study_name=STUDY, sampler=sampler, pruner=_pruner(study)
    )
    trial = found.ask()
    options = {
        name: _suggest(trial, name, choice) for name, choice in study.sweep.parameters.items()
    }
    trial.set_user_attr("options", options)
    spec = applied(study.spec, options, where=f"trial {trial.number}")
    value, refused, state = None, "", optuna.trial.TrialState.COMPLETE
    try:
        for epochs in _rungs(study, spec):
            method = spec.method if epochs is None else replace(spec.method, epochs=epochs)
            value, refused = score(
                replace(spec, method=method),
                study.root,
                objective=study.objective,
                progress=progress,
            )
            if epochs is not None:
                trial.report(value, epochs)
                if epochs < spec.method.epochs and trial.should_prune():
                    state = optuna.trial.TrialState.PRUNED
                    break
    except MethodError as error:
        refused, state, value = " ".join(map(str, error.faults)), optuna.trial.TrialState.FAIL, None
    trial.set_user_attr("refused", refused)
    found.tell(trial, value if state == optuna.trial.TrialState.COMPLETE else None, state=state)
    progress(1, 1)


def _check(study: Study) -> None:
    """Every parameter is an option, and each of its values fits; before any work."""
    faults = []
    for name, choice in study.sweep.parameters.items():
        values = (
            choice.values
            if isinstance(choice, Weighted)
            else ((choice.at(0.5),) if isinstance(choice, Distribution) else choice)
        )
        for value in values:
            try:
                applied(study.spec, {name: value}, where=name)
            except SpecError as error:
                faults += error.faults
    try:
        check_objective(study.objective, study.spec)
    except SpecError as error:
        faults += error.faults
    if study.sweep.early is not None and "epochs" not in {
        f.name for f in fields(study.spec.method)
    }:
        faults.append(
            Fault("early_terminate needs a method with epochs", do="Leave it out of the file.")
        )
    if study.trials < 1:
        faults.append(
            Fault(
                f"{study.trials} trials were asked for", where="--trials", do="Ask for 1 or more."
            )
        )
    if faults:
        raise SpecError(list(dict.fromkeys(faults)))


def _sweep_text(study: Study) -> str:
    """What must be the same for a sweep to go on, as stored; the number of trials may grow."""
    plain = {
        "spec": to_plain(replace(study.spec, workers=0)),
        "sweep": asdict(study.sweep),
        "objective": study.objective,
        "maximise": study.maximise,
    }
    return json.dumps(plain, indent=1, sort_keys=True, default=str) + "\n"


def _rungs(study: Study, spec: RunSpec) -> list[int | None]:
    """Numbers of epochs a trial is looked at after, the last being all of them; [None] = once, as it is.

    A rung starts afresh: a method's last epochs may differ with their number (schedules), so nothing is carried over.
    """
    if study.sweep.early is None:
        return [None]
    return [
        *(band for band in study.sweep.early.bands if band < spec.method.epochs),
        spec.method.epochs,
    ]


def _pruner(study: Study) -> Any:
    """Optuna's decides at first band x factor^k, which the k-th band reaches and never passes by a whole factor."""
    optuna = _optuna()
    early = study.sweep.early
    if early is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=early.bands[0], reduction_factor=early.factor
    )


def _suggest(trial: Any, name: str, choice: Any) -> Any:
    """A value: distributions by the share of draws below it, so that one form of suggestion serves all of them."""
    if isinstance(choice, tuple):
        return choice[trial.suggest_categorical(name, list(range(len(choice))))]
    return choice.at(trial.suggest_float(name, 0.0, 1.0))


def _numbers(sweep: Sweep, options: Mapping[str, Any]) -> dict[str, int]:
    return {
        name: list(choice).index(options[name])
        for name, choice in sweep.parameters.items()
        if isinstance(choice, tuple)
    }


def _tried(found: Any) -> list[Tried]:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return [
        Tried(
            trial.number,
            trial.user_attrs.get("options", {}),
            trial.value,
            names[trial.state.name],
            trial.user_attrs.get("refused", "interrupted"),
        )
        for trial in found.get_trials()
        if trial.state.name in names
    ]


def _storage(study: Study) -> Any:
    optuna = _optuna()
    if study.storage == "journal":
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(str(study.root / "study.journal")))
    return optuna.storages.RDBStorage(
        f"sqlite:///{study.root.resolve() / 'study.db'}"
        if study.storage == "sqlite"
        else study.storage
    )


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise SpecError(
            Fault("Optuna is not installed", do="Install it with  pip install 'forgetmi[sweep]'.")
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
