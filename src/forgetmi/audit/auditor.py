"""Audit runs from their stored signals: no model is run, and the same signals give the same record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np

from forgetmi.audit.forget_draw import ForgetDraw, forget_draw
from forgetmi.audit.patient_tables import (
    KnowledgeByChannel,
    Scored,
    background,
    harm_rows,
    patient_rows,
    retained_risk,
    score_draw,
    subgroup_rows,
    through,
)
from forgetmi.audit.result import Audit
from forgetmi.audit.rows import (
    AttackMissing,
    AttackRow,
    Control,
    DrawSummary,
    HarmRow,
    NeverSeen,
    PatientRow,
    RelearnCurve,
    RetainedRisk,
    Seen,
)
from forgetmi.audit.rule import AuditSpec
from forgetmi.audit.sets import audited_sets
from forgetmi.audit.statements import statements
from forgetmi.audit.verdict import Verdict, decide
from forgetmi.core import registry
from forgetmi.core.arrays import Floats, Ints, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import retrained_names
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.core.partition import NEVER_SEEN, Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Pool, Relearning
from forgetmi.evaluation.attacks.base import AttackResult
from forgetmi.evaluation.attacks.relearn import epochs_until
from forgetmi.evaluation.attacks.run import run_on
from forgetmi.evaluation.channels import CHANNELS, Channel
from forgetmi.evaluation.signals import HEADS

ORIGINAL, UNLEARNED = "original", "unlearned"


@dataclass(frozen=True, eq=False)
class AuditedRun:
    """One finished run, as arrays.

    Args:
        name: Of its directory.
        partition: Who was forgotten, retained, never seen.
        signals: "original", "unlearned", "retrain-0" ... to signals on all rows.
        duplicates: Near-duplicates of what was forgotten.
        relearning: Model to its relearning.
        shadows, unlearned_shadows: Models trained for the audit alone.
        canaries: Int[c] by patient code; see `forgetmi.evaluation.attacks.adversary.AdversaryKnowledge`.
    """

    name: str
    partition: Partition
    signals: Mapping[str, Signals]
    duplicates: tuple[NearDuplicate, ...] = ()
    relearning: Mapping[str, Relearning] = field(default_factory=dict)
    shadows: Pool | None = None
    unlearned_shadows: Pool | None = None
    canaries: Ints | None = None


def audit(
    draws: Sequence[AuditedRun], *, cohort: Cohort, declared: AuditSpec, seed: int = 0
) -> Audit:
    """Audit one run, or several with disjoint forget sets of one cohort, pooled.

    A forgotten patient with a copy under a retained one cannot be forgotten by any method, nor by retraining: such
    patients are left out of the verdict and of the attacks and listed apart. A never-seen patient with a copy of
    something forgotten, now or earlier, was seen, and is left out, too (copies of retained data are not searched for).
    Where a run forgets more patients than runs before it, all of it is about those whom it forgets newly.

    Args:
        draws: One or more.
        cohort: Their cohort.
        declared: What the runs declared before their first signal.
        seed: Root seed of resamples, folds and subsamples (the verdict's own is the rule's).

    Raises:
        EvaluationError: The draws are of another cohort, share forgotten patients, or hold no unlearned model.
    """
    _require(draws, cohort)
    found = [_Draw(at, draw, cohort, declared, seed) for at, draw in enumerate(draws)]
    judged = [one for one in found if one.knowledge_by_channel]
    verdict = _verdict(judged, declared, UNLEARNED)
    patients = [row for one in found for row in one.patients]
    duplicates = tuple(row for one in found for row in one.duplicates)
    harm = tuple(row for one in judged for row in one.harm)
    retained = tuple(one.retained for one in judged if one.retained is not None)
    controls = _controls(judged, declared)
    summaries = tuple(one.summary for one in found)
    return Audit(
        declared=declared,
        rule_digest=declared.digest,
        cohort=cohort.digest,
        seed=seed,
        draws=summaries,
        verdict=verdict,
        controls=controls,
        statements=statements(
            verdict,
            draws=summaries,
            controls=controls,
            patients=patients,
            harm=harm,
            retained=retained,
            level=declared.false_discovery,
        ),
        patients=tuple(
            sorted(
                patients,
                key=lambda row: -row.channels["any"].score if "any" in row.channels else 0.0,
            )
        ),
        never_seen=tuple(row for one in judged for row in one.background),
        duplicates=duplicates,
        subgroups=subgroup_rows(
            [(one.first, one.scored) for one in judged],
            cohort=cohort,
            seed=seed,
            resamples=declared.rule.resamples,
        ),
        harm=harm,
        retained=retained,
        relearning=tuple(row for one in judged for row in one.relearning),
        attacks=tuple(row for one in judged for row in one.attacks),
        missing=tuple(row for one in judged for row in one.missing),
    )


def _require(draws: Sequence[AuditedRun], cohort: Cohort) -> None:
    faults = [] if draws else [Fault("there is nothing to audit")]
    for draw in draws:
        if draw.partition.cohort != cohort.digest or any(
            one.cohort != cohort.digest for one in draw.signals.values()
        ):
            faults.append(
                Fault(
                    "the run is of another cohort",
                    where=draw.name,
                    do="Pool runs that share the cohort and differ in who is forgotten.",
                )
            )
        if {ORIGINAL, UNLEARNED} - set(draw.signals):
            faults.append(Fault("the run has no original or no unlearned model", where=draw.name))
    if not faults:
        everybody = np.concatenate(
            [
                np.unique(draw.partition.patient[draw.partition.of_request().forget])
                for draw in draws
            ]
        )
        if len(np.unique(everybody)) < len(everybody):
            faults.append(
                Fault(
                    "two of the runs forget the same patient",
                    why="a patient would count twice",
                    do="Give runs with disjoint forget sets (--partition.draw 0, 1, 2 ...).",
                )
            )
    if faults:
        raise EvaluationError(faults)


class _Draw:
    """Everything about one forget set that is pooled or listed."""

    def __init__(
        self, at: int, draw: AuditedRun, cohort: Cohort, declared: AuditSpec, seed: int
    ) -> None:
        names = codes(cohort.patient)[1]
        sets, level = (
            audited_sets(draw.partition, draw.duplicates, names=names),
            declared.false_discovery,
        )
        self.duplicates = [
            replace(duplicate, item="", other_item="", draw=at) for duplicate in draw.duplicates
        ]
        self.patients: list[PatientRow] = []
        self.knowledge_by_channel: KnowledgeByChannel = {}
        self.scored: dict[Seen, Scored] = {}
        self.background: list[NeverSeen] = []
        self.harm: list[HarmRow] = []
        self.retained: RetainedRisk | None = None
        self.relearning: list[RelearnCurve] = []
        self.attacks: list[AttackRow] = []
        self.missing: list[AttackMissing] = []
        for near_duplicate in (True, False):
            partition = sets.asked(copied=near_duplicate)
            if partition is None:
                continue
            knowledge = AdversaryKnowledge(
                partition,
                draw.signals,
                seed=seed,
                shadows=draw.shadows,
                unlearned_shadows=draw.unlearned_shadows,
                relearning=draw.relearning,
                canaries=draw.canaries,
            )
            knowledge_by_channel = through(knowledge, declared.rule.channels)
            scored = score_draw(knowledge_by_channel, level=level)
            self.patients += patient_rows(
                scored,
                knowledge=knowledge,
                cohort=cohort,
                draw=at,
                level=level,
                near_duplicate=near_duplicate,
            )
            if near_duplicate:
                continue
            self.knowledge_by_channel, self.scored, self.background = (
                knowledge_by_channel,
                scored,
                background(scored, at),
            )
            self.harm = harm_rows(knowledge, cohort=cohort, declared=declared, draw=at, seed=seed)
            self.retained = retained_risk(knowledge_by_channel, cohort=cohort, draw=at, level=level)
            self.relearning = _curves(knowledge, at)
            self.attacks, self.missing = _attacks(knowledge, declared, at)
        own = sets.partition
        self.summary = DrawSummary(
            name=draw.name,
            forgotten=len(np.unique(own.patient[own.forget])),
            images=len(own.forget),
            near_duplicates=sum(row.near_duplicate for row in self.patients),
            never_seen=sum(len(np.unique(own.patient[own.rows(on)])) for on in NEVER_SEEN),
            models={name: one.model for name, one in draw.signals.items()},
            shadows=0 if draw.shadows is None else len(draw.shadows.signals),
            left_out=sets.left_out,
            earlier=sets.earlier,
        )

    @property
    def first(self) -> AdversaryKnowledge:
        """The evidence through the rule's first channel."""
        return next(iter(self.knowledge_by_channel.values()))

    def seen_by(self, channel: Channel, target: str) -> ForgetDraw:
        """What the verdict on a model is made from."""
        return forget_draw(self.knowledge_by_channel[channel].with_target(target))


