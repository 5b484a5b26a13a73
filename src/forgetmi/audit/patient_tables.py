"""The audit's tables of people: the forgotten one by one, in subgroups; who is served worse, who is exposed more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import cast

import numpy as np

from forgetmi.audit.harm import MetricDifference, accuracy_difference, utility_difference
from forgetmi.audit.retained import rise
from forgetmi.audit.rows import (
    Harm,
    HarmRow,
    NeverSeen,
    PatientRow,
    PatientScore,
    RetainedRisk,
    RetainedRow,
    Seen,
)
from forgetmi.audit.rule import AuditSpec
from forgetmi.audit.subgroups import SubgroupRow, patient_values, study_bands, subgroup_table
from forgetmi.core.arrays import Floats, Ints, Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import Channel
from forgetmi.evaluation.membership import membership_auc
from forgetmi.evaluation.patients import PatientScores, by_patient, score_patients
from forgetmi.evaluation.signals import HEADS
from forgetmi.evaluation.statistics import once

LEAST = 10  # patients below which nothing is said of a subgroup
KnowledgeByChannel = Mapping[Channel, AdversaryKnowledge]  # the same evidence through each channel


@dataclass(frozen=True, eq=False)
class Scored:
    """Forgotten patients and the never-seen ones they are compared with, through one channel or "any".

    Args:
        forgotten, never_seen: Int[f], Int[m], patient codes.
        found: Their scores, in that order.
    """

    forgotten: Ints
    never_seen: Ints
    found: PatientScores


def score_draw(knowledge_by_channel: KnowledgeByChannel, *, level: float) -> dict[Seen, Scored]:
    """Score the forgotten patients of one forget set through every channel, and by the channel that tells most.

    "any" is the largest of a patient's standardised scores, standardised again on never-seen patients, for whom the
    same largest score is taken: one test a patient, whatever the channels have in common.

    Args:
        knowledge_by_channel: One forget set.
        level: See `forgetmi.evaluation.patients.score_patients`.

    Returns:
        Empty where no channel can be measured.
    """
    scored: dict[Seen, Scored] = {}
    studies: dict[int, int] = {}
    for channel, knowledge in knowledge_by_channel.items():
        try:
            asked, others = (
                knowledge.patients("forget"),
                [knowledge.patients(on) for on in knowledge.never_seen],
            )
            signal = np.stack(
                [
                    np.concatenate(
                        [knowledge.signal(model, on) for on in ("forget", *knowledge.never_seen)]
                    )
                    for model in (knowledge.audited, *knowledge.retrained)
                ]
            )
            counts = np.concatenate([side.studies for side in (asked, *others)])
            found = score_patients(
                unlearned=signal[0],
                retrained=signal[1:],
                studies=counts,
                level=level,
                forgotten=np.arange(signal.shape[1]) < len(asked),
            )
        except EvaluationError:
            continue  # the verdict says which channels cannot be measured, and why
        code = np.concatenate([side.code for side in (asked, *others)])
        scored[channel] = Scored(code[: len(asked)], code[len(asked) :], found)
        studies |= dict(zip(code.tolist(), counts.tolist(), strict=True))
    if scored:
        scored["any"] = _any(list(scored.values()), studies, level=level)
    return scored


def _any(channels: Sequence[Scored], studies: Mapping[int, int], *, level: float) -> Scored:
    forgotten = reduce(np.intersect1d, [one.forgotten for one in channels])
    others = reduce(np.intersect1d, [one.never_seen for one in channels])

    def largest(side: str, codes_of: Ints) -> Floats:
        return np.max(
            [
                _at(
                    getattr(one, side),
                    getattr(one.found, "forgotten" if side == "forgotten" else side),
                    codes_of,
                )
                for one in channels
            ],
            axis=0,
        )

    largest_score = np.concatenate([largest("forgotten", forgotten), largest("never_seen", others)])
    code = np.concatenate([forgotten, others])
    return Scored(
        forgotten,
        others,
        score_patients(
            unlearned=largest_score,
            retrained=np.zeros((1, len(code))),
            level=level,
            studies=np.array([studies[int(one)] for one in code]),
            forgotten=np.arange(len(code)) < len(forgotten),
        ),
    )


def _at(code: Ints, values: Floats, wanted: Ints) -> Floats:
    """Values of the wanted patient codes."""
    order = np.argsort(code)
    return values[order[np.searchsorted(code[order], wanted)]]


def standing_out(scored: Mapping[Seen, Scored], *, level: float) -> tuple[set[int], set[int]]:
    """Codes of the patients who are remembered, and of those forgotten too visibly, after correction for all."""
    if "any" not in scored:
        return set(), set()
    code, found = scored["any"].forgotten, scored["any"].found
    return (
        set(code[found.remembered_adjusted <= level].tolist()),
        set(code[found.over_forgotten_adjusted <= level].tolist()),
    )


def patient_rows(
    scored: Mapping[Seen, Scored],
    *,
    knowledge: AdversaryKnowledge,
    cohort: Cohort,
    draw: int,
    near_duplicate: bool,
    level: float,
) -> list[PatientRow]:
    """One row per forgotten patient of some evidence, the most remembered first."""
    names = codes(cohort.patient)[1]
    rows = knowledge.partition.forget
    people = by_patient(
        knowledge.partition.patient[rows], codes(cohort.study[rows])[0], cohort.label[rows]
    )
    remembered, over_forgotten = standing_out(scored, level=level)
    table = []
    for at, code in enumerate(people.code.tolist()):
        found: dict[str, PatientScore] = {}
        for channel, one in scored.items():
            place = np.flatnonzero(one.forgotten == code)
            if len(place):
                found[channel] = _patient_score(one.found, int(place[0]))
        table.append(
            PatientRow(
                patient=str(names[code]),
                draw=draw,
                studies=int(people.studies[at]),
                images=int(people.images[at]),
                near_duplicate=near_duplicate,
                remembered=code in remembered,
                over_forgotten=code in over_forgotten,
                channels=found,
            )
        )
    return sorted(
        table, key=lambda row: -row.channels["any"].score if "any" in row.channels else np.inf
    )


def _patient_score(found: PatientScores, at: int) -> PatientScore:
    return PatientScore(
        score=float(found.forgotten[at]),
        percentile=float(found.percentile[at]),
        p=float(found.remembered[at]),
        p_adjusted=float(found.remembered_adjusted[at]),
        p_over=float(found.over_forgotten[at]),
        p_over_adjusted=float(found.over_forgotten_adjusted[at]),
        compared=int(found.compared[at]),
    )


def background(scored: Mapping[Seen, Scored], draw: int) -> list[NeverSeen]:
    """The never-seen patients' scores through each channel."""
    return [
        NeverSeen(draw, channel, tuple(round(float(score), 6) for score in one.found.never_seen))
        for channel, one in scored.items()
    ]


