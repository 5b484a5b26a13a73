"""What the record of a run says about one model, as far as it may be published: outcomes and sums, and nobody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.model_names import UNLEARNED, is_retrained
from forgetmi.evidence.record import NOT_AUDITED, Finding, Record
from forgetmi.evidence.record_files import read_record
from forgetmi.report.card_facts import CardVerdict, Measure

# Findings of a record that say how useful a model is, on never-seen patients
_MEASURES = ("auc", "f1")
_ON = "test"


def verdict_on(weights: str, record: Path) -> CardVerdict | None:
    """What a record says about a model; None where the model is not the one that the record's verdict is about.

    Left out are the decision's statements and findings of single patients: they name people by digest.

    Args:
        weights: Digest of the model's weights.
        record: record.json, or the run that it lies in.

    Raises:
        EvidenceError: It cannot be read, or names no such model.
    """
    read = read_record(record)
    roles = {model.weights: model.role for model in read.models}
    if weights not in roles:
        why = "none of its models has these weights"
        do = "Name the record of the run that made the model."
        raise EvidenceError(
            Fault("the record is not of this model", where=record.name, why=why, do=do)
        )
    if read.model("after").weights != weights or read.decision.outcome == NOT_AUDITED:
        return None

    return CardVerdict(
        outcome=read.decision.outcome,
        channels=dict(read.decision.channels),
        margin=_margin(read.decision.rule),
        method=read.method.kind,
        withdrawn=len(read.subjects.patients),
        retrained=sum(is_retrained(model.name) for model in read.models),
        record=read.digest,
        signer=read.signer,
        written=read.written[:10],
        measures=_measures(read),
    )


def _margin(rule: Mapping[str, Any]) -> float | None:
    """Up to which difference counts as none."""
    margin = rule.get("rule", {}).get("margin")
    return float(margin) if isinstance(margin, int | float) else None


def _measures(record: Record) -> tuple[Measure, ...]:
    """How useful the model is for never-seen patients."""
    found = []
    for finding in record.findings:
        if finding.model == UNLEARNED and finding.on == _ON and finding.name in _MEASURES:
            found.append(_measure(finding))
    return tuple(found)


def _measure(finding: Finding) -> Measure:
    return Measure(
        finding.name, finding.channel, finding.value, finding.interval, finding.reference
    )
