"""``forgetmi benchmark``: the paper's tables, its figure and its noise study on any cohort."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.benchmark.grid import Axes, Point, cells, points
from forgetmi.benchmark.page import write_all
from forgetmi.benchmark.progress import Estimate, Gauge, duration
from forgetmi.benchmark.published import is_papers
from forgetmi.benchmark.results import collect
from forgetmi.benchmark.settings import REQUIRED, RETRAIN, all_methods, read_setting
from forgetmi.benchmark.store import Store
from forgetmi.benchmark.tables import all_tables, noise_settings, preset_settings
from forgetmi.benchmark.work import make_jobs, measure_jobs
from forgetmi.commands.options import parse
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained, write_text
from forgetmi.jobs.runner import run_all
from forgetmi.report.content import CohortSummary
from forgetmi.report.manifest import collect as describe
from forgetmi.report.manifest import write_manifest
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pretrained import offline
from forgetmi.run.run_data import open_run
from forgetmi.run.spec import GivenModels, PartitionSpec, RunSpec, write_yaml

USED = (
    "cohort",
    "partition",
    "images",
    "text",
    "model",
    "training",
    "retrains",
    "batch_size",
    "seed",
    "split_seed",
    "resamples",
    "workers",
    "threads",
    "runner",
    "address",
    "gpus_per_job",
    "device",
)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of ``forgetmi benchmark``.

    Args:
        out: Directory of all models' results; given again, only what is missing is made.
        methods: Methods, with options as NAME:option=value,option=value; empty = every registered one, with --quick
            those of the paper and SCRUB+R.
        percents: Forget percentages.
        draws: Disjoint forget sets of each percentage: one number for all, or one each.
        training_seeds: Root seeds of originals and retrained models; default: 0 1 2, with --quick 0.
        unlearning_seeds: Seeds of unlearning; 0 = the training seed itself.
        presets: Also Forget-MI's five settings (the paper's Table 2).
        noise_means: Also Forget-MI with image noise of these means (at the first standard deviation of --noise-stds, or
            its own).
        noise_stds: Also Forget-MI with image noise of these standard deviations.
        quick: The paper's methods, SCRUB+R, and one training seed.
        dry_run: Only print the models that would be made, and an estimate; nothing is downloaded.
        tables_only: Make no model: only tables of what is there.
    """

    out: Path
    methods: tuple[str, ...] = ()
    percents: tuple[float, ...] = (3.0, 6.0, 10.0)
    draws: tuple[int, ...] = (1,)
    training_seeds: tuple[int, ...] | None = None
    unlearning_seeds: tuple[int, ...] = (0,)
    presets: bool = True
    noise_means: tuple[float, ...] = ()
    noise_stds: tuple[float, ...] = ()
    quick: bool = False
    dry_run: bool = False
    tables_only: bool = False


def benchmark(argv: Sequence[str]) -> None:
    """Compare methods over percentages and seeds, and write the tables."""
    spec, own = parse(
        BenchmarkOptions,
        argv,
        prog="forgetmi benchmark",
        only=USED,
        description=(
            "Train originals and retrained references, unlearn with every method at every forget percentage and seed, and "
            "write the paper's tables and figure. Every model is kept under a digest of what determines it: interrupted at "
            "any moment, the same command goes on, and a larger grid in the same directory uses what is there. A model "
            "that cannot be made is stated in the tables and does not stop the others."
        ),
    )
    axes = read_axes(spec, own)
    store = Store(own.out)
    if own.dry_run:
        plan(store, points(offline(spec), axes), workers=spec.workers)
        return
    with RunDirectory(own.out).lock(), full_disk_explained(own.out.name):
        started = time.perf_counter()
        grid = points(spec, axes)
        if not own.tables_only:
            work(store, grid, spec)
        write(
            store,
            spec,
            axes,
            grid,
            command=["forgetmi", "benchmark", *argv],
            seconds=time.perf_counter() - started,
        )


def read_axes(spec: RunSpec, own: BenchmarkOptions) -> Axes:
    """The sides of the grid that the options mean.

    Raises:
        SpecError: Options do not fit together; all faults at once.
    """
    draws = own.draws * len(own.percents) if len(own.draws) == 1 else own.draws
    seeds = (
        (SEEDS[:1] if own.quick else SEEDS) if own.training_seeds is None else own.training_seeds
    )
    asked, default = spec.partition, PartitionSpec()
    faults = [
        Fault(what, where="benchmark", do=do)
        for what, do, wrong in (
            (
                "a forget list or a list of canaries is given",
                "Leave it out: forget sets are drawn.",
                asked.forget_list is not None or asked.canaries is not None,
            ),
            (
                "a single forget percentage or draw is given",
                "Use --percents and --draws.",
                (asked.percent, asked.draw) != (default.percent, default.draw),
            ),
            (
                "trained models are given",
                "Leave them out: every model is made here.",
                spec.given != GivenModels(),
            ),
            (
                "--draws has another number of values than --percents",
                "Give one for all, or one each.",
                len(draws) != len(own.percents),
            ),
            ("a number of draws is below 1", "Give 1 or more.", min(draws, default=0) < 1),
            (
                "no retrained model is asked for",
                "Set --retrains to 2 or more; 3 are advised.",
                spec.retrains < 1,
            ),
            (
                "there is nothing to do",
                "Give at least one percentage and one seed.",
                not (own.percents and seeds and own.unlearning_seeds),
            ),
            (
                "a value of an axis is given twice",
                "Give each once.",
                any(
                    len(set(values)) < len(values)
                    for values in (own.percents, seeds, own.unlearning_seeds)
                ),
            ),
        )
        if wrong
    ]
    if faults:
        raise SpecError(faults)
    names = own.methods or (REQUIRED if own.quick else all_methods())
    settings = [read_setting(name) for name in names if name != RETRAIN]
    settings += preset_settings() if own.presets else []
    settings += noise_settings(own.noise_means, own.noise_stds)
    unique = {one.name: one for one in settings}
    return Axes(tuple(unique.values()), own.percents, draws, seeds, own.unlearning_seeds)


