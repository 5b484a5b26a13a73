"""Every table of a `forgetmi benchmark` directory for a page of docs/, with what made it; no model is run.

    python studies/results_page.py --out OUT [options of that benchmark] [--tuned DIR] [--into docs/results_tables.md]

The tables are printed, or written between two marks of a page. What is not there yet is stated in its
cell. DIRECTORY is the --out of a finished `forgetmi tune`: methods that did not forget are then shown with their best
trial.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import tuned
from forgetmi.benchmark.grid import Axes
from forgetmi.benchmark.measured import Measured
from forgetmi.benchmark.results import Results, collect
from forgetmi.benchmark.settings import Setting
from forgetmi.benchmark.tables import all_tables
from forgetmi.report.table import to_markdown
from pages import put, rows, shown
from stored_grid import asked_for, made_by


def did_not_forget(
    results: Results,
    settings: Sequence[Setting],
    percent: float,
    trials: Mapping[str, tuned.Tuned],
) -> list[str]:
    """The methods that ended where the original was in some run, each with the best trial of its tuning."""
    shares = [(one, results.cell(one.name, percent, Measured.stayed).value) for one in settings]
    found = []
    for setting, share in shares:
        if share:
            best = trials.get(setting.kind)
            chosen = best.chosen if best is not None else None
            found.append(
                [
                    setting.label,
                    f"{share:.2f}",
                    "not tuned" if best is None else best.options(),
                    "-" if chosen is None else f"{chosen['score']:.3f}",
                    "-"
                    if best is None or chosen is None
                    else "no"
                    if best.found["did_not_forget"]
                    else "yes",
                ]
            )
    if not found:
        return ["Every method that was measured left the original behind."]
    return [
        "These did not forget: on each of the five measures they are within the gap's floor of the original.",
        "",
        *rows(["method", "share of runs", "best tuned trial", "its score", "it forgot"], found),
    ]


def page(results: Results, axes: Axes, trials: Mapping[str, tuned.Tuned]) -> list[str]:
    """All tables, one percentage after the other; last the time."""

    def tables(found: Results) -> list[tuple[str, str, str]]:
        return [
            (one.name, one.title, to_markdown(one.table))
            for one in all_tables(
                found, axes.settings, seeds=len(axes.training_seeds), published=False
            )
        ]

    lines = []
    for percent, forgotten in results.forgotten.items():
        own = replace(
            results,
            models=tuple(one for one in results.models if one.percent == percent),
            forgotten={percent: forgotten},
        )
        lines += [f"## {percent:g} % forgotten", ""]
        for name, title, text in tables(own):
            if name != "time":
                lines += [f"### {title}", "", text]
        lines += [*did_not_forget(own, axes.settings, percent, trials), ""]
    return [
        *lines,
        *(
            line
            for name, title, text in tables(results)
            if name == "time"
            for line in (f"## {title}", "", text)
        ),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the page's generated part, or put it there."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--tuned", type=Path, help="directory of a finished tuning")
    parser.add_argument(
        "--into", type=Path, help="page to write the tables into, between its marks"
    )
    argv = sys.argv[1:] if argv is None else argv
    own, options = parser.parse_known_args(argv)
    axes, store, grid = asked_for(options, prog="results_page.py")
    trials = {} if own.tuned is None else {one.name: one for one in tuned.read(own.tuned)[1]}
    text = "\n".join(
        [
            f"`forgetmi benchmark {shown(options)}`",
            "",
            made_by(store, axes, grid),
            "",
            *page(collect(store, grid), axes, trials),
        ]
    )
    put(own.into, {"results": text})


if __name__ == "__main__":
    main()