def _verdict(draws: Sequence[_Draw], declared: AuditSpec, target: str) -> Verdict:
    pooled: dict[Channel, list[ForgetDraw]] = {}
    for channel in declared.rule.channels:
        try:
            pooled[channel] = [one.seen_by(channel, target) for one in draws]
        except EvaluationError:
            continue  # the rule counts a channel without draws as not resolvable
    return decide(declared.rule, pooled)


def _controls(draws: Sequence[_Draw], declared: AuditSpec) -> tuple[Control, ...]:
    if not draws:
        return ()
    common = set.intersection(*(set(retrained_names(one.first.signals)) for one in draws))
    names = retrained_names(common) if len(common) >= 3 else []
    found = []
    for name in [ORIGINAL, *names] if len(common) >= 2 else ():
        verdict = _verdict(draws, declared, name)
        found.append(
            Control(name, verdict.outcome, {one.channel: one.outcome for one in verdict.channels})
        )
    return tuple(found)


def _attacks(
    knowledge: AdversaryKnowledge, declared: AuditSpec, draw: int
) -> tuple[list[AttackRow], list[AttackMissing]]:
    rows: list[AttackRow] = []
    missing: list[AttackMissing] = []
    targets = [
        UNLEARNED,
        ORIGINAL,
        *retrained_names(knowledge.signals),
    ]
    for name in declared.attacks or registry.attacks.names():
        attack = registry.attacks.get(name)()
        lacking = knowledge.missing(attack.info.needs)
        if lacking:
            missing.append(
                AttackMissing(draw, name, attack.info.title, "", f"needs {', '.join(lacking)}")
            )
            continue
        for channel, seen in through(knowledge, CHANNELS).items():
            for model, found in run_on(attack, seen, targets).items():
                if isinstance(found, AttackResult):
                    rows.append(_row(found, channel, draw))
                elif model == UNLEARNED:
                    missing.append(
                        AttackMissing(draw, name, attack.info.title, channel, found.reason)
                    )
    return rows, missing


