"""What a finished run's metrics.json and audit.json contain, in the form of a record."""

from __future__ import annotations

import json
from collections.abc import Iterator

from forgetmi.audit.result import Audit
from forgetmi.audit.rows import PatientRow
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.evidence.record import NOT_AUDITED, Decision, Finding, Flag
from forgetmi.run.directory import RunDirectory

AUDIT = "audit.json"

# The scores of metrics.json that a record repeats
_MEASURES = {
    "gap",
    "gap_joint",
    "gap_floor",
    "gap_forget",
    "gap_test",
    "jsf",
    "loss_spearman",
    "auc",
    "f1",
    "sample_mia",
    "loss_auc",
    "pair_auc",
}


def findings_in(directory: RunDirectory) -> tuple[Finding, ...]:
    """The findings of a finished run's metrics.json and audit.json, as a record states them."""
    return *_measures(directory), *_attacks(directory)


def decision_in(directory: RunDirectory) -> Decision:
    """The decision of a finished run's audit.json, as a record states it."""
    audit = _stored_audit(directory)
    if audit is None:
        return Decision(
            NOT_AUDITED, {}, "", {}, ("The run was not audited: there is no verdict.",), {}
        )

    # The verdict of each channel
    outcomes = {channel.channel: channel.outcome for channel in audit.verdict.channels}

    # Patients whose own result differs from the verdict on all
    flagged = {}
    for row in audit.patients:
        flag = _flag(row)
        if flag is not None:
            flagged[row.patient] = flag

    return Decision(
        audit.outcome,
        json.loads(audit.declared.to_json()),
        audit.rule_digest,
        outcomes,
        audit.statements,
        flagged,
    )


def _measures(directory: RunDirectory) -> Iterator[Finding]:
    """Scores of the original, the unlearned and the retrained models."""
    evaluation = Evaluation.read(directory.metrics)

    for model in (ORIGINAL, UNLEARNED, "retrain"):
        for score in evaluation.scores.get(model, ()):
            if score.name in _MEASURES:
                yield _measure(model, score)


def _measure(model: str, score: Score | Failed) -> Finding:
    # A score that could not be computed states its reason in place of a value
    if not isinstance(score, Score):
        return Finding(model, score.name, score.head, score.on, None, None, None, score.reason)

    return Finding(
        model,
        score.name,
        score.head,
        score.on,
        float(score.value),
        score.interval,
        score.reference,
        score.note,
    )


def _attacks(directory: RunDirectory) -> Iterator[Finding]:
    """Attacks of the audit, then those that could not be made; nothing without an audit."""
    audit = _stored_audit(directory)
    if audit is None:
        return

    for row in audit.attacks:
        # The reference value is the mean over the retrained models
        reference = None
        if row.retrained:
            reference = sum(row.retrained) / len(row.retrained)

        yield Finding(
            row.model,
            row.name,
            row.channel,
            "",
            float(row.value),
            row.interval,
            reference,
            row.note,
        )

    for row in audit.missing:
        yield Finding(UNLEARNED, row.name, row.channel, "", None, None, None, row.reason)


def _stored_audit(directory: RunDirectory) -> Audit | None:
    path = directory.root / AUDIT
    if not path.exists():
        return None
    return Audit.read(path)


def _flag(row: PatientRow) -> Flag | None:
    """How a patient's own result differs from the verdict on all; the gravest first."""
    if row.near_duplicate:
        return "copy retained"
    if row.remembered:
        return "remembered"
    if row.over_forgotten:
        return "forgotten too visibly"
    return None
