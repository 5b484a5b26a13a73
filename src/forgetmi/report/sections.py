"""The parts of the report that show numbers: the figures, and the sentence each of them is read with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.model_names import is_retrained
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import Head, cross_entropy, log_probabilities
from forgetmi.report import figures, score_text
from forgetmi.report.score_text import Reading


def _mark(score: Score | Failed | None) -> figures.Mark | None:
    return figures.Mark(score.value, score.interval) if isinstance(score, Score) else None


def _row(one: Reading, target: float | None = None, label: str = "") -> figures.DotRow:
    retrains = tuple(figures.Mark(score.value, score.interval) for score in one.retrains)
    return figures.DotRow(
        label or one.label, _mark(one.original), _mark(one.unlearned), retrains, target
    )


def tiles(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The key numbers of the summary box, each with a strip that places it between original and retrained."""
    chosen = (
        ("auc", "forget", "AUC on withdrawn patients", (0.3, 1.02)),
        ("sample_mia", "forget", "Withdrawn images flagged as members", (-0.02, 1.02)),
        ("auc", "test", "AUC on never-seen patients", (0.3, 1.02)),
        ("gap", "", "Gap to retraining", None),
    )
    found = []
    for name, on, label, span in chosen:
        for one in score_text.read(evaluation, (name,), on=(on,), heads=("image",)):
            row = _row(one, label=label)
            marks = [
                mark.value
                for mark in (row.original, row.unlearned, *row.retrains)
                if mark is not None
            ]
            picture = figures.strip(
                f"strip-{name}-{on}", row, span=span or (0, max(marks, default=1) * 1.15)
            )
            digits = 3 if name == "gap" else 2
            found.append(
                {"label": label, "reading": one, "strip": Markup(picture), "digits": digits}
            )
    return found


def dots(
    name: str, heading: str, readings: Sequence[Reading], *, never_seen: Sequence[Reading] = ()
) -> Markup | None:
    """The dots of one panel, None where nothing was measured.

    Args:
        name, heading: Of the panel.
        readings: From top to bottom.
        never_seen: Flag rates of never-seen patients, the targets of the membership rows.
    """
    targets = {
        one.head: one.unlearned.value for one in never_seen if isinstance(one.unlearned, Score)
    }
    rows = []
    for one in readings:
        if one.retrains or isinstance(one.unlearned, Score):
            label = (
                one.label
                if one.on == "forget"
                else f"{one.label}, {score_text.SETS[one.on].split()[0]}"
            )
            rows.append(
                _row(one, targets.get(one.head) if one.name == "sample_mia" else None, label)
            )
    return Markup(figures.dot_panel(name, heading, rows, span=(0, 1))) if rows else None


def trade_off(evaluation: Evaluation) -> dict[str, Any] | None:
    """Use for never-seen patients against distance to retraining, and against use for the withdrawn, image head."""
    gap, asked = (_points(evaluation, *one) for one in (("gap", ""), ("auc", "forget")))
    found = {point.kind: point for point in gap}
    if not {"original", "unlearned"} <= set(found):
        return None
    old, new = found["original"], found["unlearned"]
    seen = f"The gap went from {score_text.plain(old.x.value, 3)} to {score_text.plain(new.x.value, 3)}"
    own = [point.x.value for point in gap if point.kind == "retrain"]
    if own:
        seen += f" (retrained models among themselves: {score_text.plain(min(own), 3)} to {score_text.plain(max(own), 3)})"
    seen += f", and AUC on never-seen patients changed by {score_text.signed(new.y.value - old.y.value)}."
    y_label = "AUC on never-seen patients"
    pictures = [
        figures.trade_off_panel(
            "trade-off",
            "Distance to retraining against use",
            gap,
            x_label="gap to the retrained models",
            y_label=y_label,
        )
    ]
    if {"original", "unlearned"} <= {point.kind for point in asked}:
        pictures.append(
            figures.trade_off_panel(
                "trade-off-forget",
                "Withdrawn against never-seen",
                asked,
                x_label="AUC on withdrawn patients",
                y_label=y_label,
                distance=False,
            )
        )
    return {"pictures": [Markup(picture) for picture in pictures], "seen": seen}