def _row(result: AttackResult, channel: Channel, draw: int) -> AttackRow:
    info, found = result.info, result.output
    return AttackRow(
        draw=draw,
        model=result.target,
        channel=channel,
        name=info.name,
        title=info.title,
        source=info.source,
        measures=info.measures,
        direction=info.direction,
        reference=info.reference,
        forgotten=info.forgotten,
        value=float(found.value),
        interval=found.interval,
        bound=found.bound,
        unit=found.unit,
        counts={name: int(count) for name, count in found.counts.items()},
        details={name: float(value) for name, value in found.details.items() if isfinite(value)},
        scores={name: _rounded(values) for name, values in found.scores.items()},
        retrained=tuple(float(value) for value in result.reference),
        note=found.note,
    )


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _curves(knowledge: AdversaryKnowledge, draw: int) -> list[RelearnCurve]:
    curves = []
    for head, seen in through(knowledge, HEADS).items():
        try:
            people = seen.patients("forget")
            for model, found in (seen.relearning or {}).items():
                taught = np.isin(people.code, found.taught)
                if not taught.any() or taught.all():
                    continue
                loss = np.stack(
                    [
                        people.mean(seen.loss(one, "forget"))
                        for one in (seen.signals[ORIGINAL], *found.signals)
                    ]
                )
                sides = [loss[:, chosen].mean(1) for chosen in (taught, ~taught)]
                reached = epochs_until(sides[0][1:], float(sides[0][0]))
                curves.append(
                    RelearnCurve(
                        draw=draw,
                        model=model,
                        head=head,
                        taught=_rounded(sides[0][1:]),
                        watched=_rounded(sides[1][1:]),
                        taught_threshold=float(sides[0][0]),
                        watched_threshold=float(sides[1][0]),
                        epochs=reached.number,
                        censored=reached.censored,
                    )
                )
        except EvaluationError:
            continue  # a head that diverged, or no labels; the relearn attack says so
    return curves
