"""The benchmark's figures as SVG text: gap against use, and losses of forgotten and never-seen patients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from forgetmi.benchmark.grid import Cell, Point
from forgetmi.benchmark.measured import Found, Measured
from forgetmi.benchmark.measured_heads import columns_of_results
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.settings import Setting
from forgetmi.benchmark.store import Store
from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.labels import known
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.signals import Signals
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.evaluation.signals import predictions
from forgetmi.evaluation.tasks import measures_of_labels
from forgetmi.report import figures, loss_figure, trade_off_figure
from forgetmi.report.table_columns import heading
from forgetmi.run.run_data import open_run

Panels = dict[str, str]


def trade_off(results: Results, settings: Sequence[Setting], percent: float) -> str:
    """Gap to retraining against quality on never-seen patients (of classes the AUC), one point a method.

    Empty where nothing was measured.
    """
    # The first measure of quality of the table
    name, test = next((name, on) for _, name, on in columns_of_results(results) if on == "test")
    quality = partial(_quality, name=name, on=test)

    # The two references, then the methods
    rows = [(ORIGINAL, "original", "Original"), (FLOOR, "retrain", "Retrain")]
    rows += [(setting.name, "unlearned", setting.label) for setting in settings]

    points = []
    for row, kind, label in rows:
        gap = results.cell(row, percent, _gap)
        auc = results.cell(row, percent, quality)
        if gap.value is None or auc.value is None:
            continue

        # The gap is drawn without an interval
        x = figures.Mark(gap.value)
        y = figures.Mark(auc.value, auc.interval)
        points.append(trade_off_figure.ModelPoint(kind, label, x, y))

    if not points:
        return ""
    return trade_off_figure.trade_off_panel(
        f"trade-off-{percent:g}",
        "",
        points,
        x_label="gap to the retrained models",
        y_label=f"{heading(name)} on never-seen patients",
    )


def _gap(model: Measured) -> Found:
    """Gap to the retrained models; of these themselves their floor."""
    return model.floor(model.head) if model.row == FLOOR else model.score("gap", model.head, "")


def _quality(model: Measured, *, name: str, on: str) -> Found:
    return model.score(name, model.head, on)


def loss_panels(store: Store, point: Point, settings: Sequence[Setting]) -> Panels:
    """Loss distributions of the forgotten and the never seen, one panel a model, on one pair of axes."""
    partition = open_run(point.spec).partition

    # Losses of every model that has some on both sides.
    losses: dict[str, tuple[str, Floats, Floats]] = {}
    for name, label, cells in _models(point, settings):
        signals = [store.signals(cell.digest) for cell in cells if store.finished(cell.digest)]
        forgotten = _all_losses(signals, partition.forget)
        never_seen = _all_losses(signals, partition.holdout)
        if len(forgotten) and len(never_seen):
            losses[name] = label, forgotten, never_seen
    if not losses:
        return {}

    # One span and one height for all panels.
    every = []
    for _, forgotten, never_seen in losses.values():
        every += [forgotten, never_seen]
    span = loss_figure.loss_span(every)
    top = max(float(loss_figure.loss_shares(side, span).max()) for side in every)

    panels = {}
    for name, (label, forgotten, never_seen) in losses.items():
        panels[name] = loss_figure.loss_panel(
            f"loss-{point.spec.partition.percent:g}-{name}",
            label,
            withdrawn=forgotten,
            never_seen=never_seen,
            span=span,
            top=top,
        )
    return panels


def _models(point: Point, settings: Sequence[Setting]) -> list[tuple[str, str, Sequence[Cell]]]:
    """Name, label and cells of each panel: original, retrained models, the first model of each method."""
    # Only the methods that the figures show
    labels = {setting.name: setting.label for setting in settings}
    models: list[tuple[str, str, Sequence[Cell]]] = [
        ("original", "Original", [point.original]),
        ("retrain", "Retrain", point.retrains),
    ]
    for row, cells in point.unlearned.items():
        if row in labels:
            models.append((row.replace(":", "-"), labels[row], cells[:1]))
    return models


def _all_losses(signals: Sequence[Signals], rows: Ints) -> Floats:
    """Losses of several models on some rows, one after another."""
    if not signals:
        return np.empty(0)
    return np.concatenate([_losses(model, rows) for model in signals])


def _losses(signals: Signals, rows: Ints) -> Floats:
    """The loss of the labelled images among some rows (first head), where the logits are finite."""
    chosen = signals.select(rows)
    if not chosen.logits:
        return np.empty(0)
    head, logits = next(iter(chosen.logits.items()))

    # Images without a label, or without what the head reads, have no loss
    usable = known(chosen.label) & np.isfinite(logits).all(1) & chosen.there(head)
    chosen = chosen.select(chosen.row[usable])
    if not len(chosen):
        return np.empty(0)
    task = measures_of_labels(chosen.label)
    return task.loss(predictions(chosen, head, task), chosen.label)
