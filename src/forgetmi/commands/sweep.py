"""``forgetmi sweep``: a Weights & Biases sweep file without a server, or one trial of a sweep with one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.options import parse
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained
from forgetmi.jobs.pool import use_threads
from forgetmi.run.console import ProgressDisplay, echo
from forgetmi.run.spec import RunSpec
from forgetmi.run.track import Kind, Tracker
from forgetmi.search.former_names import current_name, renamed
from forgetmi.search.rules import VALIDATION
from forgetmi.search.study import Study
from forgetmi.search.sweep import best_of, run_sweep
from forgetmi.search.sweep_file import grid, read_sweep
from forgetmi.search.trial import score

USED = (
    "cohort",
    "partition",
    "images",
    "text",
    "model",
    "training",
    "method",
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
)


@dataclass(frozen=True)
class SweepOptions:
    """Options of ``forgetmi sweep``.

    Args:
        out: Directory of the study and the models its trials share; given again, an interrupted sweep goes on.
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
    trials: int = 0
    objective: str = ""
    storage: str = "sqlite"
    track: Kind = ""


def sweep(argv: Sequence[str]) -> None:
    """Try the options of a sweep file, or make one trial."""
    words = ["--file", *argv] if argv and not argv[0].startswith("-") else list(argv)
    spec, own = parse(
        SweepOptions,
        words,
        prog="forgetmi sweep",
        only=USED,
        agent=True,
        description=(
            "forgetmi sweep FILE runs a Weights & Biases sweep file without a server: grid, random or bayes, many workers "
            "on one study, early_terminate. Its parameters are named like the options below, e.g. method.lr. Without FILE "
            "it makes one trial, so that the same command is the program of wandb sweep and wandb agent."
        ),
    )
    with full_disk_explained(own.out.name):
        if own.file is None:
            one_trial(spec, own)
        else:
            whole(spec, own, own.file)


def whole(spec: RunSpec, own: SweepOptions, file: Path) -> None:
    """All trials of a file."""
    found = read_sweep(file)
    count = own.trials or found.most or 20
    if found.method == "grid":
        every = len(grid(found.parameters))
        count = min(own.trials or found.most or every, every)
    given = own.objective or found.metric or VALIDATION
    objective = current_name(given)
    if renamed(given):
        echo(f"Note: {renamed(given)}.")
    study = Study(
        own.out,
        spec,
        found,
        objective,
        found.maximise and objective == current_name(found.metric),
        count,
        own.storage,
    )
    with ProgressDisplay() as display:
        tried = run_sweep(study, on_progress=display.update)
    best = best_of(tried, maximise=study.maximise)
    for one in tried:
        value = "-" if one.value is None else f"{one.value:.4f}"
        echo(
            f"{one.number:>4}  {value:>9}  {one.state}{': ' + one.refused if one.refused else ''}  {one.options}"
        )
    if best is None:
        echo(f"No trial may be chosen. All: {own.out / 'trials.json'}")
    else:
        echo(
            f"Best by {objective}: trial {best.number} ({best.value:.4f}) {best.options}\n"
            f"Use it with  forgetmi run --spec {own.out / 'best.yaml'}   All: {own.out / 'trials.json'}"
        )


def one_trial(spec: RunSpec, own: SweepOptions) -> None:
    """One trial of the options given; an agent's own run is told its score."""
    if own.trials > 1:
        raise SpecError(
            Fault("several trials are asked for without a sweep file", do="Give the FILE first.")
        )
    use_threads(spec.threads)
    objective = own.objective or VALIDATION
    value, refused = score(spec, own.out, objective=objective, progress=lambda done, total: None)
    kind: Kind = own.track or ("wandb" if os.environ.get("WANDB_SWEEP_ID") else "")
    if kind:
        with Tracker(kind, own.out, "trial", {}) as tracker:
            scores = {objective: value, "refused": float(bool(refused))}
            # A sweep that an earlier version began waits for the former name of the rule.
            if not own.objective:
                scores["own"] = value
            tracker.log(scores, step=0)
    echo(f"{objective}: {value:.6f}{' (refused: ' + refused + ')' if refused else ''}")
