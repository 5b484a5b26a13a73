"""The benchmark as files: every table in four formats, the figures, and one page that holds them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from forgetmi.benchmark.comparison_page import comparison_values, number, without_links
from forgetmi.benchmark.figures import loss_panels, trade_off
from forgetmi.benchmark.grid import Point
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.results_csv import long_csv
from forgetmi.benchmark.settings import Setting
from forgetmi.benchmark.store import Store
from forgetmi.benchmark.tables import FORMATS, Titled
from forgetmi.core.files import write_text
from forgetmi.report import trade_off_figure
from forgetmi.report.page_terms import terms_of

_WORDS = (
    "original",
    "retrained model",
    "forget set",
    "retain set",
    "holdout patients",
    "never-seen patients",
    "head",
    "gap",
    "floor",
    "JSf",
    "attack",
    "margin",
)


def write_all(
    store: Store,
    results: Results,
    tables: Sequence[Titled],
    grid: Sequence[Point],
    settings: Sequence[Setting],
    *,
    compared: Sequence[Setting],
    cohort: str,
    lead: str,
    foot: str,
) -> None:
    """Write tables, figures, results.csv and benchmark.html.

    Args:
        store: Where.
        results: What was measured.
        tables: As made from them.
        grid: All points, for the figures.
        settings: Rows that the figures of quality and losses show.
        compared: Rows that are compared by cost and closeness: all of them.
        cohort, lead, foot: Words of the page.
    """
    # Tables in every format, and all scores before any mean
    for titled in tables:
        for ending, form in FORMATS.items():
            path = store.root / "tables" / f"{titled.name}.{ending}"
            write_text(path, str(form(titled.table)))
    write_text(store.root / "results.csv", long_csv(results))

    # Figures
    trade_offs = _write_trade_offs(store, results, settings)
    losses = _write_losses(store, results, grid, settings)

    comparison = comparison_values(results, compared)
    for part in comparison["fronts"]:
        _write_svg(
            store.root / "figures" / f"front-{part['percent']}.svg", without_links(part["picture"])
        )

    # The original and Retrain have labels, too.
    wide = len(settings) + 2 > trade_off_figure.MOST_LABELS
    page = page_of(
        cohort=cohort,
        lead=lead,
        foot=foot,
        tables=tables,
        to_html=FORMATS["html"],
        trade_offs=[{**facts, "wide": wide} for facts in trade_offs],
        losses=losses,
        **comparison,
    )
    write_text(store.root / "benchmark.html", page)


def _write_trade_offs(
    store: Store, results: Results, settings: Sequence[Setting]
) -> list[dict[str, object]]:
    """Write the figures of gap against use, and return them for the page."""
    shown: list[dict[str, object]] = []
    for percent in results.forgotten:
        picture = trade_off(results, settings, percent)
        if picture:
            _write_svg(store.root / "figures" / f"trade-off-{percent:g}.svg", picture)
            shown.append({"percent": f"{percent:g}", "picture": Markup(picture)})
    return shown


def _write_losses(
    store: Store, results: Results, grid: Sequence[Point], settings: Sequence[Setting]
) -> list[dict[str, object]]:
    """Write the figures of losses of the first point of each percentage, and return them for the page."""
    # Read backwards, the first point of a percentage is the one that stays
    first = {point.spec.partition.percent: point for point in reversed(grid)}

    shown: list[dict[str, object]] = []
    for percent in results.forgotten:
        panels = loss_panels(store, first[percent], settings)
        for name, picture in panels.items():
            _write_svg(store.root / "figures" / f"loss-{percent:g}-{name}.svg", picture)

        # A percentage without losses has no row on the page
        if panels:
            pictures = [Markup(picture) for picture in panels.values()]
            shown.append({"percent": f"{percent:g}", "panels": pictures})
    return shown


def _write_svg(path: Path, picture: str) -> None:
    """A picture of a page as a file of its own."""
    write_text(path, picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def page_of(**facts: object) -> str:
    """The page: what the template names, escaped.

    Args:
        facts: Its values; none may be missing.
    """
    folders = ("benchmark/templates", "report/templates")
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader("forgetmi", folder) for folder in folders])
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(number=number, page_terms=terms_of(*_WORDS))
    return environment.get_template("benchmark.html.jinja").render(**facts)
