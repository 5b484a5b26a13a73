"""The parts of the engineer's page that show the audit: figures with the sentence each is read with, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup

from forgetmi.audit.delta import DeltaEstimate
from forgetmi.audit.result import Audit
from forgetmi.audit.rows import AttackMissing, AttackRow, PatientRow, RelearnCurve
from forgetmi.core.arrays import Floats
from forgetmi.report import attack_figures, figures, verdict_text
from forgetmi.report.attack_figures import Curve, ForestRow, Person, Relearned
from forgetmi.report.score_text import brief, many, plain
from forgetmi.report.verdict_text import CHANNELS, SHORT

PEOPLE_SHOWN = 40
GROUPS_SHOWN = 40
COMPARABLE = "for comparison with published tables"
DIRECTIONS = {
    "higher": "higher = more remembered",
    "lower": "lower = more remembered",
    "apart": "how unlike retraining, either way",
}
_BOTH = ("forgotten", "never seen")


def _kind(model: str) -> str:
    return "retrain" if model.startswith("retrain") else model


def deltas(audit: Audit) -> dict[str, Any] | None:
    """Differences to retraining by channel, before and after, with the margin."""
    judged = [(one.channel, one.deltas) for one in audit.verdict.channels if one.deltas is not None]
    if not judged:
        return None
    rows = [
        figures.DotRow(SHORT[channel], _mark(one.original), _mark(one.unlearned), ())
        for channel, one in judged
    ]
    edge = 1.08 * max(
        audit.declared.rule.margin * 2,
        *(
            abs(end)
            for _, one in judged
            for estimate in (one.original, one.unlearned)
            for end in (estimate.low, estimate.high)
        ),
    )
    inside = sum(
        -audit.declared.rule.margin < one.unlearned.low
        and one.unlearned.high < audit.declared.rule.margin
        for _, one in judged
    )
    seen = (
        f"The new model’s whole interval lies within the margin on {inside} of {many(len(judged), 'channel')}; the "
        f"original’s is above 0 on {sum(one.original.low > 0 for _, one in judged)}."
    )
    picture = figures.dot_panel(
        "deltas",
        "Difference to retraining, by channel",
        rows,
        span=(-edge, edge),
        axis="S(model) − mean S(retrained)",
        margin=audit.declared.rule.margin,
    )
    return {"picture": Markup(picture), "seen": seen}


def _mark(one: DeltaEstimate) -> figures.Mark:
    return figures.Mark(one.value, (one.low, one.high))


def roc_figures(audit: Audit) -> list[dict[str, Any]]:
    """For each attack with scores a panel a channel, forget draws pooled by percentile."""
    with_scores = [row for row in audit.attacks if all(group in row.scores for group in _BOTH)]
    found = []
    for name, rows in _grouped(with_scores, lambda row: row.name).items():
        pictures, seen = [], []
        for channel, of in _grouped(rows, lambda row: row.channel).items():
            curves = [
                Curve(_kind(model), *_pooled(its))
                for model, its in _grouped(of, lambda row: row.model).items()
            ]
            if any(curve.kind == "unlearned" for curve in curves):
                pictures.append(
                    Markup(
                        attack_figures.roc_panel(f"roc-{name}-{channel}", SHORT[channel], curves)
                    )
                )
                seen.append(f"{SHORT[channel].lower()} {_found(curves)}")
        if pictures:
            found.append({"title": rows[0].title, "pictures": pictures, "seen": "; ".join(seen)})
    return found


def _pooled(rows: Sequence[AttackRow]) -> tuple[Floats, Floats]:
    """Scores of one draw as they are; of several as percentiles among each draw's own never-seen patients."""
    pairs = [tuple(np.asarray(row.scores[group], float) for group in _BOTH) for row in rows]
    if len(pairs) == 1:
        return pairs[0][0], pairs[0][1]
    ranked = [
        [
            ((side[:, None] > unseen).mean(1) + (side[:, None] >= unseen).mean(1)) / 2
            for side in (asked, unseen)
        ]
        for asked, unseen in pairs
    ]
    return np.concatenate([asked for asked, _ in ranked]), np.concatenate(
        [unseen for _, unseen in ranked]
    )


def _found(curves: Sequence[Curve]) -> str:
    """What is found without any false alarm, by kind of model."""
    parts = []
    for kind, name in (
        ("original", "the original"),
        ("unlearned", "the new model"),
        ("retrain", "retrained models"),
    ):
        rates = [
            float((curve.members > curve.never_seen.max()).mean())
            for curve in curves
            if curve.kind == kind
        ]
        if rates:
            low, high = (plain(100 * rate, 0) for rate in (min(rates), max(rates)))
            parts.append(f"{low if low == high else f'{low} to {high}'} % with {name}")
    return ", ".join(parts)