def subgroup_rows(
    draws: Sequence[tuple[AdversaryKnowledge, Mapping[Seen, Scored]]],
    *,
    cohort: Cohort,
    seed: int,
    resamples: int,
) -> tuple[SubgroupRow, ...]:
    """AUC by subgroup of the score on "any"; a never-seen patient's score is the mean over the forget sets."""
    found = [(knowledge, scored["any"]) for knowledge, scored in draws if "any" in scored]
    if not found:
        return ()
    others = reduce(np.intersect1d, [one.never_seen for _, one in found])
    mean = np.mean([_at(one.never_seen, one.found.never_seen, others) for _, one in found], axis=0)
    asked = np.concatenate([one.forgotten for _, one in found])
    patient = found[0][0].partition.patient
    columns: dict[str, tuple[Strings, Strings]] = {}
    for name, values in _columns(cohort, patient).items():
        columns[name] = values[asked], values[others]
    return subgroup_table(
        forgotten=np.concatenate([one.found.forgotten for _, one in found]),
        never_seen=mean,
        columns=columns,
        seed=seed,
        least=LEAST,
        resamples=resamples,
    )


def _columns(cohort: Cohort, patient: Ints) -> dict[str, Strings]:
    """Name to the value of each patient code: the cohort's subgroups, the most frequent label, and the study count."""
    people = by_patient(patient, codes(cohort.study)[0], cohort.label)
    label = np.array(["", *cohort.classes], dtype=object)[people.label + 1]
    own = {name: patient_values(values, patient) for name, values in cohort.subgroups.items()}
    return {**own, "label": label.astype(str), "studies": study_bands(people.studies)}


