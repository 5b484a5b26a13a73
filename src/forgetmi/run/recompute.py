"""A run's numbers once more, from its stored signals, partition and copies: no model, cohort or key is needed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.audit.decision import decide
from forgetmi.audit.forget_draw import ForgetDraw, forget_draw
from forgetmi.audit.patient_scores import score_draw, standing_out, through
from forgetmi.audit.sets import audited_sets
from forgetmi.cohort.partition_file import stored_rows
from forgetmi.core.arrays import codes
from forgetmi.core.errors import EvaluationError, EvidenceError, Fault
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import Channel
from forgetmi.evaluation.suite import evaluate
from forgetmi.evidence.record import NOT_AUDITED, Record
from forgetmi.run.audit_stage import declared_in, read_duplicates, stored_audit
from forgetmi.run.directory import RunDirectory
from forgetmi.run.record import decision_in, findings_in

CLOSE = 1e-9  # another processor sums in another order


def stored_signals(root: Path, record: Record) -> dict[str, Signals]:
    """What each model of a record said about every row.

    Raises:
        EvidenceError: Signals are of other weights than the record's model.
    """
    signals = {
        one.name: Signals.load(root / "signals" / f"{one.name}.npz") for one in record.models
    }
    wrong = [one.name for one in record.models if signals[one.name].model != one.weights]
    if wrong:
        raise EvidenceError(
            Fault(
                "the signals are of other weights than the record's model", where=f"signals/{name}"
            )
            for name in wrong
        )
    return signals


def stored_partition(root: Path, signals: Signals) -> Partition:
    """The partition of a run, with the patients as the signals number them."""
    stored = json.loads((root / "partition.json").read_text(encoding="utf-8"))
    if not np.array_equal(signals.row, np.arange(len(signals))):
        raise EvidenceError(
            Fault("the signals do not hold every row of the cohort", where="signals")
        )
    patient = codes(signals.patient)[0]
    return Partition(
        **stored_rows(stored),
        patient=patient,
        group=patient,
        cohort=stored["cohort"],
        whole_patients=stored["whole_patients"],
        notes=tuple(stored["notes"]),
    )


def metrics(root: Path, record: Record) -> tuple[int, float]:
    """Compute metrics.json again and compare; and compare the record's findings with the run's files.

    Returns:
        Numbers compared, and the largest difference.

    Raises:
        EvidenceError: Some differ; the first are named. Or the record says other numbers than the files it names.
    """
    signals = stored_signals(root, record)
    again = evaluate(
        signals,
        stored_partition(root, signals[record.model("before").name]),
        ordinal=record.recompute.ordinal,
        seed=record.recompute.seed,
        resamples=record.recompute.resamples,
    )
    stored = Evaluation.from_json((root / "metrics.json").read_text(encoding="utf-8"))
    differences = list(_differences(stored, again))
    wrong = [name for name, difference in differences if not difference <= CLOSE]
    if wrong:
        more = (
            [Fault(f"... and {len(wrong) - 5} more", where="metrics.json")]
            if len(wrong) > 5
            else []
        )
        raise EvidenceError(
            [
                *(
                    Fault(
                        f"{name} is another number when computed again",
                        where="metrics.json",
                        do="Compare the code version in the record with yours.",
                    )
                    for name in wrong[:5]
                ),
                *more,
            ]
        )
    if record.findings != findings_in(RunDirectory(root)):
        raise EvidenceError(
            Fault(
                "the record's findings are not those of metrics.json and audit.json",
                where="record.json",
                do="Compare the code version in the record with yours.",
            )
        )
    return len(differences), max((difference for _, difference in differences), default=0.0)


def _differences(stored: Evaluation, again: Evaluation) -> Iterator[tuple[str, float]]:
    """Name and relative difference of every number; infinite where one of the two lacks it."""
    for model in sorted({*stored.scores, *again.scores}):
        one, two = (
            {(score.name, score.head, score.on): score for score in found.scores.get(model, ())}
            for found in (stored, again)
        )
        for key in sorted({*one, *two}):
            yield " ".join(filter(None, (model, *key))), _difference(one.get(key), two.get(key))


def _difference(one: Score | Failed | None, two: Score | Failed | None) -> float:
    if not isinstance(one, Score) or not isinstance(two, Score):
        return 0.0 if type(one) is type(two) else math.inf
    pairs = [(one.value, two.value), *zip(one.interval or (), two.interval or (), strict=False)]
    if (one.interval is None) != (two.interval is None) or (one.patients, one.images) != (
        two.patients,
        two.images,
    ):
        return math.inf
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs)


def verdict(root: Path, record: Record) -> str:
    """Decide again, on all and on single patients, by the declared rule and from what is stored, and compare.

    Returns:
        The outcome.

    Raises:
        EvidenceError: The run was not audited, its audit pools other runs or is by another rule, or the verdict, or
            what is said of single patients, is another.
    """
    if record.decision.outcome == NOT_AUDITED:
        raise EvidenceError(
            Fault("there is no verdict to decide again", why="the run was not audited")
        )
    directory = RunDirectory(root)
    stored, declared = stored_audit(directory.audit), declared_in(directory)
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
    signals = stored_signals(root, record)
    one = signals[record.model("before").name]
    names = codes(one.patient)[1]
    sets = audited_sets(stored_partition(root, one), read_duplicates(directory), names=names)
    pooled: dict[Channel, list[ForgetDraw]] = {}
    singly: dict[str, tuple[bool, bool, bool]] = {}
    for copied in (True, False):
        if (partition := sets.with_forget(copied=copied)) is None:
            continue
        evidence = AdversaryKnowledge(
            partition, signals, target=record.model("after").name, seed=stored.seed
        )
        seen = through(evidence, declared.rule.channels)
        level = declared.false_discovery
        remembered, over_forgotten = standing_out(score_draw(seen, level=level), level=level)
        singly |= {
            str(names[code]): (copied, code in remembered, code in over_forgotten)
            for code in np.unique(partition.patient[partition.forget]).tolist()
        }
        if not copied:
            for channel, aimed in seen.items():
                with contextlib.suppress(EvaluationError):  # the rule counts it as not resolvable
                    pooled[channel] = [forget_draw(aimed)]
    again = decide(declared.rule, pooled)
    if (
        not _close(
            json.loads(json.dumps(dataclasses.asdict(stored.verdict))),
            json.loads(json.dumps(dataclasses.asdict(again))),
        )
        or again.outcome != record.decision.outcome
    ):
        raise EvidenceError(
            Fault(
                "the verdict is another when decided again",
                where="audit.json",
                why=f"{again.outcome}, the record says {record.decision.outcome}",
                do="Compare the code version in the record with yours.",
            )
        )
    if singly != {
        row.patient: (row.near_duplicate, row.remembered, row.over_forgotten)
        for row in stored.patients
    }:
        raise EvidenceError(
            Fault(
                "other patients stand out singly when scored again",
                where="audit.json",
                do="Compare the code version in the record with yours.",
            )
        )
    decision = decision_in(directory)
    if record.decision.flagged is None:  # written before records named them
        decision = dataclasses.replace(decision, flagged=None)
    if record.decision != decision:
        raise EvidenceError(
            Fault(
                "the record's decision is not that of audit.json",
                where="record.json",
                do="Compare the code version in the record with yours.",
            )
        )
    return again.outcome


def _close(one: Any, two: Any) -> bool:
    """Whether two plain values are equal, numbers up to rounding."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_close(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(_close(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=CLOSE, abs_tol=CLOSE)
    return one == two
