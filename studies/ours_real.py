"""A finished `forgetmi benchmark` as one table with intervals over forget sets; no model is run.

    python studies/ours_real.py [--into docs/consensus_real.md] OPTIONS

OPTIONS are those the benchmark was made with. A small cohort of one's own leaves few patients in a forget set, so
several disjoint sets are measured (`--draws`), each averaged over its training seeds: the interval is Student's over
the sets. It knows nothing of other held-out patients, who are the same for all sets. With one set there is no such
interval, and the bootstrap over its patients stands in its place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from forgetmi.benchmark.grid import Axes, Point, cells
from forgetmi.benchmark.measured import Found, Measured
from forgetmi.benchmark.progress import duration
from forgetmi.benchmark.results import Results, collect, summary
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.report.content import CohortSummary
from forgetmi.run.run_data import open_run
from pages import command, put, rows
from stored_grid import asked_for, machine

COLUMNS: Mapping[str, Callable[[Measured], Found]] = {
    "gap": lambda one: one.score("gap", "image", ""),
    "gap joint": lambda one: one.score("gap_joint", "both", ""),
    "JSf image": lambda one: one.score("jsf", "image", "forget"),
    "JSf text": lambda one: one.score("jsf", "text", "forget"),
    "rho image": lambda one: one.score("loss_spearman", "image", "forget"),
    "rho text": lambda one: one.score("loss_spearman", "text", "forget"),
    "forget AUC image": lambda one: one.score("auc", "image", "forget"),
    "test AUC image": lambda one: one.score("auc", "image", "test"),
    "test AUC text": lambda one: one.score("auc", "text", "test"),
    "time / retrain": lambda one: one.share(),
}
NAMES = {FLOOR: "retrain (floor)"}


def cell(models: Sequence[Measured], read: Callable[[Measured], Found]) -> str:
    """Mean over forget sets with Student's 95 % interval; a failed run is stated, never left out.

    Args:
        models: One row's, of all forget sets and seeds.
        read: One score of a model.
    """
    sets: dict[int, list[Found]] = {}
    for one in models:
        sets.setdefault(one.draw, []).append(read(one))
    found = summary(list(sets.values()))
    if found.value is None:
        return found.reason
    return f"{found.value:.2f}" + (
        " [{:.2f}, {:.2f}]".format(*found.interval) if found.interval else ""
    )


def about(grid: Sequence[Point], axes: Axes, results: Results) -> str:
    """What was measured, in sentences."""
    spec = grid[0].spec
    data = open_run(spec)
    cohort, sets = data.cohort, data.partition
    summary, counts = CohortSummary.of(cohort), sets.counts()
    labels = np.bincount(
        cohort.label[sets.validation][cohort.label[sets.validation] >= 0],
        minlength=len(cohort.classes),
    )
    by_class = ", ".join(
        f"{count} {name}" for name, count in zip(cohort.classes, labels, strict=True)
    )
    forgotten = "; ".join(
        f"{percent:g} %: "
        + ", ".join(f"{images} images of {patients} patients" for patients, images in found)
        for percent, found in results.forgotten.items()
    )
    trained = counts["forget"]["images"] + counts["retain"]["images"]
    seeds = ", ".join(map(str, axes.training_seeds))
    return (
        f"{summary.images} images of {summary.patients} patients, {trained} images trained on at "
        f"{spec.images.size} pixels for {spec.training.epochs} epochs, {counts['holdout']['images']} held out; "
        f"{counts['validation']['images']} validation images ({by_class}). Forgotten, {forgotten}. Training seeds "
        f"{seeds}; {spec.retrains} retrained models a forget set and seed. In brackets 95 % intervals, over forget "
        f"sets where there are several, else over patients."
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, help="page to write the table into, between its marks")
    own, options = parser.parse_known_args(argv)
    axes, store, grid = asked_for(options, prog="ours_real.py")
    results = collect(store, grid)
    made = [
        outcome for model in cells(grid) if (outcome := store.outcome(model.digest)) is not None
    ]
    spent = duration(sum(outcome.cost.cpu_seconds for outcome in made))
    text = [
        f"`{command('ours_real', argv)}`, after `forgetmi benchmark` with the same options",
        "",
        f"{about(grid, axes, results)} {len(made)} models took {spent} of processor time on {machine(store)}.",
    ]
    for percent in axes.percents:
        text += [
            "",
            f"**{percent:g} %**",
            "",
            *rows(
                ["", *COLUMNS],
                (
                    [
                        NAMES.get(row, row.replace(":", ": ")),
                        *(
                            cell(
                                [one for group in results.measured(row, percent) for one in group],
                                read,
                            )
                            for read in COLUMNS.values()
                        ),
                    ]
                    for row in ("original", FLOOR, *(setting.name for setting in axes.settings))
                ),
            ),
        ]
    put(own.into, {"real": "\n".join(text)})


if __name__ == "__main__":
    main()
