"""``forgetmi benchmark``: the paper's tables, its figure and its noise study on any cohort."""

from __future__ import annotations

import time
from collections.abc import Sequence

from forgetmi.commands.benchmark_options import USED, BenchmarkOptions
from forgetmi.commands.options import parse
from forgetmi.core.files import full_disk_explained
from forgetmi.run.directory import RunDirectory


def benchmark(argv: Sequence[str]) -> None:
    """Compare methods over percentages and seeds, and write the tables."""
    spec, options = parse(
        BenchmarkOptions,
        argv,
        prog="forgetmi benchmark",
        only=USED,
        description=(
            "Train originals and retrained references, unlearn with every method at every forget percentage and seed, "
            "and write the paper's tables and figure. Every model is kept under a digest of what determines it: "
            "interrupted at any moment, the same command goes on, and a larger grid in the same directory uses what is "
            "there. A model that cannot be made is stated in the tables and does not stop the others."
        ),
    )

    # What trains models is imported after the help was printed.
    from forgetmi.benchmark.grid import cells, check_methods, points
    from forgetmi.benchmark.store import Store
    from forgetmi.commands.benchmark_axes import read_axes
    from forgetmi.commands.benchmark_steps import make_and_measure, print_plan, write_results
    from forgetmi.run.live_track import live_tracker
    from forgetmi.run.pretrained import offline
    from forgetmi.run.track import check_tracker

    axes = read_axes(spec, options)
    if not options.dry_run:
        check_tracker(options.track)
    check_methods(spec, axes)
    store = Store(options.out)
    if options.dry_run:
        print_plan(store, points(offline(spec), axes), workers=spec.workers)
        return

    with RunDirectory(options.out).lock(), full_disk_explained(options.out.name):
        started = time.perf_counter()
        grid = points(spec, axes)
        labels = {cell.digest: cell.label for cell in cells(grid)}
        with live_tracker(
            options.track,
            options.out / "tracking",
            {},
            label=lambda digest: labels.get(digest, "model"),
        ):
            changed = options.tables_only or make_and_measure(store, grid, spec)

        write_results(
            store,
            spec,
            axes,
            grid,
            command=["forgetmi", "benchmark", *argv],
            seconds=time.perf_counter() - started,
            changed=changed,
        )
