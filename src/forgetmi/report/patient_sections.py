"""The parts of the engineer's page about people: each withdrawn patient, subgroups, and who is served worse."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup

from forgetmi.audit.result import Audit
from forgetmi.audit.rows import HarmRow, PatientRow
from forgetmi.audit.subgroups import SubgroupRow
from forgetmi.core.arrays import Floats
from forgetmi.report import figure_text, forest_figure, patient_figure, verdict_text
from forgetmi.report.channel_words import head_word
from forgetmi.report.forest_figure import ForestRow
from forgetmi.report.number_text import brief
from forgetmi.report.patient_figure import PatientMark
from forgetmi.report.svg import ROOM
from forgetmi.report.terms import term

PATIENTS_SHOWN = 40
GROUPS_SHOWN = 40


def strips(audit: Audit) -> list[dict[str, Any]]:
    """Per forget draw: each patient's score before the distribution of never-seen patients."""
    shown = []
    for index, draw in enumerate(audit.draws):
        never_seen = _never_seen_scores(audit, index)
        patients = _scored_patients(audit, index)
        if not patients or not len(never_seen):
            continue

        # The most remembered first; the furthest up and down where there are too many
        drawn = sorted(patients, key=lambda patient: -patient.channels["any"].score)
        if len(drawn) > PATIENTS_SHOWN:
            half = PATIENTS_SHOWN // 2
            drawn = [*drawn[:half], *drawn[-half:]]

        heading = "Each withdrawn patient"
        if len(audit.draws) > 1:
            heading += f", {brief(draw.name)}"
        picture = patient_figure.strip_panel(
            f"people-{index}",
            heading,
            [_patient_mark(patient) for patient in drawn],
            never_seen=never_seen,
        )

        seen = _seen_in_strip(patients, never_seen)
        if len(drawn) < len(patients):
            seen += figure_text.furthest(PATIENTS_SHOWN)
        shown.append({"picture": Markup(picture), "seen": seen})
    return shown


def subgroup_forest(audit: Audit) -> dict[str, Any] | None:
    """How well withdrawn patients are told from never-seen ones within each subgroup."""
    if not audit.subgroups:
        return None

    # One heading a column, one row a value
    shown = audit.subgroups[:GROUPS_SHOWN]
    rows = []
    for column, subgroups in groupby(shown, key=lambda subgroup: subgroup.column):
        rows.append(ForestRow(_column_heading(column)))
        rows += [_subgroup_row(subgroup) for subgroup in subgroups]

    picture = forest_figure.forest_panel(
        "subgroups",
        "Recognised, by subgroup",
        rows,
        neutral=0.5,
        span=(0, 1),
        axis="AUC (withdrawn | never seen)",
    )

    seen = _seen_in_subgroups(audit.subgroups)
    if len(shown) < len(audit.subgroups):
        seen += figure_text.first_of(GROUPS_SHOWN)
    return {"picture": Markup(picture), "seen": seen}


def harm_forest(audit: Audit) -> dict[str, Any] | None:
    """What never-seen patients lose against retraining: everyone, then subgroups."""
    if not audit.harm:
        return None
    shown = audit.harm[:GROUPS_SHOWN]
    margin = audit.declared.subgroup_margin

    # Subgroups name their head only where there are several
    heads = {row.head for row in audit.harm if row.column}
    rows = []
    for column, grouped in groupby(shown, key=lambda row: row.column):
        of_column = list(grouped)
        rows.append(ForestRow(_column_heading(column) or f"everyone ({term(of_column[0].metric)})"))
        rows += [_harm_row(row, name_head=len(heads) > 1) for row in of_column]

    # The axis holds twice the margin and every interval
    ends = [2 * margin]
    for row in shown:
        ends += [abs(end) for end in row.interval or (row.difference or 0,)]
    edge = ROOM * max(ends)

    picture = forest_figure.forest_panel(
        "harm",
        "Served worse or better",
        rows,
        neutral=0,
        span=(-edge, edge),
        axis="new model − retrained models",
        margin=-margin,
    )

    seen = figure_text.harm(len(audit.harm), verdict_text.harm_sentence(audit.harm))
    if len(shown) < len(audit.harm):
        seen += figure_text.first_of(GROUPS_SHOWN)
    return {"picture": Markup(picture), "seen": seen}


# Patients


def _never_seen_scores(audit: Audit, draw: int) -> Floats:
    """Scores of one draw's never-seen patients on "any"."""
    scores = [np.empty(0)]
    for row in audit.never_seen:
        if row.draw == draw and row.channel == "any":
            scores.append(np.asarray(row.scores))
    return np.concatenate(scores)


def _scored_patients(audit: Audit, draw: int) -> list[PatientRow]:
    """One draw's patients with a score on "any"."""
    return [row for row in audit.patients if row.draw == draw and "any" in row.channels]


def _patient_mark(patient: PatientRow) -> PatientMark:
    # After correction for the number of patients
    mark = ""
    if patient.remembered:
        mark = "remembered"
    elif patient.over_forgotten:
        mark = "over"

    score = patient.channels["any"]
    return PatientMark(
        label=verdict_text.short(patient.patient),
        score=score.score,
        mark=mark,
        note=f"{score.percentile:.0f} %",
    )


def _seen_in_strip(patients: Sequence[PatientRow], never_seen: Floats) -> str:
    # Where the middle 95 % of never-seen patients lie
    low, high = np.quantile(never_seen, [0.025, 0.975])
    inside = sum(low <= patient.channels["any"].score <= high for patient in patients)
    outstanding = [patient for patient in patients if patient.remembered or patient.over_forgotten]
    return figure_text.patients(
        inside=inside,
        withdrawn=len(patients),
        never_seen=len(never_seen),
        outstanding=outstanding,
    )


# Subgroups and harm


def _column_heading(column: str) -> str:
    return brief(column.replace("_", " "), 30)


def _value(value: str) -> str:
    return brief(value or "unknown", 18)


def _subgroup_row(subgroup: SubgroupRow) -> ForestRow:
    note = "" if subgroup.auc is not None else brief(subgroup.note, 40)
    return ForestRow(
        label=f"{_value(subgroup.value)} ({subgroup.forgotten} | {subgroup.never_seen})",
        value=subgroup.auc,
        interval=subgroup.interval,
        note=note,
    )


def _seen_in_subgroups(subgroups: Sequence[SubgroupRow]) -> str:
    excluding = with_interval = too_few = 0
    for subgroup in subgroups:
        too_few += subgroup.auc is None
        if subgroup.interval is not None:
            low, high = subgroup.interval
            with_interval += 1
            excluding += not low <= 0.5 <= high

    return figure_text.subgroups(excluding=excluding, with_interval=with_interval, too_few=too_few)


def _harm_row(row: HarmRow, *, name_head: bool) -> ForestRow:
    # All patients are named by head, subgroups by value
    head = head_word(row.head)
    name = head
    if row.column:
        name = _value(row.value)
        if name_head:
            name += f", {head}"

    note = "" if row.difference is not None else row.outcome
    return ForestRow(f"{name} ({row.patients})", row.difference, row.interval, note)