def _points(evaluation: Evaluation, name: str, on: str) -> list[figures.ModelPoint]:
    """Each model by a measure of the image head, and its AUC on never-seen patients."""
    points = []
    for model in evaluation.scores:
        kind = "retrain" if is_retrained(model) else model
        try:
            x, y = (
                evaluation.get(model, measure, head="image", on=where)
                for measure, where in ((name, on), ("auc", "test"))
            )
        except KeyError:
            continue
        if (
            isinstance(x, Score)
            and isinstance(y, Score)
            and kind in ("original", "unlearned", "retrain")
        ):
            label = "" if kind == "retrain" else kind.capitalize()
            mark = figures.Mark(x.value, x.interval if name == "auc" else None)
            points.append(figures.ModelPoint(kind, label, mark, figures.Mark(y.value, y.interval)))
    return points


def loss_figures(signals: Mapping[str, Signals], partition: Partition) -> list[dict[str, Any]]:
    """Per head: the panels original, unlearned, retrained, and what they show."""
    groups: dict[str, list[Signals]] = {}
    for model, found in signals.items():
        groups.setdefault("retrained" if is_retrained(model) else model, []).append(found)
    shown = [group for group in ("original", "unlearned", "retrained") if group in groups]
    heads: tuple[Head, ...] = ("image", "text")
    return [
        _loss_figure(head, {group: groups[group] for group in shown}, partition)
        for head in heads
        if shown
    ]


def _loss_figure(
    head: Head, groups: Mapping[str, list[Signals]], partition: Partition
) -> dict[str, Any]:
    pairs = {
        group: tuple(
            np.concatenate([_loss(one, partition.rows(rows), head) for one in found])
            for rows in ("forget", "holdout")
        )
        for group, found in groups.items()
    }
    pairs = {group: pair for group, pair in pairs.items() if all(map(len, pair))}
    if not pairs:
        return {
            "head": score_text.HEADS[head],
            "panels": [],
            "seen": "No loss could be computed for this head.",
        }
    span = figures.loss_span([losses for pair in pairs.values() for losses in pair])
    top = max(figures.loss_shares(losses, span).max() for pair in pairs.values() for losses in pair)
    panels, ratios = [], []
    for group, (withdrawn, unseen) in pairs.items():
        many = f" ({len(groups[group])} models)" if len(groups[group]) > 1 else ""
        panels.append(
            Markup(
                figures.loss_panel(
                    f"loss-{head}-{group}",
                    f"{group.capitalize()}{many}",
                    withdrawn=withdrawn,
                    unseen=unseen,
                    span=span,
                    top=float(top),
                )
            )
        )
        share = np.median(withdrawn) / max(np.median(unseen), figures.LOWEST_LOSS)
        ratios.append(
            f"{score_text.plain(100 * float(share), 0 if share > 0.1 else 1)} % with the {group} "
            f"{'models' if many else 'model'}"
        )
    seen = (
        "The withdrawn patients’ median loss, as a share of the never-seen patients’, is "
        + ", ".join(ratios[:-1])
        + (" and " if len(ratios) > 1 else "")
        + ratios[-1]
        + "."
    )
    return {"head": score_text.HEADS[head], "panels": panels, "seen": seen}


def _loss(signals: Signals, rows: Ints, head: Head) -> Floats:
    """Cross-entropy of the labelled images among some rows; images whose logits are not finite are left out."""
    found = signals.select(rows)
    logits = found.image_logits if head == "image" else found.text_logits
    usable = found.row[(found.label >= 0) & np.isfinite(logits).all(1)]
    found = found.select(usable)
    return (
        cross_entropy(log_probabilities(found, head), found.label) if len(usable) else np.empty(0)
    )
