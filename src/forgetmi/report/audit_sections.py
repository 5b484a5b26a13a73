"""The parts of the engineer's page about models: differences to retraining, attacks, and relearning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from forgetmi.audit.delta import DeltaEstimate
from forgetmi.audit.result import Audit
from forgetmi.audit.rows import AttackRow, RelearnCurve
from forgetmi.core.arrays import Floats
from forgetmi.report import (
    figure_text,
    figures,
    relearn_figure,
    roc_figure,
)
from forgetmi.report.channel_words import head_word, short_channel
from forgetmi.report.number_text import brief
from forgetmi.report.relearn_figure import Relearned
from forgetmi.report.roc_figure import Curve
from forgetmi.report.svg import ROOM


def deltas(audit: Audit) -> dict[str, Any] | None:
    """Differences to retraining by channel, before and after, with the margin."""
    margin = audit.declared.rule.margin

    rows = []
    ends = [margin * 2]
    inside = remembered = 0
    for channel in audit.verdict.channels:
        if channel.deltas is None:
            continue
        original, unlearned = channel.deltas.original, channel.deltas.unlearned
        rows.append(
            figures.DotRow(short_channel(channel.channel), _mark(original), _mark(unlearned), ())
        )

        # What the axis must hold
        for estimate in (original, unlearned):
            ends += [abs(estimate.low), abs(estimate.high)]

        # What the sentence counts
        inside += -margin < unlearned.low and unlearned.high < margin
        remembered += original.low > 0

    if not rows:
        return None
    edge = ROOM * max(ends)
    picture = figures.dot_panel(
        "deltas",
        "Difference to retraining, by channel",
        rows,
        span=(-edge, edge),
        axis="S(model) − mean S(retrained)",
        margin=margin,
    )
    seen = figure_text.deltas(inside, remembered, len(rows))
    return {"picture": Markup(picture), "seen": seen}


def roc_figures(audit: Audit) -> list[dict[str, Any]]:
    """For each attack with scores a panel a channel, forget draws pooled by percentile."""
    # Attack to channel to model to its rows
    attacks: dict[str, dict[str, dict[str, list[AttackRow]]]] = {}
    for row in audit.attacks:
        if "forgotten" in row.scores and "never seen" in row.scores:
            channels = attacks.setdefault(row.name, {})
            channels.setdefault(row.channel, {}).setdefault(row.model, []).append(row)

    # One figure per attack, one panel per channel
    shown = []
    for name, channels in attacks.items():
        pictures, seen = [], []
        title = ""
        for channel, models in channels.items():
            title = title or next(iter(models.values()))[0].title
            curves = [_curve(model, rows) for model, rows in models.items()]
            if not any(curve.kind == "unlearned" for curve in curves):
                continue

            # Its picture and the rates that it is read with
            picture = roc_figure.roc_panel(f"roc-{name}-{channel}", short_channel(channel), curves)
            pictures.append(Markup(picture))
            rates = figure_text.without_false_alarm(_without_false_alarm(curves))
            seen.append(f"{short_channel(channel).lower()} {rates}")

        if pictures:
            shown.append({"title": title, "pictures": pictures, "seen": "; ".join(seen)})
    return shown


def relearn_figures(audit: Audit) -> list[dict[str, Any]]:
    """Per forget draw and head: the loss of patients taught again."""
    groups: dict[tuple[int, str], list[RelearnCurve]] = {}
    for curve in audit.relearning:
        groups.setdefault((curve.draw, curve.head), []).append(curve)

    shown = []
    for (draw, head), curves in groups.items():
        name = head_word(head)
        if len(audit.draws) > 1:
            name += f", {brief(audit.draws[draw].name)}"

        # The threshold is the original's, hence the same for all curves
        picture = relearn_figure.relearn_panel(
            f"relearn-{draw}-{head}",
            f"Taught again: {name}",
            [Relearned(_kind(curve.model), np.array(curve.taught)) for curve in curves],
            threshold=curves[0].taught_threshold,
        )
        seen = f"{name}: {figure_text.relearning(curves)}"
        shown.append({"picture": Markup(picture), "seen": seen})
    return shown


def _kind(model: str) -> str:
    return "retrain" if model.startswith("retrain") else model


def _mark(estimate: DeltaEstimate) -> figures.Mark:
    return figures.Mark(estimate.value, (estimate.low, estimate.high))


# ROC curves


def _curve(model: str, rows: Sequence[AttackRow]) -> Curve:
    """Scores of one draw as they are; of several as percentiles among each draw's own never-seen patients."""
    if len(rows) == 1:
        return Curve(_kind(model), *_scores(rows[0]))

    # Scores of several draws are not on one scale, percentiles are
    members, never_seen = [], []
    for row in rows:
        of_members, of_never_seen = _scores(row)
        members.append(_percentile(of_members, of_never_seen))
        never_seen.append(_percentile(of_never_seen, of_never_seen))
    return Curve(_kind(model), np.concatenate(members), np.concatenate(never_seen))


def _scores(row: AttackRow) -> tuple[Floats, Floats]:
    """Of the forgotten and of the never-seen patients."""
    members = np.asarray(row.scores["forgotten"], float)
    never_seen = np.asarray(row.scores["never seen"], float)
    return members, never_seen


def _percentile(scores: Floats, among: Floats) -> Floats:
    """Share of the scores in `among` that lie below; equal ones count half."""
    above = (scores[:, None] > among).mean(1)
    not_below = (scores[:, None] >= among).mean(1)
    return (above + not_below) / 2


def _without_false_alarm(curves: Sequence[Curve]) -> dict[str, list[float]]:
    """Kind of model to the share of members above every never-seen patient, of each model."""
    rates: dict[str, list[float]] = {}
    for curve in curves:
        share = float((curve.members > curve.never_seen.max()).mean())
        rates.setdefault(curve.kind, []).append(share)
    return rates
