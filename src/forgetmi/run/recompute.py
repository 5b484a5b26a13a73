"""A run's metrics once more, from its stored signals and partition: no model, cohort or key is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from forgetmi.cohort.partition_file import check_rows, read_stored
from forgetmi.core.arrays import codes
from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation.suite import evaluate
from forgetmi.evidence.record import Record
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_references import pool_references
from forgetmi.run.record_findings import findings_in

# Another processor sums in another order
CLOSE = 1e-9

# Numbers that a message names singly
_NAMED = 5

# What to do about a number that differs
COMPARE_VERSIONS = "Compare the code version in the record with yours."


def stored_signals(root: Path, record: Record) -> dict[str, Signals]:
    """Each model's signals for every row, by the model's name.

    Raises:
        EvidenceError: Signals are of other weights than the record's model.
    """
    signals = {}
    faults = []
    for model in record.models:
        signals[model.name] = Signals.load(root / "signals" / f"{model.name}.npz")

        # Signals name the weights that they are the outputs of
        if signals[model.name].model != model.weights:
            faults.append(
                Fault(
                    "the signals are of other weights than the record's model",
                    where=f"signals/{model.name}",
                )
            )

    if faults:
        raise EvidenceError(faults)
    return signals


def stored_partition(root: Path, signals: Signals) -> Partition:
    """The partition of a run, with the patients as the signals number them."""
    stored = read_stored(root / "partition.json")
    if not np.array_equal(signals.row, np.arange(len(signals))):
        raise EvidenceError(
            Fault("the signals do not hold every row of the cohort", where="signals")
        )

    check_rows(stored, len(signals), "partition.json")

    # Groups served to draw the sets; a recomputation draws none
    patient = codes(signals.patient)[0]
    return Partition(
        **stored.rows,
        patient=patient,
        group=patient,
        cohort=stored.cohort,
        whole_patients=stored.whole_patients,
        notes=stored.notes,
        unproved=stored.unproved,
    )


def metrics(root: Path, record: Record) -> tuple[int, float]:
    """Compute metrics.json again and compare; and compare the record's findings with the run's files.

    Returns:
        Numbers compared, and the largest difference.

    Raises:
        EvidenceError: Some differ; the first are named. Or the record says other numbers than the files it names.
    """
    # The scores once more, by the seed and the resamples of the record
    signals = stored_signals(root, record)
    partition = stored_partition(root, signals[record.model("before").name])
    again = evaluate(
        {**signals, **pool_references(RunDirectory(root), partition)},
        partition,
        task=record.recompute.of_task,
        seed=record.recompute.seed,
        resamples=record.recompute.resamples,
    )

    # Against those that the run stored
    stored = Evaluation.read(root / "metrics.json")
    differences = list(_differences(stored, again))
    # Written so that a difference that is not a number counts as one
    wrong = [name for name, difference in differences if not difference <= CLOSE]
    if wrong:
        raise EvidenceError(_other_numbers(wrong))

    # The record must repeat the same numbers
    if record.findings != findings_in(RunDirectory(root)):
        raise EvidenceError(
            Fault(
                "the record's findings are not those of metrics.json and audit.json",
                where="record.json",
                do=COMPARE_VERSIONS,
            )
        )

    largest = max((difference for _, difference in differences), default=0.0)
    return len(differences), largest


def _other_numbers(names: list[str]) -> list[Fault]:
    """One fault for each of the first numbers that differ, and one that counts the others."""
    faults = [
        Fault(
            f"{name} is another number when computed again",
            where="metrics.json",
            do=COMPARE_VERSIONS,
        )
        for name in names[:_NAMED]
    ]

    if len(names) > _NAMED:
        faults.append(Fault(f"... and {len(names) - _NAMED} more", where="metrics.json"))
    return faults


def _differences(stored: Evaluation, again: Evaluation) -> Iterator[tuple[str, float]]:
    """Name and relative difference of every number; infinite where one of the two lacks it.

    A measure that no model of the run has was added to the evaluation later: there is nothing to compare it with.
    """
    measured = {score.name for scores in stored.scores.values() for score in scores}

    for model in sorted({*stored.scores, *again.scores}):
        stored_scores = _by_key(stored, model)
        new_scores = {
            key: score for key, score in _by_key(again, model).items() if key[0] in measured
        }

        for key in sorted({*stored_scores, *new_scores}):
            name = " ".join(filter(None, (model, *key)))
            yield name, _difference(stored_scores.get(key), new_scores.get(key))


def _by_key(evaluation: Evaluation, model: str) -> dict[tuple[str, str, str], Score | Failed]:
    """A model's scores by name, head and set."""
    return {(score.name, score.head, score.on): score for score in evaluation.scores.get(model, ())}


def _difference(stored: Score | Failed | None, again: Score | Failed | None) -> float:
    # Two scores that both could not be computed are equal
    if not isinstance(stored, Score) or not isinstance(again, Score):
        return 0.0 if type(stored) is type(again) else math.inf

    # One with an interval and one without, or over other numbers of patients, cannot be compared
    if (stored.interval is None) != (again.interval is None):
        return math.inf
    if (stored.patients, stored.images) != (again.patients, again.images):
        return math.inf

    # The largest relative difference of the value and the interval's bounds
    pairs = [(stored.value, again.value)]
    pairs += zip(stored.interval or (), again.interval or (), strict=False)
    return max(abs(old - new) / max(1.0, abs(old)) for old, new in pairs)