def harm_rows(
    knowledge: AdversaryKnowledge, *, cohort: Cohort, declared: AuditSpec, draw: int, seed: int
) -> list[HarmRow]:
    """Utility on all held-out patients head by head, then accuracy (both heads together) by subgroup of them."""
    rows = knowledge.partition.holdout[cohort.label[knowledge.partition.holdout] >= 0]
    patient, models = knowledge.partition.patient[rows], (knowledge.audited, *knowledge.retrained)
    unlearned, *retrained = (one.select(rows) for one in models)

    def row(
        column: str,
        value: str,
        head: str,
        metric: str,
        patients: int,
        margin: float,
        found: MetricDifference | None,
        why: str,
        tests: int = 1,
    ) -> HarmRow:
        if found is None:
            outcome = cast(Harm, why)
            return HarmRow(
                draw, column, value, head, metric, patients, None, None, None, None, margin, outcome
            )
        return HarmRow(
            draw,
            column,
            value,
            head,
            metric,
            patients,
            found.unlearned,
            found.retrained,
            found.value,
            found.interval,
            margin,
            found.outcome(margin, tests=tests),
        )

    table = []
    options = {"seed": seed, "resamples": declared.rule.resamples}
    for head in HEADS:
        try:
            found = utility_difference(unlearned, retrained, patient=patient, head=head, **options)
        except EvaluationError:
            found = None
        table.append(
            row(
                "",
                "",
                head,
                "auc",
                len(np.unique(patient)),
                declared.utility_margin,
                found,
                "not resolvable",
            )
        )
    groups = [
        (column, str(value), np.flatnonzero(values[patient] == value))
        for column, values in _columns(cohort, knowledge.partition.patient).items()
        for value in np.unique(values[patient])
    ]
    large = sum(len(np.unique(patient[at])) >= LEAST for _, _, at in groups)
    for column, value, at in groups:
        count, found = len(np.unique(patient[at])), None
        if count >= LEAST:
            try:
                found = accuracy_difference(
                    _take(unlearned, at),
                    [_take(one, at) for one in retrained],
                    patient=patient[at],
                    head="both",
                    **options,
                )
            except EvaluationError:
                found = None
        table.append(
            row(
                column,
                value,
                "both",
                "accuracy",
                count,
                declared.subgroup_margin,
                found,
                "not resolvable" if count >= LEAST else "too few to say",
                large,
            )
        )
    return table


def _take(signals: Signals, at: Ints) -> Signals:
    return signals.select(signals.row[at])


def retained_risk(
    knowledge_by_channel: KnowledgeByChannel, *, cohort: Cohort, draw: int, level: float
) -> RetainedRisk | None:
    """Retained patients' exposure after unlearning, against retraining; None where it cannot be told."""
    names = codes(cohort.patient)[1]
    kept: list[tuple[Channel, Floats, Floats]] = []
    people: Ints | None = None
    for channel, knowledge in knowledge_by_channel.items():
        models = (knowledge.audited, *knowledge.retrained)
        try:
            sides = [
                np.stack([knowledge.signal(model, on) for model in models])
                for on in ("retain", "holdout")
            ]
        except (
            EvaluationError,
            KeyError,
        ):  # undefined on this channel; signals without the retained rows
            continue
        own = knowledge.patients("retain").code
        if people is not None and len(people) != len(own):
            continue  # patients without a label are on the link alone
        people = own
        kept.append((channel, sides[0], sides[1]))
    if people is None:
        return None
    auc = {
        channel: [_auc(inside[m], outside[m]) for m in range(len(inside))]
        for channel, inside, outside in kept
    }
    retain, never = (
        np.stack([inside for _, inside, _ in kept]),
        np.stack([out.mean(1) for _, _, out in kept]),
    )
    try:
        found = rise(
            unlearned=retain[:, 0],
            retrained=retain[:, 1:],
            never_unlearned=never[:, 0],
            never_retrained=never[:, 1:],
        )
    except EvaluationError:
        return None
    flagged = sorted(np.flatnonzero(found.p_adjusted <= level), key=lambda at: -found.score[at])
    risen = tuple(
        RetainedRow(
            draw,
            str(names[people[at]]),
            kept[int(found.channel[at])][0],
            float(found.score[at]),
            float(found.p_adjusted[at]),
        )
        for at in flagged
    )
    return RetainedRisk(
        draw,
        len(people),
        found.smallest_p,
        {name: values[0] for name, values in auc.items()},
        {name: float(np.mean(values[1:])) for name, values in auc.items()},
        risen,
    )


def _auc(inside: Floats, outside: Floats) -> float:
    return float(membership_auc(inside, outside, once(len(inside) + len(outside)))[0])


def through(
    knowledge: AdversaryKnowledge, channels: Sequence[Channel]
) -> dict[Channel, AdversaryKnowledge]:
    """The same evidence through each channel."""
    return {channel: replace(knowledge, channel=cast(Channel, channel)) for channel in channels}