def strips(audit: Audit) -> list[dict[str, Any]]:
    """Per forget draw: each patient's score before the distribution of never-seen patients."""
    found = []
    for at, draw in enumerate(audit.draws):
        unseen = np.concatenate(
            [
                np.empty(0),
                *(
                    np.asarray(one.scores)
                    for one in audit.never_seen
                    if one.draw == at and one.channel == "any"
                ),
            ]
        )
        everyone = [one for one in audit.patients if one.draw == at and "any" in one.channels]
        if not everyone or not len(unseen):
            continue
        people = sorted(everyone, key=lambda one: -one.channels["any"].score)
        if len(people) > PEOPLE_SHOWN:
            people = [*people[: PEOPLE_SHOWN // 2], *people[-PEOPLE_SHOWN // 2 :]]
        marks = [
            Person(
                verdict_text.short(one.patient),
                one.channels["any"].score,
                _person(one),
                f"{one.channels['any'].percentile:.0f} %",
            )
            for one in people
        ]
        out = [one for one in everyone if one.remembered or one.over_forgotten]
        low, high = np.quantile(unseen, [0.025, 0.975])
        inside = sum(low <= one.channels["any"].score <= high for one in everyone)
        seen = (
            f"{inside} of {many(len(everyone), 'withdrawn patient')} lie where 95 % of {len(unseen)} never-seen "
            f"patients lie; {_out(out)} after correction."
        )
        if len(people) < len(everyone):
            seen += f" Drawn: the {PEOPLE_SHOWN} furthest up and down."
        heading = f"Each withdrawn patient{f', {brief(draw.name)}' if len(audit.draws) > 1 else ''}"
        found.append(
            {
                "picture": Markup(
                    attack_figures.strip_panel(f"people-{at}", heading, marks, never_seen=unseen)
                ),
                "seen": seen,
            }
        )
    return found


def _out(some: Sequence[PatientRow]) -> str:
    return (
        f"{verdict_text.named(some)} {'stands' if len(some) == 1 else 'stand'} out"
        if some
        else "none stands out"
    )


def _person(one: PatientRow) -> str:
    return "remembered" if one.remembered else "over" if one.over_forgotten else ""


def subgroup_forest(audit: Audit) -> dict[str, Any] | None:
    """How well withdrawn patients are told from never-seen ones within each subgroup."""
    if not audit.subgroups:
        return None
    shown = audit.subgroups[:GROUPS_SHOWN]
    rows = []
    for column, values in groupby(shown, key=lambda one: one.column):
        rows.append(ForestRow(brief(column.replace("_", " "), 30)))
        rows += [
            ForestRow(
                f"{brief(one.value or 'unknown', 18)} ({one.forgotten} | {one.never_seen})",
                one.auc,
                one.interval,
                "" if one.auc is not None else brief(one.note, 40),
            )
            for one in values
        ]
    said = [one for one in audit.subgroups if one.interval is not None]
    apart = sum(not one.interval[0] <= 0.5 <= one.interval[1] for one in said if one.interval)
    few = len(audit.subgroups) - len([one for one in audit.subgroups if one.auc is not None])
    seen = (
        f"The interval excludes 0.5 in {apart} of {many(len(said), 'subgroup')} with an interval (about one in "
        f"twenty does by chance); in {few} there are too few patients to say."
    )
    if len(shown) < len(audit.subgroups):
        seen += f" Drawn: the first {GROUPS_SHOWN}."
    picture = attack_figures.forest_panel(
        "subgroups",
        "Recognised, by subgroup",
        rows,
        neutral=0.5,
        span=(0, 1),
        axis="AUC (withdrawn | never seen)",
    )
    return {"picture": Markup(picture), "seen": seen}


def harm_forest(audit: Audit) -> dict[str, Any] | None:
    """What never-seen patients lose against retraining: everyone, then subgroups."""
    if not audit.harm:
        return None
    shown, rows = audit.harm[:GROUPS_SHOWN], []
    heads = len({one.head for one in audit.harm if one.column}) > 1
    for column, values in groupby(shown, key=lambda one: one.column):
        rows.append(ForestRow(brief(column.replace("_", " "), 30) or "everyone (AUC)"))
        for one in values:
            head = SHORT[one.head].lower()
            name = (
                f"{brief(one.value or 'unknown', 18)}{', ' + head if heads else ''}"
                if column
                else head
            )
            rows.append(
                ForestRow(
                    f"{name} ({one.patients})",
                    one.difference,
                    one.interval,
                    "" if one.difference is not None else one.outcome,
                )
            )
    ends = [abs(end) for one in shown for end in (one.interval or (one.difference or 0,))]
    edge = 1.08 * max(2 * audit.declared.subgroup_margin, *ends)
    picture = attack_figures.forest_panel(
        "harm",
        "Served worse or better",
        rows,
        neutral=0,
        span=(-edge, edge),
        axis="new model − retrained models",
        margin=-audit.declared.subgroup_margin,
    )
    seen = f"Of {many(len(audit.harm), 'row')}: {verdict_text.harm_sentence(audit.harm)}."
    if len(shown) < len(audit.harm):
        seen += f" Drawn: the first {GROUPS_SHOWN}."
    return {"picture": Markup(picture), "seen": seen}


def relearn_figures(audit: Audit) -> list[dict[str, Any]]:
    """Per forget draw and head: the loss of patients taught again."""
    found = []
    for (draw, head), curves in _grouped(
        audit.relearning, lambda one: (one.draw, one.head)
    ).items():
        name = {"image": "radiograph", "text": "report", "both": "both together"}.get(head, head)
        where = f", {brief(audit.draws[draw].name)}" if len(audit.draws) > 1 else ""
        picture = attack_figures.relearn_panel(
            f"relearn-{draw}-{head}",
            f"Taught again: {name}{where}",
            [Relearned(_kind(one.model), np.array(one.taught)) for one in curves],
            threshold=curves[0].taught_threshold,
        )
        found.append({"picture": Markup(picture), "seen": f"{name}{where}: {_epochs(curves)}"})
    return found


def _epochs(curves: Sequence[RelearnCurve]) -> str:
    def time(some: Sequence[RelearnCurve]) -> str:
        said = sorted(
            {f"{'not within ' if one.censored else ''}{many(one.epochs, 'epoch')}" for one in some}
        )
        return " or ".join(said)

    own = [one for one in curves if one.model == "unlearned"]
    others = [one for one in curves if one.model.startswith("retrain")]
    return "; ".join(
        f"{name} {time(some)}"
        for name, some in (("the new model", own), ("retrained models", others))
        if some
    )


@dataclass(frozen=True)
class AttackLine:
    """An attack on the new model through one channel, with the original's value beside it."""

    row: AttackRow
    original: AttackRow | None
    draw: str

    @property
    def retrained(self) -> tuple[float, float, float] | None:
        """Mean, lowest and highest of the retrained models."""
        values = self.row.retrained
        return (float(np.mean(values)), min(values), max(values)) if values else None


@dataclass(frozen=True)
class AttackGroup:
    """All lines of one attack."""

    first: AttackRow
    lines: tuple[AttackLine, ...]

    @property
    def comparable(self) -> bool:
        """Whether it is there for comparison with published tables only."""
        return COMPARABLE in self.first.note


def attack_groups(audit: Audit) -> list[AttackGroup]:
    """Every attack on the new model; those for comparison with published tables last."""
    originals = {
        (row.draw, row.name, row.channel): row for row in audit.attacks if row.model == "original"
    }
    own = [row for row in audit.attacks if row.model == "unlearned"]
    several = len(audit.draws) > 1
    groups = [
        AttackGroup(
            rows[0],
            tuple(
                AttackLine(
                    row,
                    originals.get((row.draw, row.name, row.channel)),
                    audit.draws[row.draw].name if several else "",
                )
                for row in rows
            ),
        )
        for rows in _grouped(own, lambda row: row.name).values()
    ]
    return sorted(groups, key=lambda group: group.comparable)


def missing_lines(missing: Sequence[AttackMissing]) -> list[tuple[str, str, str]]:
    """Title, channels and reason of what was not made, one line for each attack and reason."""
    grouped = _grouped(missing, lambda one: (one.title, one.reason))
    return [
        (
            title,
            ", ".join(dict.fromkeys(CHANNELS.get(one.channel, "") for one in rows if one.channel)),
            reason,
        )
        for (title, reason), rows in grouped.items()
    ]


def remarks(row: AttackRow) -> str:
    """The note, the rates at fixed false alarms, and what else the attack gives."""
    found = dict(row.details)
    said = [row.note.replace(COMPARABLE, "").strip(" ;")] if row.note else []
    for name, words in (
        ("no_false_positive", "without a false alarm"),
        ("10_percent_fpr", "at 10 % false alarms"),
    ):
        rate, low, high = (found.pop(f"tpr_at_{name}{end}", None) for end in ("", "_low", "_high"))
        if rate is not None:
            interval = (
                f" ({_percent(low)} to {_percent(high)})"
                if low is not None and high is not None
                else ""
            )
            said.append(f"finds {_percent(rate)} %{interval} {words}")
    said += [
        f"{name.replace('_', ' ')} {plain(value, 3)}"
        for name, value in found.items()
        if name not in ("leakage", "smallest_fpr") and not name.startswith("auc_")
    ]
    return "; ".join(filter(None, said))


def _percent(share: float) -> str:
    return plain(100 * share, 0)


def _grouped(rows: Iterable[Any], key: Any) -> Mapping[Any, list[Any]]:
    """Rows by key, in the order of first appearance."""
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def numbers(counts: Mapping[str, int]) -> Iterator[str]:
    """Group sizes in words."""
    return (
        f"{number:,} {name.replace('forgotten', 'withdrawn')}" for name, number in counts.items()
    )
