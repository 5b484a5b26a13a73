"""``forgetmi sweep``: a Weights & Biases sweep file without a server, or one trial of a sweep with one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.options import parse
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained
from forgetmi.core.ranges import Number
from forgetmi.jobs.pool import use_threads
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.spec import RunSpec
from forgetmi.run.track import Kind
from forgetmi.search.former_names import current_name, renamed

DEFAULT_TRIALS = 20  # where neither the options nor the file name a number
USED = (
    "cohort",
    "partition",
    "images",
    "text",
    "model",
    "training",
    "method",
    "carrier",
    "given",
    "retrains",
    "batch_size",
    "seed",
    "split_seed",
    "workers",
    "threads",
    "runner",
    "address",
    "gpus_per_job",
    "device",
    "store_on",
    "film_bits",
    "compile",
)


@dataclass(frozen=True)
class SweepOptions:
    """Options of ``forgetmi sweep``.

    Args:
        out: Directory of the study and the models its trials share; given again, an interrupted sweep goes on and a
            finished one is left as it is.
        file: The sweep file; without one, a single trial of the options given is made, as for ``wandb agent``.
        trials: Number of trials; 0 = the file's run_cap, else all of a grid, else 20.
        objective: validation (the rule of forgetmi tune), or a score as NAME:HEAD:SET, e.g. gap:image or
            jsf:image:forget; a tracker gets it under this very name. Empty = the file's metric where it names one, else
            validation; a trial of wandb agent does not see the file, so its command must pass another metric.
        storage: sqlite or journal (a file of the directory), or the URL of an Optuna storage.
        track: Also send what single trials score to a tracker: wandb, mlflow or tensorboard.
    """

    out: Path
    file: Path | None = None
    trials: Number = 0
    objective: str = ""
    storage: str = "sqlite"
    track: Kind = ""


def sweep(argv: Sequence[str]) -> None:
    """Try the options of a sweep file, or make one trial."""
    # A first word that is no option is the sweep file.
    has_file = bool(argv) and not argv[0].startswith("-")
    words = ["--file", *argv] if has_file else list(argv)

    spec, options = parse(
        SweepOptions,
        words,
        prog="forgetmi sweep",
        only=USED,
        agent=True,
        description=(
            "forgetmi sweep FILE runs a Weights & Biases sweep file without a server: grid, random or bayes, many "
            "workers on one study, early_terminate. Its parameters are named like the options below, e.g. method.lr. "
            "Without FILE it makes one trial, so that the same command is the program of wandb sweep and wandb agent."
        ),
    )

    with full_disk_explained(options.out.name):
        if options.file is None:
            run_one_trial(spec, options)
        else:
            run_file(spec, options, options.file)


def run_file(spec: RunSpec, options: SweepOptions, file: Path) -> None:
    """All trials of a sweep file."""
    # What trains models is imported after the help was printed.
    from forgetmi.search.finished_sweep import finished_trials
    from forgetmi.search.rule_names import VALIDATION
    from forgetmi.search.study import Study
    from forgetmi.search.sweep import best_of, run_sweep
    from forgetmi.search.sweep_file import grid, read_sweep

    sweep_file = read_sweep(file)

    # A grid has an end; the other ways go on until a number of trials.
    trials = options.trials or sweep_file.most
    if sweep_file.method == "grid":
        size = len(grid(sweep_file.parameters))
        trials = min(trials or size, size)

    given = options.objective or sweep_file.metric or VALIDATION
    objective = current_name(given)
    if renamed(given):
        echo(f"Note: {renamed(given)}.")

    study = Study(
        options.out,
        spec,
        sweep_file,
        objective,
        sweep_file.maximise and objective == current_name(sweep_file.metric),
        trials or DEFAULT_TRIALS,
        options.storage,
    )
    finished = finished_trials(study) is not None
    with ProgressDisplay() as display:
        tried = run_sweep(study, on_progress=display.update)

    if finished:
        echo("The sweep is finished already. Nothing was done.")

    # Every trial, then the best one
    for trial in tried:
        value = "-" if trial.value is None else f"{trial.value:.4f}"
        refused = f": {trial.refused}" if trial.refused else ""
        echo(f"{trial.number:>4}  {value:>9}  {trial.state}{refused}  {trial.options}")

    all_trials = options.out / "trials.json"
    best = best_of(tried, maximise=study.maximise)
    if best is None:
        echo(f"No trial may be chosen. All: {all_trials}")
        return
    echo(f"Best by {objective}: trial {best.number} ({best.value:.4f}) {best.options}")
    echo(f"Use it with  forgetmi run --spec {options.out / 'best.yaml'}   All: {all_trials}")


def run_one_trial(spec: RunSpec, options: SweepOptions) -> None:
    """One trial of the options given; an agent's tracker gets its score."""
    # What trains models is imported after the help was printed.
    from forgetmi.run.track import Tracker, check_tracker
    from forgetmi.search.rule_names import VALIDATION
    from forgetmi.search.trial import score

    if options.trials > 1:
        raise SpecError(
            Fault("several trials are asked for without a sweep file", do="Give the FILE first.")
        )

    # An agent sets the variable for the trials that it starts; a tracker that cannot be used is found before the work
    started_by_agent = bool(os.environ.get("WANDB_SWEEP_ID"))
    kind: Kind = options.track or ("wandb" if started_by_agent else "")
    check_tracker(kind)

    # The trial is made and scored in this process
    use_threads(spec.threads)
    objective = options.objective or VALIDATION
    value, refused = score(
        spec, options.out, objective=objective, progress=lambda done, total: None
    )

    if kind:
        scores = {objective: value, "refused": float(bool(refused))}
        # A sweep that an earlier version began waits for the former name of the rule.
        if not options.objective:
            scores["own"] = value
        with Tracker(kind, options.out, "trial", {}) as tracker:
            tracker.log(scores, step=0)

    note = f" (refused: {refused})" if refused else ""
    echo(f"{objective}: {value:.6f}{note}")
