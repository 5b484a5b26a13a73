"""The parts of the report that show the evaluation: figures, each with the sentence it is read with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.model_names import is_retrained
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import Head, cross_entropy, log_probabilities
from forgetmi.report import figure_text, figures, loss_figure, readings, trade_off_figure
from forgetmi.report.readings import Reading
from forgetmi.report.terms import HEADS, set_name

# Tiles of the summary box: measure, set, heading, ends of the strip (None = from 0 to the largest value)
TILES = (
    ("auc", "forget", "AUC on withdrawn patients", (0.3, 1.02)),
    ("sample_mia", "forget", "Withdrawn images flagged as members", (-0.02, 1.02)),
    ("auc", "test", "AUC on never-seen patients", (0.3, 1.02)),
    ("gap", "", "Gap to retraining", None),
)


def tiles(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The key numbers of the summary box, each with a strip that places it between original and retrained."""
    shown = []
    for name, on, heading, span in TILES:
        for reading in readings.read(evaluation, (name,), on=(on,), heads=("image",)):
            row = _row(reading, heading)

            # A gap has no natural end: its axis ends at the largest value
            strip = figures.strip(f"strip-{name}-{on}", row, span=span or (0, _largest(row) * 1.15))
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
    return Markup(figures.dot_panel(name, heading, rows, span=(0, 1)))


def trade_off(evaluation: Evaluation) -> dict[str, Any] | None:
    """Use for never-seen patients against distance to retraining, and against use for the withdrawn, image head."""
    by_gap = _points(evaluation, "gap", "")
    by_use = _points(evaluation, "auc", "forget")
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
            y_label="AUC on never-seen patients",
        )
    ]

    # Use for the withdrawn patients
    if {"original", "unlearned"} <= {point.kind for point in by_use}:
        pictures.append(
            trade_off_figure.trade_off_panel(
                "trade-off-forget",
                "Withdrawn against never-seen",
                by_use,
                x_label="AUC on withdrawn patients",
                y_label="AUC on never-seen patients",
                distance=False,
            )
        )

    original, unlearned = model["original"], model["unlearned"]
    seen = figure_text.trade_off(
        original.x.value,
        unlearned.x.value,
        [point.x.value for point in by_gap if point.kind == "retrain"],
        unlearned.y.value - original.y.value,
    )
    return {"pictures": [Markup(picture) for picture in pictures], "seen": seen}


def loss_figures(signals: Mapping[str, Signals], partition: Partition) -> list[dict[str, Any]]:
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

    heads: tuple[Head, ...] = ("image", "text")
    return [_loss_figure(head, shown, partition) for head in heads]


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
    head: Head, groups: Mapping[str, Sequence[Signals]], partition: Partition
) -> dict[str, Any]:
    # Losses of both groups of patients under each kind of model
    pairs: dict[str, _LossPair] = {}
    for kind, models in groups.items():
        pair = _LossPair(
            withdrawn=np.concatenate([_loss(model, partition.forget, head) for model in models]),
            never_seen=np.concatenate([_loss(model, partition.holdout, head) for model in models]),
        )
        if len(pair.withdrawn) and len(pair.never_seen):
            pairs[kind] = pair

    if not pairs:
        return {"head": HEADS[head], "panels": [], "seen": figure_text.NO_LOSS}

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
    return {"head": HEADS[head], "panels": panels, "seen": seen}


def _loss(signals: Signals, rows: Ints, head: Head) -> Floats:
    """Cross-entropy of the labelled images among some rows; images whose logits are not finite are left out."""
    selected = signals.select(rows)
    logits = selected.image_logits if head == "image" else selected.text_logits

    # A model that diverged has no loss
    finite = np.isfinite(logits).all(1)
    usable = selected.row[(selected.label >= 0) & finite]
    if not len(usable):
        return np.empty(0)

    selected = selected.select(usable)
    return cross_entropy(log_probabilities(selected, head), selected.label)


def _points(evaluation: Evaluation, name: str, on: str) -> list[trade_off_figure.ModelPoint]:
    """Each model by a measure of the image head, and its AUC on never-seen patients."""
    points = []
    for model in evaluation.scores:
        kind = "retrain" if is_retrained(model) else model
        if kind not in ("original", "unlearned", "retrain"):
            continue

        try:
            x = evaluation.get(model, name, head="image", on=on)
            y = evaluation.get(model, "auc", head="image", on="test")
        except KeyError:
            continue
        if not isinstance(x, Score) or not isinstance(y, Score):
            continue

        # A gap's interval would hide the points
        interval = x.interval if name == "auc" else None
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
    # All values of the row
    values = []
    for mark in (row.original, row.unlearned, *row.retrains):
        if mark is not None:
            values.append(mark.value)
    return max(values, default=1)
