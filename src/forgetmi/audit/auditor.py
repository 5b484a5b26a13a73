"""Audit runs from their stored signals: no model is run, and the same signals give the same record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.audit.decision import decide
from forgetmi.audit.draw_results import DrawResults, results_of_draw
from forgetmi.audit.forget_draw import ForgetDraw, forget_draw
from forgetmi.audit.memory_removed import memory_removed
from forgetmi.audit.patient_tables import subgroup_rows
from forgetmi.audit.result import Audit
from forgetmi.audit.rows import Control, PatientRow
from forgetmi.audit.rule import AuditSpec
from forgetmi.audit.statements import statements
from forgetmi.audit.task_limits import task_limits
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_names
from forgetmi.core.pooled_signals import PooledSignals
from forgetmi.evaluation.channels import Channel, channels_of

Row = TypeVar("Row")


def audit(
    runs: Sequence[AuditedRun], *, cohort: Cohort, declared: AuditSpec, seed: int = 0
) -> Audit:
    """Audit one run, or several with disjoint forget sets of one cohort, pooled.

    A forgotten patient with a copy under a retained one cannot be forgotten by any method, nor by retraining: such
    patients are left out of the verdict and of the attacks and listed apart. A never-seen patient with a copy of
    something forgotten, now or earlier, was seen, and is left out, too (copies of retained data are not searched for).
    Where a run forgets more patients than runs before it, all of it is about those whom it forgets newly.

    Args:
        runs: One or more.
        cohort: Their cohort.
        declared: What the runs declared before their first signal.
        seed: Root seed of resamples, folds and subsamples (the verdict's own is the rule's).

    Raises:
        EvaluationError: The runs are of another cohort, share forgotten patients, or hold no unlearned model.
    """
    _require_comparable(runs, cohort)

    # Each run by itself
    draws = []
    for index, run in enumerate(runs):
        draws.append(results_of_draw(index, run, cohort=cohort, declared=declared, seed=seed))
    judged = [draw for draw in draws if draw.knowledge_by_channel]

    # All runs pooled: the verdict, and the same rule on models whose outcome is known
    pooled = _pooled(judged, declared, UNLEARNED)
    unproved = "; ".join(sorted({run.partition.unproved for run in runs} - {""}))
    there = channels_of(runs[0].signals[ORIGINAL])
    verdict = decide(declared.rule, pooled, unproved=unproved, there=there)
    controls = tuple(_controls(judged, declared))
    subgroups = subgroup_rows(
        [(draw.first_knowledge, draw.scored) for draw in judged],
        cohort=cohort,
        seed=seed,
        resamples=declared.rule.resamples,
    )

    # Rows of all runs, one after another
    summaries = tuple(draw.summary for draw in draws)
    patients = _rows(draw.patients for draw in draws)
    harm = _rows(draw.harm for draw in judged)
    retained = tuple(draw.retained for draw in judged if draw.retained is not None)

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
            not_applicable=task_limits(judged[0].first_knowledge) if judged else (),
            pooled=sum(map(_has_pool, runs)),
        ),
        patients=tuple(sorted(patients, key=_most_remembered_first)),
        never_seen=_rows(draw.never_seen for draw in judged),
        duplicates=_rows(draw.duplicates for draw in draws),
        subgroups=subgroups,
        harm=harm,
        retained=retained,
        relearning=_rows(draw.relearning for draw in judged),
        attacks=_rows(draw.attacks for draw in judged),
        missing=_rows(draw.missing for draw in judged),
        memory=memory_removed(
            pooled,
            level=declared.rule.level,
            resamples=declared.rule.resamples,
            seed=declared.rule.seed,
        ),
    )


def _require_comparable(runs: Sequence[AuditedRun], cohort: Cohort) -> None:
    """Refuse runs that cannot be pooled; all faults at once."""
    # Nothing can be pooled with nothing
    faults = [] if runs else [Fault("there is nothing to audit")]

    for run in runs:
        # Rows and patient codes mean the same in one cohort only
        cohorts = {run.partition.cohort, *(signals.cohort for signals in run.signals.values())}
        if cohorts != {cohort.digest}:
            faults.append(
                Fault(
                    "the run is of another cohort",
                    where=run.name,
                    do="Pool runs that share the cohort and differ in who is forgotten.",
                )
            )
        if {ORIGINAL, UNLEARNED} - set(run.signals):
            faults.append(Fault("the run has no original or no unlearned model", where=run.name))

    # Checked last: without one cohort, patient codes are not comparable
    if not faults and _share_patients(runs):
        faults.append(
            Fault(
                "two of the runs forget the same patient",
                why="a patient would count twice",
                do="Give runs with disjoint forget sets (--partition.draw 0, 1, 2 ...).",
            )
        )

    if faults:
        raise EvaluationError(faults)


def _has_pool(run: AuditedRun) -> bool:
    """Whether references of a run are those of a standing pool."""
    return any(isinstance(signals, PooledSignals) for signals in run.signals.values())


def _share_patients(runs: Sequence[AuditedRun]) -> bool:
    forgotten = []
    for run in runs:
        # Patients of the runs' own requests; those withdrawn earlier may be shared
        rows = run.partition.of_request().forget
        forgotten.append(np.unique(run.partition.patient[rows]))

    patients = np.concatenate(forgotten)
    return len(np.unique(patients)) < len(patients)


def _pooled(
    draws: Sequence[DrawResults], declared: AuditSpec, target: str
) -> dict[Channel, list[ForgetDraw]]:
    """One model on every channel that can be measured, all draws."""
    pooled: dict[Channel, list[ForgetDraw]] = {}
    channels = draws[0].knowledge_by_channel if draws else ()
    for channel in channels:
        try:
            pooled[channel] = [_aimed_at(draw, channel, target) for draw in draws]
        except EvaluationError:
            continue  # the rule counts a channel without draws as not resolvable

    return pooled


def _aimed_at(draw: DrawResults, channel: Channel, target: str) -> ForgetDraw:
    return forget_draw(draw.knowledge_by_channel[channel].with_target(target))


def _controls(draws: Sequence[DrawResults], declared: AuditSpec) -> Iterator[Control]:
    """The same rule on the original, and on each retrained model with the others as reference."""
    if not draws:
        return

    # Retrained models that every draw has
    names = [set(draw.first_knowledge.signals) for draw in draws]
    retrained = retrained_names(set.intersection(*names))

    # The original needs two of them as reference, a retrained model needs two others
    models = []
    if len(retrained) >= 2:
        models.append(ORIGINAL)
    if len(retrained) >= 3:
        models += retrained

    for model in models:
        there = channels_of(draws[0].first_knowledge.signals[ORIGINAL])
        verdict = decide(declared.rule, _pooled(draws, declared, model), there=there)
        yield Control(
            model=model,
            outcome=verdict.outcome,
            channels={channel.channel: channel.outcome for channel in verdict.channels},
        )


def _rows(tables: Iterable[Sequence[Row]]) -> tuple[Row, ...]:
    """The rows of several tables, one after another."""
    rows: list[Row] = []
    for table in tables:
        rows.extend(table)
    return tuple(rows)


def _most_remembered_first(row: PatientRow) -> float:
    """Sort key; patients without a score count as 0."""
    if "any" not in row.channels:
        return 0.0
    return -row.channels["any"].score
