"""The audit's tables of forgotten patients: one by one, next to never-seen ones, and in subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from forgetmi.audit.patient_scores import Scored, standing_out, values_of
from forgetmi.audit.rows import NeverSeen, PatientRow, PatientScore, ScoredChannel
from forgetmi.audit.subgroups import SubgroupRow, patient_values, study_bands, subgroup_table
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.patients import PatientScores, by_patient
from forgetmi.evaluation.tasks import measures_of

LEAST = 10  # patients below which nothing is said of a subgroup


def patient_rows(
    scored: Mapping[ScoredChannel, Scored],
    *,
    knowledge: AdversaryKnowledge,
    cohort: Cohort,
    draw: int,
    near_duplicate: bool,
    level: float,
) -> list[PatientRow]:
    """One row per forgotten patient of some evidence, the most remembered first.

    Args:
        scored: Their scores by channel.
        knowledge: The evidence they come from.
        cohort: For the digests of the patients.
        draw: Which forget set.
        near_duplicate: Whether these are the patients with a copy under a retained one.
        level: Share of wrongly named patients among those named.
    """
    names = codes(cohort.patient)[1]
    rows = knowledge.partition.forget
    patients = by_patient(
        knowledge.partition.patient[rows],
        codes(cohort.study[rows])[0],
        knowledge.measures.groups(cohort.label)[rows],
    )

    # Codes of those who stand out
    remembered, over_forgotten = standing_out(scored, level=level)

    # One row per patient
    table = []
    for index, code in enumerate(patients.code.tolist()):
        table.append(
            PatientRow(
                patient=str(names[code]),
                draw=draw,
                studies=int(patients.studies[index]),
                images=int(patients.images[index]),
                near_duplicate=near_duplicate,
                remembered=code in remembered,
                over_forgotten=code in over_forgotten,
                channels=_scores_of(code, scored),
            )
        )
    return sorted(table, key=_least_remembered_last)


def never_seen_rows(scored: Mapping[ScoredChannel, Scored], draw: int) -> list[NeverSeen]:
    """The never-seen patients' scores through each channel."""
    rows = []
    for channel, result in scored.items():
        scores = [round(float(score), 6) for score in result.scores.never_seen]
        rows.append(NeverSeen(draw, channel, tuple(scores)))
    return rows


def subgroup_rows(
    draws: Sequence[tuple[AdversaryKnowledge, Mapping[ScoredChannel, Scored]]],
    *,
    cohort: Cohort,
    seed: int,
    resamples: int,
) -> tuple[SubgroupRow, ...]:
    """AUC by subgroup of the score on "any"; a never-seen patient's score is the mean over the forget sets.

    Args:
        draws: Evidence and scores of each forget set.
        cohort: With the subgroup columns.
        seed: Root seed of the resamples.
        resamples: Bootstrap resamples.
    """
    scored = [by_channel["any"] for _, by_channel in draws if "any" in by_channel]
    if not scored:
        return ()

    # Never-seen patients whom every draw scores, and their mean score
    never_seen = reduce(np.intersect1d, [draw.never_seen for draw in scored])
    scores = [values_of(draw.never_seen, draw.scores.never_seen, never_seen) for draw in scored]
    mean = np.mean(scores, axis=0)

    forgotten = np.concatenate([draw.forgotten for draw in scored])

    # All draws are of one cohort and share its patient codes
    patient = draws[0][0].partition.patient
    columns: dict[str, tuple[Strings, Strings]] = {}
    for name, values in subgroup_columns(cohort, patient).items():
        columns[name] = values[forgotten], values[never_seen]

    return subgroup_table(
        forgotten=np.concatenate([draw.scores.forgotten for draw in scored]),
        never_seen=mean,
        columns=columns,
        seed=seed,
        least=LEAST,
        resamples=resamples,
    )


def subgroup_columns(cohort: Cohort, patient: Ints) -> dict[str, Strings]:
    """Name to the value of each patient code: the cohort's subgroups, the most frequent label, and the study count."""
    columns = {name: patient_values(values, patient) for name, values in cohort.subgroups.items()}

    # The most frequent label; class -1 = unknown becomes ""
    task = measures_of(cohort.task)
    patients = by_patient(patient, codes(cohort.study)[0], task.groups(cohort.label))
    class_or_unknown = np.array(["", *task.group_names(cohort.classes)], dtype=object)
    columns["label"] = class_or_unknown[patients.label + 1].astype(str)
    columns["studies"] = study_bands(patients.studies)
    return columns


def _scores_of(code: int, scored: Mapping[ScoredChannel, Scored]) -> dict[str, PatientScore]:
    """One patient's score through each channel that has one."""
    channels: dict[str, PatientScore] = {}
    for channel, result in scored.items():
        # A patient without a label is scored on the link alone
        positions = np.flatnonzero(result.forgotten == code)
        if len(positions):
            channels[channel] = _patient_score(result.scores, int(positions[0]))
    return channels


def _patient_score(scores: PatientScores, index: int) -> PatientScore:
    return PatientScore(
        score=float(scores.forgotten[index]),
        percentile=float(scores.percentile[index]),
        p=float(scores.remembered[index]),
        p_adjusted=float(scores.remembered_adjusted[index]),
        p_over=float(scores.over_forgotten[index]),
        p_over_adjusted=float(scores.over_forgotten_adjusted[index]),
        compared=int(scores.compared[index]),
    )


def _least_remembered_last(row: PatientRow) -> float:
    """Sort key: high scores first, patients without a score last."""
    if "any" not in row.channels:
        return np.inf
    return -row.channels["any"].score
