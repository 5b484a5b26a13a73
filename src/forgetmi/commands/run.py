"""``forgetmi demo``, ``run`` and ``report``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.commands.options import parse
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.registry import commands
from forgetmi.report.pdf import write_pdfs
from forgetmi.run.console import echo, summary
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finish import _report, costs, finish
from forgetmi.run.pipeline import Run
from forgetmi.run.record import Recording, check, keep_record
from forgetmi.run.run_data import load_data
from forgetmi.run.run_models import model_names
from forgetmi.run.spec import replace_seed, spec_of, write_yaml
from forgetmi.run.track import Kind, track_run


@dataclass(frozen=True)
class RunOptions:
    """Options of ``forgetmi run``.

    Args:
        out: Directory of the run; given again, an interrupted run goes on.
        dry_run: Only print the resolved specification.
        sign_key: PEM file of an Ed25519 private key to sign the run's record with.
        previous: The record (or run directory) before this run's in a chain of records.
        track: Also hand losses and scores to a tracker: wandb (offline unless WANDB_MODE says otherwise), mlflow or
            tensorboard; never an identifier, a text or a path.
    """

    out: Path
    dry_run: bool = False
    sign_key: Path | None = None
    previous: Path | None = None
    track: Kind = ""


def run(argv: Sequence[str]) -> None:
    """Train, retrain, unlearn, evaluate, report from one specification."""
    also = "".join(
        f" --{name.removeprefix('run.')} FILE reads another kind of configuration."
        for name in commands.names()
        if name.startswith("run.")
    )
    spec, own = parse(
        RunOptions,
        argv,
        prog="forgetmi run",
        description="Train the original and the retrained "
        f"references, unlearn, evaluate and report.{also}",
    )
    if own.dry_run:
        print(write_yaml(spec), end="")
        return
    how = Recording(own.sign_key, own.previous)
    check(how)
    finish(spec, own.out, command=["forgetmi", "run", *argv], how=how)
    if own.track:
        track_run(own.track, RunDirectory(own.out), model_names(spec), seed=spec.seed)


@dataclass(frozen=True)
class DemoOptions:
    """Options of ``forgetmi demo``.

    Args:
        out: Directory of the runs; one folder a seed.
        seeds: Seeds of cohort, patients and models; several print the figures over them.
    """

    out: Path = Path("runs/demo")
    seeds: tuple[int, ...] = (0,)


def demo(argv: Sequence[str]) -> None:
    """The main job on the embedded cohort."""
    spec, own = parse(
        DemoOptions,
        argv,
        prog="forgetmi demo",
        description="Train a model on the embedded cohort, forget 10 % of it as whole patients, compare "
        "with three retrained models, and write a report.",
    )
    if not own.seeds:
        raise SpecError(
            Fault(
                "no seeds are given", where="--seeds", do="Give at least one, e.g. --seeds 0 1 2."
            )
        )
    done = [
        finish(
            replace_seed(spec, seed), own.out / f"seed-{seed}", command=["forgetmi", "demo", *argv]
        )
        for seed in own.seeds
    ]
    if len(done) > 1:
        echo(
            summary(
                [one.evaluation for one in done],
                list(own.seeds),
                [pair for one in done for pair in costs(spec, one)],
            )
        )


@dataclass(frozen=True)
class ReportOptions:
    """Options of ``forgetmi report``.

    Args:
        run: Directory of a finished run.
        pdf: Also print the pages to PDF (extra ``pdf``).
    """

    run: tyro.conf.Positional[Path]
    pdf: bool = False


def report(argv: Sequence[str]) -> None:
    """Write a finished run's report again from its stored arrays; no model is run."""
    own = command_line(
        ReportOptions,
        argv,
        prog="forgetmi report",
        description="Write the report of a finished run again; no model is run.",
    )
    spec, directory = spec_of(own.run), RunDirectory(own.run)
    missing = [name for name in model_names(spec) if not directory.signals(name).exists()]
    if missing or not directory.metrics.exists():
        raise SpecError(
            Fault(
                "the run is not finished",
                where=own.run.name,
                why=f"missing: {', '.join(missing) or 'metrics'}",
                do="Give the run's command again; it goes on where it stopped.",
            )
        )
    from forgetmi.core.scores import Evaluation

    cohort, partition = load_data(spec)
    evaluation = Evaluation.from_json(directory.metrics.read_text(encoding="utf-8"))
    done = Run(directory, cohort, partition, evaluation)
    pages = _report(done, spec, ["forgetmi", "report", *argv])
    if own.pdf:
        pages += write_pdfs(pages)
    echo("Report: " + "\n        ".join(map(str, pages)))
    echo(f"{keep_record(done, spec, Recording())}")
