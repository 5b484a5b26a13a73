"""The parts of the report that show the evaluation: figures, each with the sentence it is read with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.labels import known
from forgetmi.core.model_names import is_retrained
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.gaps import headline_measures, main_head
from forgetmi.evaluation.signals import Head, predictions
from forgetmi.evaluation.tasks import measures_of
from forgetmi.report import figure_text, figures, loss_figure, readings, trade_off_figure
from forgetmi.report.readings import Reading
from forgetmi.report.terms import head_name, set_name, term

# Tiles of the summary box: measure, set, heading, ends of the strip (None = from 0 to the largest value)
Tile = tuple[str, str, str, tuple[float, float] | None]


def _tiles(evaluation: Evaluation) -> tuple[Tile, ...]:
    """Of quality by the first measure of the gap, of membership by its last."""
    measures = headline_measures(evaluation)
    quality, membership = measures[0][0], measures[-1][0]
    spans = {"auc": (0.3, 1.02), "recall_at_1": (-0.02, 1.02)}
    flagged = "Withdrawn images flagged as members"
    if membership != "sample_mia":
        flagged = f"{term(membership)} on withdrawn patients"
    return (
        (quality, "forget", f"{term(quality)} on withdrawn patients", spans.get(quality)),
        (membership, "forget", flagged, (-0.02, 1.02)),
        (quality, "test", f"{term(quality)} on never-seen patients", spans.get(quality)),
        ("gap", "", "Gap to retraining", None),
    )


def tiles(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The key numbers of the summary box, each with a strip that places it between original and retrained."""
    shown = []
    head = main_head(evaluation)
    for name, on, heading, span in _tiles(evaluation):
        for reading in readings.read(evaluation, (name,), on=(on,), heads=(head,)):
            row = _row(reading, heading)

            # A gap has no natural end: its axis ends at the largest value
            lowest = min(0.0, _smallest(row) * 1.15)
            strip = figures.strip(
                f"strip-{name}-{on}", row, span=span or (lowest, _largest(row) * 1.15)
            )
            shown.append(
                {
                    "label": heading,
                    "reading": reading,
                    "strip": Markup(strip),
                    "digits": 3 if name == "gap" else 2,
                }
            )
    return shown


def dots(
    name: str, heading: str, shown: Sequence[Reading], *, never_seen: Sequence[Reading] = ()
) -> Markup | None:
    """The dots of one panel, None where nothing was measured.

    Args:
        name, heading: Of the panel.
        shown: From top to bottom.
        never_seen: Flag rates of never-seen patients, the targets of the membership rows.
    """
    # Flag rates of never-seen patients, by head
    targets = {}
    for reading in never_seen:
        if isinstance(reading.unlearned, Score):
            targets[reading.head] = reading.unlearned.value

    rows = []
    for reading in shown:
        if not reading.retrains and not isinstance(reading.unlearned, Score):
            continue

        # The set is named where it is not the withdrawn patients
        label = reading.label
        if reading.on != "forget":
            label += f", {set_name(reading.on).split()[0]}"

        target = targets.get(reading.head) if reading.name == "sample_mia" else None
        rows.append(_row(reading, label, target))

    if not rows:
        return None
    return Markup(figures.dot_panel(name, heading, rows, span=_span(rows)))


def named_dots(name: str, heading: str, shown: Sequence[tuple[str, Reading]]) -> Markup | None:
    """The dots of a panel whose rows have names of their own; None where nothing was measured.

    Args:
        name, heading: Of the panel.
        shown: Names and readings, from top to bottom.
    """
    rows = []
    for label, reading in shown:
        if reading.retrains or isinstance(reading.unlearned, Score):
            rows.append(_row(reading, label))
    if not rows:
        return None
    return Markup(figures.dot_panel(name, heading, rows, span=_span(rows)))


def trade_off(evaluation: Evaluation) -> dict[str, Any] | None:
    """Use for never-seen patients against distance to retraining, and against use for the withdrawn, first head."""
    quality = headline_measures(evaluation)[0][0]
    by_gap = _points(evaluation, "gap", "")
    by_use = _points(evaluation, quality, "forget")
    model = {point.kind: point for point in by_gap}
    if "original" not in model or "unlearned" not in model:
        return None

    # Distance to the retrained models
    pictures = [
        trade_off_figure.trade_off_panel(
            "trade-off",
            "Distance to retraining against use",
            by_gap,
            x_label="gap to the retrained models",
            y_label=f"{term(quality)} on never-seen patients",
        )
    ]

    # Use for the withdrawn patients
    if {"original", "unlearned"} <= {point.kind for point in by_use}:
        pictures.append(
            trade_off_figure.trade_off_panel(
                "trade-off-forget",
                "Withdrawn against never-seen",
                by_use,
                x_label=f"{term(quality)} on withdrawn patients",
                y_label=f"{term(quality)} on never-seen patients",
                distance=False,
            )
        )

    original, unlearned = model["original"], model["unlearned"]
    seen = figure_text.trade_off(
        original.x.value,
        unlearned.x.value,
        [point.x.value for point in by_gap if point.kind == "retrain"],
        unlearned.y.value - original.y.value,
        term(quality),
    )
    return {
        "head": head_name(main_head(evaluation)),
        "pictures": [Markup(picture) for picture in pictures],
        "seen": seen,
    }


