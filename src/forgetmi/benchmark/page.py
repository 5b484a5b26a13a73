"""The benchmark as files: every table in four formats, the figures, and one page that holds them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from forgetmi.benchmark.grid import Point, Setting
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.store import Store
from forgetmi.benchmark.tables import FORMATS, Titled, long_csv
from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.files import write_text
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.signals import Signals
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.evaluation.signals import cross_entropy, log_probabilities
from forgetmi.report import figures, loss_figure, trade_off_figure
from forgetmi.run.run_data import open_run

Panels = dict[str, str]


def write_all(
    store: Store,
    results: Results,
    tables: Sequence[Titled],
    grid: Sequence[Point],
    settings: Sequence[Setting],
    *,
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
        settings: Rows that the figures show.
        cohort, lead, foot: Words of the page.
    """
    for one in tables:
        for ending, form in FORMATS.items():
            write_text(store.root / "tables" / f"{one.name}.{ending}", str(form(one.table)))
    write_text(store.root / "results.csv", long_csv(results))
    trade_offs = {percent: trade_off(results, settings, percent) for percent in results.forgotten}
    first = {point.spec.partition.percent: point for point in reversed(grid)}
    losses = {
        percent: loss_panels(store, first[percent], settings) for percent in results.forgotten
    }
    for percent, picture in trade_offs.items():
        if picture:
            _write_svg(store.root / "figures" / f"trade-off-{percent:g}.svg", picture)
    for percent, panels in losses.items():
        for name, picture in panels.items():
            _write_svg(store.root / "figures" / f"loss-{percent:g}-{name}.svg", picture)
    wide = (
        len(settings) + 2 > trade_off_figure.MOST_LABELS
    )  # the original and Retrain have labels, too
    write_text(
        store.root / "benchmark.html",
        _page(
            cohort=cohort,
            lead=lead,
            foot=foot,
            tables=tables,
            to_html=FORMATS["html"],
            trade_offs=[
                {"percent": f"{percent:g}", "picture": Markup(picture), "wide": wide}
                for percent, picture in trade_offs.items()
                if picture
            ],
            losses=[
                {
                    "percent": f"{percent:g}",
                    "panels": [Markup(picture) for picture in panels.values()],
                }
                for percent, panels in losses.items()
                if panels
            ],
        ),
    )


def trade_off(results: Results, settings: Sequence[Setting], percent: float) -> str:
    """Gap to retraining against AUC on never-seen patients, one point a method; empty where nothing was measured."""

    def point(row: str, kind: str, label: str) -> trade_off_figure.ModelPoint | None:
        x, y = (
            results.cell(row, percent, read)
            for read in (
                lambda one: one.floor("image") if row == FLOOR else one.score("gap", "image", ""),
                lambda one: one.score("auc", "image", "test"),
            )
        )
        if x.value is None or y.value is None:
            return None
        return trade_off_figure.ModelPoint(
            kind, label, figures.Mark(x.value), figures.Mark(y.value, y.interval)
        )

    points = [
        point(ORIGINAL, "original", "Original"),
        point(FLOOR, "retrain", "Retrain"),
        *(point(one.name, "unlearned", one.label) for one in settings),
    ]
    found = [one for one in points if one is not None]
    return (
        trade_off_figure.trade_off_panel(
            f"trade-off-{percent:g}",
            "",
            found,
            x_label="gap to the retrained models",
            y_label="AUC on never-seen patients",
        )
        if found
        else ""
    )


def loss_panels(store: Store, point: Point, settings: Sequence[Setting]) -> Panels:
    """Loss distributions of the forgotten and the never seen, one panel a model, on one pair of axes."""
    labels = {one.name: one.label for one in settings}
    models = [
        ("original", "Original", [point.original]),
        ("retrain", "Retrain", list(point.retrains)),
        *(
            (row.replace(":", "-"), labels[row], list(cells[:1]))
            for row, cells in point.unlearned.items()
            if row in labels
        ),
    ]
    partition = open_run(point.spec).partition
    pairs: dict[str, tuple[str, Floats, Floats]] = {}
    for name, label, cells in models:
        signals = [store.signals(cell.digest) for cell in cells if store.finished(cell.digest)]
        pair = [
            np.concatenate([_losses(one, rows) for one in signals] or [np.empty(0)])
            for rows in (partition.forget, partition.holdout)
        ]
        if len(pair[0]) and len(pair[1]):
            pairs[name] = label, pair[0], pair[1]
    if not pairs:
        return {}
    span = loss_figure.loss_span([losses for _, *pair in pairs.values() for losses in pair])
    top = max(
        float(loss_figure.loss_shares(losses, span).max())
        for _, *pair in pairs.values()
        for losses in pair
    )
    return {
        name: loss_figure.loss_panel(
            f"loss-{point.spec.partition.percent:g}-{name}",
            label,
            withdrawn=lost,
            unseen=unseen,
            span=span,
            top=top,
        )
        for name, (label, lost, unseen) in pairs.items()
    }


def _losses(signals: Signals, rows: Ints) -> Floats:
    """Cross-entropy of the labelled images among some rows (image head), where the logits are finite."""
    found = signals.select(rows)
    found = found.select(found.row[(found.label >= 0) & np.isfinite(found.image_logits).all(1)])
    return (
        cross_entropy(log_probabilities(found, "image"), found.label) if len(found) else np.empty(0)
    )


def _write_svg(path: Path, picture: str) -> None:
    """A picture of a page as a file of its own."""
    write_text(path, picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def _page(**facts: object) -> str:
    loader = jinja2.PackageLoader("forgetmi", "bench/templates")
    return (
        jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        .get_template("benchmark.html.jinja")
        .render(**facts)
    )
