"""Which method is near retraining at which cost: a figure and a table of the page docs/which_method.md.

    python studies/which_method.py --tables docs/results_tables.md [--page docs/which_method.md] \
        [--figure docs/images/which_method.svg]

Nothing is measured: the figures are those that the benchmark wrote into the tables. The front is made of the methods
that none other beats in both cost and distance.
"""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from forgetmi.benchmark.comparison import front
from forgetmi.core.files import write_text
from forgetmi.requests.cost_line import CostLine, fit_line
from pages import command, put, rows

PERCENTS = (3, 6, 10)

# Of the 270 patients of the embedded cohort; only the share forgotten matters to the lines
IMAGES = 720

# Rows that are no method, or are options of one that is there
LEFT_OUT = re.compile(r"^(Original|Retrain$)|\(")


@dataclass(frozen=True)
class Measured:
    """One method as the tables have it, at 10 %.

    Args:
        name: Its title.
        cost: CPU share of one retraining.
        gap: Over both heads, as a multiple of the retrained models' own.
        divergence: JSf, the mean of both heads, likewise.
        line: Its cost, as a share of a retraining, in the share forgotten.
    """

    name: str
    cost: float
    gap: float
    divergence: float
    line: CostLine


def table_after(text: str, heading: str) -> dict[str, dict[str, float | None]]:
    """The first table behind a heading: row by name, column by name; intervals are left out."""
    lines = text.split(heading, 1)[1].split("\n")
    table = [one for one in lines[: lines.index("", 2)] if one.startswith("|")]
    cells = [[cell.strip() for cell in one.strip("|").split("|")] for one in table]
    head, _, *body = cells
    found = {}
    for row in body:
        values = {name: _number(cell) for name, cell in zip(head[1:], row[1:], strict=True)}
        found[row[0]] = values
    return found


def _number(cell: str) -> float | None:
    found = re.match(r"\**(-?\d+\.?\d*)", cell)
    return None if found is None else float(found[1])


def measured(text: str) -> list[Measured]:
    """Every method of the tables whose cost and distance were measured, by cost."""
    at_ten = table_after(text, "### What the paper's columns do not show, 10 %\n")
    times = table_after(text, "## Unlearning time\n")
    floor = at_ten["Retrain"]

    found = []
    for name, row in at_ten.items():
        if LEFT_OUT.search(name) or name not in times:
            continue
        shares = [times[name][f"{percent} %: share of retraining"] for percent in PERCENTS]
        values = {one: row[one] for one in ("gap, both heads", "JSf image", "JSf text")}
        if None in shares or None in values.values():
            continue
        forgotten = [round(IMAGES * percent / 100) for percent in PERCENTS]
        line = fit_line([IMAGES] * len(PERCENTS), forgotten, _sure(shares), name=name)
        jsf = _sure([values["JSf image"], values["JSf text"]])
        of_floor = _sure([floor["JSf image"], floor["JSf text"]])
        gap, gap_floor = _sure([values["gap, both heads"], floor["gap, both heads"]])
        cost = _sure(shares)[-1]
        found.append(Measured(name, cost, gap / gap_floor, sum(jsf) / sum(of_floor), line))
    return sorted(found, key=lambda one: one.cost)


def _sure(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def on_front(methods: Sequence[Measured], distance: str) -> list[Measured]:
    """Those that none other beats in both cost and a distance, in their order."""
    places = [(one.cost, getattr(one, distance)) for one in methods]
    return [one for one, best in zip(methods, front(places), strict=True) if best]


def drawn(methods: Sequence[Measured]) -> str:
    """Two panels as SVG: gap and JSf, as multiples of the floor, against cost."""
    mpl.rcParams["svg.hashsalt"] = "which_method"
    figure = Figure(figsize=(9, 4))
    titles = {"gap": "gap over both heads / floor", "divergence": "JSf / floor"}
    for place, (distance, title) in enumerate(titles.items(), start=1):
        axes = figure.add_subplot(1, 2, place)
        best = on_front(methods, distance)
        for one in methods:
            value = getattr(one, distance)
            axes.plot(one.cost, value, "o", color="#1f5fa8" if one in best else "#aaaaaa", ms=5)
            if one in best or one.name == "Forget-MI":
                axes.annotate(
                    one.name, (one.cost, value), (4, 4), textcoords="offset points", fontsize=7
                )
        axes.plot(
            [one.cost for one in best],
            [getattr(one, distance) for one in best],
            color="#1f5fa8",
            lw=1,
        )
        axes.axhline(1.0, color="#444444", lw=0.8, ls="--")
        axes.set_xlabel("processor time / one retraining, 10 % forgotten")
        axes.set_ylabel(title)
        axes.set_ylim(bottom=0)
    figure.tight_layout()
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def lines_of(methods: Mapping[str, Measured]) -> list[str]:
    """The methods of either front and Forget-MI as a table."""
    body = []
    for one in methods.values():
        constant, each = one.line.coefficients[0], one.line.coefficients[2]
        body.append(
            [
                one.name,
                f"{constant:.2f} + {round(each * IMAGES, 1) + 0.0:.1f} rho",
                f"{one.cost:.2f}",
                f"{one.gap:.1f}",
                f"{one.divergence:.1f}",
            ]
        )
    head = ["method", "cost / retraining", "at 10 %", "gap / floor", "JSf / floor"]
    return rows(head, body)


def main() -> None:
    """Print or write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tables", type=Path, required=True, help="page with the benchmark's tables"
    )
    parser.add_argument("--page", type=Path, help="page with marks for the table")
    parser.add_argument("--figure", type=Path, help="SVG to write")
    options = parser.parse_args()

    methods = measured(options.tables.read_text(encoding="utf-8"))
    chosen = {one.name for kind in ("gap", "divergence") for one in on_front(methods, kind)}
    shown = {
        one.name: one
        for one in methods
        if one.name in chosen | {"Forget-MI", "Calibrated consensus"}
    }
    words = ["--tables", "docs/results_tables.md"]
    text = "\n".join([f"    {command('which_method', words)}", "", *lines_of(shown)])
    put(options.page, {"which-method": text})
    if options.figure is not None:
        write_text(options.figure, drawn(methods))


if __name__ == "__main__":
    main()
