"""Everything an audit computes from one forget set, before the sets are pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from forgetmi.audit.attack_rows import attack_rows
from forgetmi.audit.audited_run import AuditedRun
from forgetmi.audit.harm_rows import harm_rows
from forgetmi.audit.patient_scores import KnowledgeByChannel, Scored, score_draw, through
from forgetmi.audit.patient_tables import never_seen_rows, patient_rows
from forgetmi.audit.relearn_rows import relearn_curves
from forgetmi.audit.retained_rows import retained_risk
from forgetmi.audit.rows import (
    AttackMissing,
    AttackRow,
    DrawSummary,
    HarmRow,
    NeverSeen,
    PatientRow,
    RelearnCurve,
    RetainedRisk,
    ScoredChannel,
)
from forgetmi.audit.rule import AuditSpec
from forgetmi.audit.sets import AuditedSets, audited_sets
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.core.partition import NEVER_SEEN, Partition
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import channels_of


@dataclass(frozen=True, eq=False)
class DrawResults:
    """One forget set; everything from `knowledge_by_channel` on is about the patients whom the verdict judges.

    Args:
        summary: Its counts.
        duplicates: Near-duplicates of what was forgotten.
        patients: Every forgotten patient, those with a copy under a retained one included.
        knowledge_by_channel: Evidence through the rule's channels; empty where every patient has such a copy.
        scored: Scores by channel.
        never_seen, harm, retained, relearning, attacks, missing: As in `forgetmi.audit.result.Audit`.
    """

    summary: DrawSummary
    duplicates: tuple[NearDuplicate, ...]
    patients: tuple[PatientRow, ...]
    knowledge_by_channel: KnowledgeByChannel = field(default_factory=dict)
    scored: Mapping[ScoredChannel, Scored] = field(default_factory=dict)
    never_seen: tuple[NeverSeen, ...] = ()
    harm: tuple[HarmRow, ...] = ()
    retained: RetainedRisk | None = None
    relearning: tuple[RelearnCurve, ...] = ()
    attacks: tuple[AttackRow, ...] = ()
    missing: tuple[AttackMissing, ...] = ()

    @property
    def first_knowledge(self) -> AdversaryKnowledge:
        """The evidence through the rule's first channel."""
        return next(iter(self.knowledge_by_channel.values()))


def results_of_draw(
    index: int, run: AuditedRun, *, cohort: Cohort, declared: AuditSpec, seed: int
) -> DrawResults:
    """Audit one forget set.

    Args:
        index: Its number among those that are pooled.
        run: The run that forgot it.
        cohort: Of the run.
        declared: Rule and margins.
        seed: Root seed of resamples, folds and subsamples.
    """
    # Who is judged, and who is compared with
    names = codes(cohort.patient)[1]
    sets = audited_sets(run.partition, run.duplicates, names=names)

    # The same for both groups of forgotten patients
    def score(partition: Partition) -> _ScoredPart:
        return _score(run, partition, cohort=cohort, declared=declared, draw=index, seed=seed)

    # Patients with a copy under a retained one are listed, and take no part in the verdict
    copied = sets.with_forget(copied=True)
    patients: list[PatientRow] = []
    if copied is not None:
        patients += score(copied).patients(near_duplicate=True)

    # The others are judged
    others = sets.with_forget(copied=False)
    judged = None
    if others is not None:
        judged = score(others)
        patients += judged.patients(near_duplicate=False)

    results = DrawResults(
        summary=_summary(run, sets, patients),
        duplicates=_of_patients(run.duplicates, index),
        patients=tuple(patients),
    )

    # Where every patient has a copy there is nothing to judge
    if judged is None:
        return results

    # Others served worse, retained patients exposed, and every attack
    knowledge = judged.knowledge
    attacks, missing = attack_rows(knowledge, declared, index)
    return replace(
        results,
        knowledge_by_channel=judged.knowledge_by_channel,
        scored=judged.scored,
        never_seen=tuple(never_seen_rows(judged.scored, index)),
        harm=tuple(harm_rows(knowledge, cohort=cohort, declared=declared, draw=index, seed=seed)),
        retained=retained_risk(
            judged.knowledge_by_channel,
            cohort=cohort,
            draw=index,
            level=declared.false_discovery,
        ),
        relearning=tuple(relearn_curves(knowledge, index)),
        attacks=tuple(attacks),
        missing=tuple(missing),
    )


@dataclass(frozen=True, eq=False)
class _ScoredPart:
    """Some forgotten patients of a draw: what is known of them, and their scores."""

    knowledge: AdversaryKnowledge
    knowledge_by_channel: KnowledgeByChannel
    scored: Mapping[ScoredChannel, Scored]
    cohort: Cohort
    draw: int
    level: float

    def patients(self, *, near_duplicate: bool) -> list[PatientRow]:
        """One row a patient."""
        return patient_rows(
            self.scored,
            knowledge=self.knowledge,
            cohort=self.cohort,
            draw=self.draw,
            near_duplicate=near_duplicate,
            level=self.level,
        )


def _score(
    run: AuditedRun,
    partition: Partition,
    *,
    cohort: Cohort,
    declared: AuditSpec,
    draw: int,
    seed: int,
) -> _ScoredPart:
    # Evidence through every channel of the rule, then one score a patient and channel
    knowledge = run.knowledge(partition, seed=seed, task=cohort.task)
    channels = declared.rule.judged(channels_of(run.signals[ORIGINAL]))
    knowledge_by_channel = through(knowledge, channels)
    level = declared.false_discovery
    scored = score_draw(knowledge_by_channel, level=level)
    return _ScoredPart(knowledge, knowledge_by_channel, scored, cohort, draw, level)


def _summary(run: AuditedRun, sets: AuditedSets, patients: Sequence[PatientRow]) -> DrawSummary:
    # Distinct patients: one may have many images
    partition = sets.partition
    never_seen = 0
    for name in NEVER_SEEN:
        never_seen += len(np.unique(partition.patient[partition.rows(name)]))

    return DrawSummary(
        name=run.name,
        forgotten=len(np.unique(partition.patient[partition.forget])),
        images=len(partition.forget),
        near_duplicates=sum(row.near_duplicate for row in patients),
        never_seen=never_seen,
        models={name: signals.model for name, signals in run.signals.items()},
        shadows=len(run.shadows.signals) if run.shadows is not None else 0,
        left_out=sets.left_out,
        earlier=sets.earlier,
    )


def _of_patients(duplicates: Sequence[NearDuplicate], draw: int) -> tuple[NearDuplicate, ...]:
    """Near-duplicates by patient: an audit does not name images or studies."""
    # Numbered by draw, like every other row
    return tuple(replace(pair, item="", other_item="", draw=draw) for pair in duplicates)
