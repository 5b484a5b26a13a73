"""The steps of ``forgetmi benchmark``: print a plan, make and measure models, write what came out."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

from forgetmi.benchmark.grid import Axes, Point, cells
from forgetmi.benchmark.page import write_all
from forgetmi.benchmark.progress import Estimate, Gauge, duration
from forgetmi.benchmark.published import is_papers
from forgetmi.benchmark.results import collect
from forgetmi.benchmark.store import Store
from forgetmi.benchmark.tables import all_tables
from forgetmi.benchmark.work import make_jobs, measure_jobs
from forgetmi.core.errors import ForgetMIError
from forgetmi.core.files import write_text
from forgetmi.core.logs import is_quiet
from forgetmi.core.printable import printable
from forgetmi.jobs.runner import run_all
from forgetmi.report.content import CohortSummary
from forgetmi.report.manifest import Manifest, write_manifest
from forgetmi.report.manifest import collect as collect_manifest
from forgetmi.run.console import echo
from forgetmi.run.film_workers import decode_films
from forgetmi.run.heartbeat import Heartbeat, Journal
from forgetmi.run.run_data import open_cohort, open_run
from forgetmi.run.spec import RunSpec, write_yaml

MANIFEST = "manifest.json"


def print_plan(store: Store, grid: Sequence[Point], *, workers: int) -> None:
    """Print every model and what the missing ones will take.

    Args:
        store: What is there already.
        grid: All points of the benchmark.
        workers: Processes side by side; 0 = one a core.
    """
    models = cells(grid)
    estimate = Estimate(store, models)
    missing = [model for model in models if not store.finished(model.digest)]

    for model in models:
        seconds = estimate.seconds(model)
        if model not in missing:
            state = "done"
        elif seconds < 0.5:
            state = "< 1 CPU s"
        else:
            state = f"about {seconds:.0f} CPU s"
        echo(f"{model.digest[:12]}  {printable(model.label)}: {state}")

    # The whole of what is missing: processor time, and time on this machine
    total = sum(estimate.seconds(model) for model in missing)
    wall = Gauge(missing, estimate, workers=workers, write=echo).left()
    echo(
        f"{len(models)} models, {len(missing)} to make: {duration(total)} of processor time, "
        f"{duration(wall)} here. {estimate.basis}"
    )


def make_and_measure(store: Store, grid: Sequence[Point], spec: RunSpec) -> bool:
    """Make what is missing, then measure it; whether there was anything to do."""
    models = cells(grid)
    missing = [model for model in models if not store.finished(model.digest)]
    gauge = Gauge(missing, Estimate(store, models), workers=spec.workers, write=_overwrite_line)

    # Films once, so that the jobs do not each decode all of them
    own = spec.given.original is None and not spec.model.towers
    if missing and own:
        decode_films(open_cohort(grid[0].spec), spec.images, spec.resources)

    # Every model first: a measure needs the retrained models, too
    with Heartbeat(gauge.lines, Journal()):
        run_all(make_jobs(store, models), spec.resources, on_progress=gauge.update)
        measures = measure_jobs(store, grid)
        run_all(measures, spec.resources)
    return bool(missing or measures)


def write_results(
    store: Store,
    spec: RunSpec,
    axes: Axes,
    grid: Sequence[Point],
    *,
    command: Sequence[str],
    seconds: float,
    changed: bool,
) -> None:
    """Write tables, figures, page and manifest, and print where they are and what failed.

    Args:
        store: Where the models are, and where the results go.
        spec: What all models share.
        axes: Sides of the grid.
        grid: All its points.
        command: As typed, for the manifest.
        seconds: Wall seconds that the command took until now.
        changed: Whether something was made now, or the files are to be written in any case; else they are left as they
            are where they are of these very models.
    """
    cohort = open_run(grid[0].spec).cohort

    # Size and grades of the cohort, by which the paper's own is recognised
    summary = CohortSummary.of(cohort)
    grades = [int((cohort.label == grade).sum()) for grade in range(len(cohort.classes))]

    # Models that were made, and those among them that could not be.
    models = cells(grid)
    outcomes = {}
    failed = []
    for model in models:
        outcome = store.outcome(model.digest)
        if outcome is None:
            continue
        outcomes[model.digest] = outcome
        if outcome.reason:
            failed.append(f"{model.label}: {outcome.reason}")
    made = [model for model in models if model.digest in outcomes]
    cpu_seconds = sum(outcome.cost.cpu_seconds for outcome in outcomes.values())

    # What the numbers rest on: seeds, data, weights and costs
    manifest = collect_manifest(
        seeds={f"training-{seed}": seed for seed in axes.training_seeds},
        cohort=cohort.digest,
        models={model.label: outcomes[model.digest].weights for model in made},
        spec=hashlib.sha256(write_yaml(spec).encode()).hexdigest(),
        warnings=failed,
        command=command,
        stages={model.label: outcomes[model.digest].cost for model in made},
    )
    if not changed and _is_written(store, manifest):
        echo(
            "The benchmark is finished already. Nothing was done; --tables-only writes its tables again.\n"
            f"Page: {store.root / 'benchmark.html'}"
        )
        return

    # The published numbers stand next to ours only on the paper's own cohort.
    results = collect(store, grid)
    tables = all_tables(
        results,
        axes.settings,
        seeds=len(axes.training_seeds),
        published=is_papers(summary.images, summary.patients, grades),
    )

    # The figure shows the methods as they are; their variants are in the tables.
    shown = [setting for setting in axes.settings if ":" not in setting.name]
    write_text(store.root / "spec.yaml", write_yaml(spec))
    write_all(
        store,
        results,
        tables,
        grid,
        shown or list(axes.settings),
        compared=axes.settings,
        cohort=summary.name,
        lead=_lead(summary, spec, axes),
        foot=_foot(manifest, models=len(outcomes), cpu_seconds=cpu_seconds),
    )
    # Last: with it, the files are those of these models
    write_manifest(store.root / MANIFEST, manifest)

    # A failed model is named, not only counted
    for line in failed:
        echo(f"failed: {printable(line)}")
    echo(
        f"{len(outcomes)} of {len(models)} models made, {len(failed)} failed; {duration(seconds)} now, "
        f"{duration(cpu_seconds)} of processor time in all.\n"
        f"Page: {store.root / 'benchmark.html'}\n"
        f"Tables: {store.root / 'tables'}   Single numbers: {store.root / 'results.csv'}"
    )


def _is_written(store: Store, manifest: Manifest) -> bool:
    """Whether tables and page of these very models are there: the manifest is written after them."""
    try:
        stored = Manifest.read(store.root / MANIFEST)
    except ForgetMIError:
        return False

    # However the command was typed, and wherever
    facts = ("package", "seeds", "cohort", "models", "spec", "stages", "warnings")
    return all(getattr(stored, name) == getattr(manifest, name) for name in facts)


def _lead(summary: CohortSummary, spec: RunSpec, axes: Axes) -> str:
    """First sentences of the page."""
    return (
        f"{summary.name}: {summary.images} images of {summary.patients} patients. Each method at each percentage "
        f"against models retrained without the forgotten ({spec.retrains} a seed and forget set), "
        f"{_plural(len(axes.training_seeds), 'training seed')}, "
        f"{_plural(len(axes.unlearning_seeds), 'unlearning seed')}."
    )


def _foot(manifest: Manifest, *, models: int, cpu_seconds: float) -> str:
    """Last sentences of the page."""
    accelerator = f", {manifest.accelerator}" if manifest.accelerator else ""
    return (
        f"{models} models, {duration(cpu_seconds)} of processor time in all, on {manifest.processor}, "
        f"{manifest.cores} cores{accelerator}. Command: {manifest.command}"
    )


def _plural(count: int, noun: str) -> str:
    ending = "" if count == 1 else "s"
    return f"{count} {noun}{ending}"


def _overwrite_line(text: str) -> None:
    """Print a line of progress; on a terminal, over the one before."""
    if is_quiet():
        return
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)
