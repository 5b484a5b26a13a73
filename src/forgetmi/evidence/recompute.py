"""A run's numbers once more, from its stored signals and partition alone: no model, no cohort and no key is needed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from forgetmi.errors import EvidenceError, Fault
from forgetmi.evaluation.suite import evaluate
from forgetmi.evidence.record import Record
from forgetmi.types import SETS, Evaluation, Failed, Partition, Score, Signals, codes

CLOSE = 1e-9  # another processor sums in another order


def stored_signals(root: Path, record: Record) -> dict[str, Signals]:
    """What each model of a record said about every row.

    Raises:
        EvidenceError: Signals are of other weights than the record's model.
    """
    signals = {one.name: Signals.load(root / "signals" / f"{one.name}.npz") for one in record.models}
    wrong = [one.name for one in record.models if signals[one.name].model != one.weights]
    if wrong:
        raise EvidenceError(Fault("the signals are of other weights than the record's model", where=f"signals/{name}")
                            for name in wrong)
    return signals


def stored_partition(root: Path, signals: Signals) -> Partition:
    """The partition of a run, with the patients as the signals number them."""
    stored = json.loads((root / "partition.json").read_text(encoding="utf-8"))
    if not np.array_equal(signals.row, np.arange(len(signals))):
        raise EvidenceError(Fault("the signals do not hold every row of the cohort", where="signals"))
    patient = codes(signals.patient)[0]
    return Partition(**{name: np.asarray(stored[name], np.int64) for name in SETS}, patient=patient, group=patient,
                     cohort=stored["cohort"], whole_patients=stored["whole_patients"], notes=tuple(stored["notes"]))


def metrics(root: Path, record: Record) -> tuple[int, float]:
    """Compute metrics.json again and compare.

    Returns:
        Numbers compared, and the largest difference.

    Raises:
        EvidenceError: Some differ; the first are named.
    """
    signals = stored_signals(root, record)
    again = evaluate(signals, stored_partition(root, signals[record.model("before").name]),
                     ordinal=record.recompute.ordinal, seed=record.recompute.seed,
                     resamples=record.recompute.resamples)
    stored = Evaluation.from_json((root / "metrics.json").read_text(encoding="utf-8"))
    differences = list(_differences(stored, again))
    wrong = [name for name, difference in differences if not difference <= CLOSE]
    if wrong:
        more = [Fault(f"... and {len(wrong) - 5} more", where="metrics.json")] if len(wrong) > 5 else []
        raise EvidenceError([*(Fault(f"{name} is another number when computed again", where="metrics.json",
                                     do="Compare the code version in the record with yours.") for name in wrong[:5]),
                             *more])
    return len(differences), max((difference for _, difference in differences), default=0.0)


def _differences(stored: Evaluation, again: Evaluation) -> Iterator[tuple[str, float]]:
    """Name and relative difference of every number; infinite where one of the two lacks it."""
    for model in sorted({*stored.scores, *again.scores}):
        one, two = ({(score.name, score.head, score.on): score for score in found.scores.get(model, ())}
                    for found in (stored, again))
        for key in sorted({*one, *two}):
            yield " ".join(filter(None, (model, *key))), _difference(one.get(key), two.get(key))


def _difference(one: Score | Failed | None, two: Score | Failed | None) -> float:
    if not isinstance(one, Score) or not isinstance(two, Score):
        return 0.0 if type(one) is type(two) else math.inf
    pairs = [(one.value, two.value), *zip(one.interval or (), two.interval or (), strict=False)]
    if (one.interval is None) != (two.interval is None) or (one.patients, one.images) != (two.patients, two.images):
        return math.inf
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs)