def loss_figures(
    signals: Mapping[str, Signals], partition: Partition, task: str
) -> list[dict[str, Any]]:
    """Per head: the panels original, unlearned, retrained, and what they show."""
    # All retrained models together
    groups: dict[str, list[Signals]] = {}
    for model, of_model in signals.items():
        kind = "retrained" if is_retrained(model) else model
        groups.setdefault(kind, []).append(of_model)

    # From left to right
    shown = {}
    for kind in ("original", "unlearned", "retrained"):
        if kind in groups:
            shown[kind] = groups[kind]
    if not shown:
        return []

    # Each head that every model has
    heads = next(iter(shown.values()))[0].logits
    measures = measures_of(task)
    return [_loss_figure(head, shown, partition, measures) for head in heads]


@dataclass(frozen=True, eq=False)
class _LossPair:
    """Losses of withdrawn and of never-seen patients' images under one kind of model."""

    withdrawn: Floats
    never_seen: Floats

    @property
    def share(self) -> float:
        """Median loss of the withdrawn as a share of the never-seen patients'."""
        never_seen = max(np.median(self.never_seen), loss_figure.LOWEST_LOSS)
        return float(np.median(self.withdrawn) / never_seen)


def _loss_figure(
    head: Head,
    groups: Mapping[str, Sequence[Signals]],
    partition: Partition,
    task: TaskMeasures,
) -> dict[str, Any]:
    # Losses of both groups of patients under each kind of model
    pairs: dict[str, _LossPair] = {}
    for kind, models in groups.items():
        pair = _LossPair(
            withdrawn=_losses(models, partition.forget, head, task),
            never_seen=_losses(models, partition.holdout, head, task),
        )
        if len(pair.withdrawn) and len(pair.never_seen):
            pairs[kind] = pair

    if not pairs:
        return {"head": head_name(head), "panels": [], "seen": figure_text.NO_LOSS}

    # One axis for all panels
    losses = []
    for pair in pairs.values():
        losses += [pair.withdrawn, pair.never_seen]
    span = loss_figure.loss_span(losses)
    top = max(loss_figure.loss_shares(values, span).max() for values in losses)

    # One panel per kind of model
    panels = []
    count = {kind: len(groups[kind]) for kind in pairs}
    for kind, pair in pairs.items():
        models = f" ({count[kind]} models)" if count[kind] > 1 else ""
        panels.append(
            Markup(
                loss_figure.loss_panel(
                    f"loss-{head}-{kind}",
                    f"{kind.capitalize()}{models}",
                    withdrawn=pair.withdrawn,
                    never_seen=pair.never_seen,
                    span=span,
                    top=float(top),
                )
            )
        )

    seen = figure_text.losses({kind: pair.share for kind, pair in pairs.items()}, count)
    return {"head": head_name(head), "panels": panels, "seen": seen}


def _losses(models: Sequence[Signals], rows: Ints, head: Head, task: TaskMeasures) -> Floats:
    """Losses of several models on some rows, one after another."""
    return np.concatenate([_loss(model, rows, head, task) for model in models])


def _loss(signals: Signals, rows: Ints, head: Head, task: TaskMeasures) -> Floats:
    """The task's loss of the labelled images among some rows; images whose logits are not finite are left out."""
    selected = signals.select(rows)
    logits = selected.of_head(head)

    # A model that diverged has no loss
    finite = np.isfinite(logits).all(1)
    usable = selected.row[known(selected.label) & finite & selected.there(head)]
    if not len(usable):
        return np.empty(0)

    selected = selected.select(usable)
    return task.loss(predictions(selected, head, task), selected.label)


def _points(evaluation: Evaluation, name: str, on: str) -> list[trade_off_figure.ModelPoint]:
    """Each model by a measure of the first head, and how well that head does on never-seen patients."""
    head, quality = main_head(evaluation), headline_measures(evaluation)[0][0]
    points = []
    for model in evaluation.scores:
        kind = "retrain" if is_retrained(model) else model
        if kind not in ("original", "unlearned", "retrain"):
            continue

        try:
            x = evaluation.get(model, name, head=head, on=on)
            y = evaluation.get(model, quality, head=head, on="test")
        except KeyError:
            continue
        if not isinstance(x, Score) or not isinstance(y, Score):
            continue

        # A gap's interval would hide the points
        interval = x.interval if name == quality else None
        points.append(
            trade_off_figure.ModelPoint(
                kind=kind,
                label="" if kind == "retrain" else kind.capitalize(),
                x=figures.Mark(x.value, interval),
                y=figures.Mark(y.value, y.interval),
            )
        )
    return points


def _row(reading: Reading, label: str, target: float | None = None) -> figures.DotRow:
    return figures.DotRow(
        label=label,
        original=_mark(reading.original),
        unlearned=_mark(reading.unlearned),
        retrains=tuple(figures.Mark(score.value, score.interval) for score in reading.retrains),
        target=target,
    )


def _mark(score: Score | Failed | None) -> figures.Mark | None:
    if not isinstance(score, Score):
        return None
    return figures.Mark(score.value, score.interval)


def _largest(row: figures.DotRow) -> float:
    """The largest value of a row; 1 where there is none."""
    return max(_values(row), default=1)


def _smallest(row: figures.DotRow) -> float:
    """The smallest value of a row; 0 where there is none."""
    return min(_values(row), default=0)


def _values(row: figures.DotRow) -> list[float]:
    """All values of a row."""
    marks = (row.original, row.unlearned, *row.retrains)
    return [mark.value for mark in marks if mark is not None]


def _span(rows: Sequence[figures.DotRow]) -> tuple[float, float]:
    """From 0 to 1, as most measures are; further where one is not, such as an explained variance."""
    values = [value for row in rows for value in _values(row)]
    return min(0.0, *values), max(1.0, *values)
