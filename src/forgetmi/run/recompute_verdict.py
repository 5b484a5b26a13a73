"""A run's verdict once more, from its stored signals, partition and copies: no model, cohort or key is needed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.audit.decision import decide
from forgetmi.audit.forget_draw import ForgetDraw, forget_draw
from forgetmi.audit.patient_scores import score_draw, standing_out, through
from forgetmi.audit.result import Audit
from forgetmi.audit.sets import audited_sets
from forgetmi.audit.verdict import Verdict
from forgetmi.cohort.partition_file import read_stored
from forgetmi.core.arrays import codes
from forgetmi.core.errors import EvaluationError, EvidenceError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import Channel, channels_of
from forgetmi.evidence.record import NOT_AUDITED, Record
from forgetmi.run.audit_stage import declared_in, read_duplicates, stored_audit
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_references import pool_references
from forgetmi.run.recompute import CLOSE, COMPARE_VERSIONS, stored_partition, stored_signals
from forgetmi.run.record_findings import decision_in


def verdict(root: Path, record: Record) -> str:
    """Decide again, on all and on single patients, by the declared rule and from what is stored, and compare.

    Returns:
        The outcome.

    Raises:
        EvidenceError: The run was not audited, its audit pools other runs or is by another rule, or the verdict, or
            what is said of single patients, is another.
    """
    directory = RunDirectory(root)
    stored = _audit_of_one_run(directory, record)
    rule = stored.declared.rule

    # Attack every patient once more, on the stored signals
    pooled, by_patient, there = _attacked_again(root, record, stored)

    # The verdict on all
    unproved = read_stored(directory.partition).unproved
    again = decide(rule, pooled, unproved=unproved, there=there)
    same_outcome = again.outcome == record.decision.outcome
    if not same_outcome or not _close(_plain(stored.verdict), _plain(again)):
        raise EvidenceError(
            Fault(
                "the verdict is another when decided again",
                where="audit.json",
                why=f"{again.outcome}, the record says {record.decision.outcome}",
                do=COMPARE_VERSIONS,
            )
        )

    # The results of single patients
    stored_by_patient = {
        row.patient: (row.near_duplicate, row.remembered, row.over_forgotten)
        for row in stored.patients
    }
    if by_patient != stored_by_patient:
        raise EvidenceError(
            Fault(
                "other patients stand out singly when scored again",
                where="audit.json",
                do=COMPARE_VERSIONS,
            )
        )

    _check_decision(directory, record)
    return again.outcome


def _audit_of_one_run(directory: RunDirectory, record: Record) -> Audit:
    """The stored audit of a run, by the rule that the run declared."""
    if record.decision.outcome == NOT_AUDITED:
        raise EvidenceError(
            Fault("there is no verdict to decide again", why="the run was not audited")
        )

    stored = stored_audit(directory.audit)
    declared = declared_in(directory)

    if len(stored.draws) != 1:
        raise EvidenceError(
            Fault(
                "the verdict pools several runs",
                where="audit.json",
                do="Audit these runs again; a record holds the signals of one.",
            )
        )
    if stored.declared != declared:
        raise EvidenceError(
            Fault(
                "the audit is by another rule than the declared one",
                where="audit.json",
                why="it does not say what rule.json says",
                do="Use the original files.",
            )
        )
    return stored


def _attacked_again(
    root: Path, record: Record, stored: Audit
) -> tuple[
    dict[Channel, list[ForgetDraw]], dict[str, tuple[bool, bool, bool]], tuple[Channel, ...]
]:
    """Attack every forgotten patient from the stored signals.

    Returns:
        The forget draw of each channel, over the patients without a copy; of each patient whether a copy is retained,
        whether it is remembered, and whether it is forgotten too visibly; and every channel of the model.
    """
    declared = stored.declared
    signals = stored_signals(root, record)
    original = signals[record.model("before").name]
    patients = codes(original.patient)[1]
    whole = stored_partition(root, original)
    signals |= pool_references(RunDirectory(root), whole)

    # Patients of whom a copy stays are scored apart and do not count for the verdict
    duplicates = read_duplicates(RunDirectory(root))
    sets = audited_sets(whole, duplicates, names=patients)
    there = tuple(channels_of(original))

    pooled: dict[Channel, list[ForgetDraw]] = {}
    by_patient: dict[str, tuple[bool, bool, bool]] = {}
    for copied in (True, False):
        partition = sets.with_forget(copied=copied)
        if partition is None:
            continue

        # Every channel of the rule, attacked with the audit's seed
        evidence = AdversaryKnowledge(
            partition,
            signals,
            task=record.recompute.of_task,
            target=record.model("after").name,
            seed=stored.seed,
        )
        attacked = through(evidence, declared.rule.judged(there))

        # Patients who stand out, at the declared rate of false discoveries
        level = declared.false_discovery
        remembered, over_forgotten = standing_out(score_draw(attacked, level=level), level=level)
        for code in np.unique(partition.patient[partition.forget]).tolist():
            by_patient[str(patients[code])] = (copied, code in remembered, code in over_forgotten)

        # The verdict on all rests on the patients without a copy
        if not copied:
            pooled = _draws(attacked)

    return pooled, by_patient, there


def _draws(attacked: Mapping[Channel, AdversaryKnowledge]) -> dict[Channel, list[ForgetDraw]]:
    """The forget draw of each channel in which one can be made."""
    draws = {}
    for channel, knowledge in attacked.items():
        # A channel without one counts as not resolvable by the rule
        with contextlib.suppress(EvaluationError):
            draws[channel] = [forget_draw(knowledge)]
    return draws


def _check_decision(directory: RunDirectory, record: Record) -> None:
    """Refuse a record whose decision is not that of audit.json."""
    decision = decision_in(directory)

    # Records of earlier versions name no single patients
    if record.decision.flagged is None:
        decision = dataclasses.replace(decision, flagged=None)

    if record.decision != decision:
        raise EvidenceError(
            Fault(
                "the record's decision is not that of audit.json",
                where="record.json",
                do=COMPARE_VERSIONS,
            )
        )


def _plain(verdict: Verdict) -> Any:
    """A verdict with the types that it has in a file."""
    return json.loads(json.dumps(dataclasses.asdict(verdict)))


def _close(first: Any, second: Any) -> bool:
    """Whether two plain values are equal, numbers up to rounding."""
    if isinstance(first, dict) and isinstance(second, dict):
        if first.keys() != second.keys():
            return False
        return all(_close(first[key], second[key]) for key in first)

    if isinstance(first, list) and isinstance(second, list):
        if len(first) != len(second):
            return False
        return all(_close(old, new) for old, new in zip(first, second, strict=True))

    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=CLOSE, abs_tol=CLOSE)
    return first == second