def plan(store: Store, grid: Sequence[Point], *, workers: int) -> None:
    """Print every model and what the missing ones will take."""
    found = cells(grid)
    estimate = Estimate(store, found)
    todo = [cell for cell in found if not store.finished(cell.digest)]
    for cell in found:
        seconds = estimate.seconds(cell)
        state = (
            "done"
            if cell not in todo
            else "< 1 CPU s"
            if seconds < 0.5
            else f"about {seconds:.0f} CPU s"
        )
        echo(f"{cell.digest[:12]}  {cell.label}: {state}")
    gauge = Gauge(todo, estimate, workers=workers, write=echo)
    total = sum(estimate.seconds(cell) for cell in todo)
    echo(
        f"{len(found)} models, {len(todo)} to make: {duration(total)} of processor time, "
        f"{duration(gauge.left())} here. {estimate.basis}"
    )


def work(store: Store, grid: Sequence[Point], spec: RunSpec) -> None:
    """Make what is missing, then measure it."""
    found = cells(grid)
    todo = [cell for cell in found if not store.finished(cell.digest)]
    gauge = Gauge(todo, Estimate(store, found), workers=spec.workers, write=_line)
    run_all(make_jobs(store, found), spec.resources, on_progress=gauge.update)
    run_all(measure_jobs(store, grid), spec.resources)


def write(
    store: Store,
    spec: RunSpec,
    axes: Axes,
    grid: Sequence[Point],
    *,
    command: Sequence[str],
    seconds: float,
) -> None:
    """Write tables, figures, page and manifest, and say where they are and what failed."""
    cohort = open_run(grid[0].spec).cohort
    found, results = cells(grid), collect(store, grid)
    outcomes = {cell.digest: store.outcome(cell.digest) for cell in found}
    made = {digest: outcome for digest, outcome in outcomes.items() if outcome is not None}
    failed = [
        f"{cell.label}: {made[cell.digest].reason}"
        for cell in found
        if cell.digest in made and made[cell.digest].reason
    ]
    cpu = sum(outcome.cost.cpu_seconds for outcome in made.values())
    summary = CohortSummary.of(cohort)
    grades = [int((cohort.label == grade).sum()) for grade in range(len(cohort.classes))]
    tables = all_tables(
        results,
        axes.settings,
        seeds=len(axes.training_seeds),
        published=is_papers(summary.images, summary.patients, grades),
    )
    manifest = describe(
        seeds={f"training-{seed}": seed for seed in axes.training_seeds},
        cohort=cohort.digest,
        models={cell.label: made[cell.digest].weights for cell in found if cell.digest in made},
        spec=hashlib.sha256(write_yaml(spec).encode()).hexdigest(),
        warnings=failed,
        command=command,
        stages={cell.label: made[cell.digest].cost for cell in found if cell.digest in made},
    )
    lead = (
        f"{summary.name}: {summary.images} images of {summary.patients} patients. Each method at each percentage "
        f"against models retrained without the forgotten ({spec.retrains} a seed and forget set), "
        f"{_many(len(axes.training_seeds), 'training seed')}, "
        f"{_many(len(axes.unlearning_seeds), 'unlearning seed')}."
    )
    foot = (
        f"{len(made)} models, {duration(cpu)} of processor time in all, on {manifest.processor}, "
        f"{manifest.cores} cores{', ' + manifest.accelerator if manifest.accelerator else ''}. "
        f"Command: {manifest.command}"
    )
    shown = [one for one in axes.settings if ":" not in one.name] or list(axes.settings)
    write_manifest(store.root / "manifest.json", manifest)
    write_text(store.root / "spec.yaml", write_yaml(spec))
    write_all(store, results, tables, grid, shown, cohort=summary.name, lead=lead, foot=foot)
    for line in failed:
        echo(f"failed: {line}")
    echo(
        f"{len(made)} of {len(found)} models made, {len(failed)} failed; {duration(seconds)} now, "
        f"{duration(cpu)} of processor time in all.\nPage: {store.root / 'benchmark.html'}\n"
        f"Tables: {store.root / 'tables'}   Single numbers: {store.root / 'results.csv'}"
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _line(text: str) -> None:
    end = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{end}{text}", end="" if end else "\n", file=sys.stderr, flush=True)
