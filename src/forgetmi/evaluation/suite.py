"""Every score of every model of a run, from saved signals alone: no model and no method is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from forgetmi.core.arrays import Labels
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import ORIGINAL, retrained_names
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.gaps import FLOOR, gap_kinds, gaps
from forgetmi.evaluation.measured_model import measured_model
from forgetmi.evaluation.measured_set import (
    MEASURED,
    MeasuredSet,
    compared_images,
    left_out,
    measured_sets,
)
from forgetmi.evaluation.measures import measure_model
from forgetmi.evaluation.scores import Key, Measure, key_of
from forgetmi.evaluation.tasks import measures_of

FEW_PATIENTS = 20  # labelled forgotten patients below which intervals are too narrow

Measures = dict[Key, Measure | Failed]


def evaluate(
    signals: Mapping[str, Signals],
    partition: Partition,
    *,
    task: str,
    classes: Sequence[str] = (),
    seed: int,
    resamples: int = 1000,
    on_step: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure every model on the forgotten, the held-out ("test") and the retained patients.

    Utility, membership inference and distances per head, each with a 95 % interval from resampled patients (the same
    patients for every model; none on retain), and the gap to retraining. The image head is the one Forget-MI
    (arXiv 2506.23145) reports. Validation patients are not read.

    Args:
        signals: Model name to signals: "original", "retrain-0" ... "retrain-k", and any other name for unlearned
            models. Each has at least the forget, retain and holdout rows.
        partition: Who is in which set; what earlier requests had forgotten is not measured.
        task: Name of the cohort's task, which says what is measured: of grades also pairwise and ordinal AUC and the
            error of the expected grade.
        classes: Names of the classes or findings, for notes; empty = they are numbered.
        seed: Root seed; resamples and attack splits derive from it.
        resamples: Bootstrap resamples, >= 0 (0 = no intervals).
        on_step: Called with each model's name when it is done.

    Returns:
        Scores per model, and under "retrain" the gap of the retrained models among themselves. What cannot be
        measured is a `Failed` with the reason.

    Raises:
        EvaluationError: Signals are of another cohort, lack rows, or disagree in heads, classes or labels; all faults
            at once.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> toy = toy_knowledge(memory=1.0)
        >>> evaluation = evaluate(toy.signals, toy.partition, task="classes", seed=0, resamples=0)
        >>> forget_auc = evaluation.get("unlearned", "auc", head="image", on="forget")
        >>> forget_auc.value, round(forget_auc.reference, 2), forget_auc.better
        (1.0, 0.82, 'closer')
    """
    measured_task = measures_of(task)
    _check(signals, partition, measured_task, classes)
    any_signals = next(iter(signals.values()))
    sets = measured_sets(any_signals, partition.of_request(), seed=seed, resamples=resamples)

    models = {}
    for name, of_model in signals.items():
        models[name] = measured_model(of_model, sets, task=measured_task, names=classes)
    retrained = retrained_names(models)

    # Every model by itself, and compared with the original and the other retrained models
    measures: dict[str, Measures] = {}
    for name, model in models.items():
        of_model = measure_model(
            model,
            original=None if name == ORIGINAL else models.get(ORIGINAL),
            retrained=[models[other] for other in retrained if other != name],
            seed=seed,
        )
        measures[name] = {key_of(measure): measure for measure in of_model}
        if on_step is not None:
            on_step(name)

    # The gap rests on other measures of all models.
    kinds = gap_kinds(any_signals, measured_task)
    samples = {kind.head: compared_images(sets, kind.head) for kind in kinds}
    for name, of_gap in gaps(measures, retrains=retrained, samples=samples, kinds=kinds).items():
        by_key = {key_of(measure): measure for measure in of_gap}
        measures.setdefault(name, {}).update(by_key)

    references = _references([measures[name] for name in retrained])
    scores = {name: _scores(by_key, references) for name, by_key in measures.items()}
    unread = left_out(any_signals, sets)
    return Evaluation(scores, (*_notes(sets, retrained, resamples), *unread))


def table(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One plain row per model and score, for CSV, Parquet or a data frame; failed ones keep their reason.

    Returns:
        Rows with the same columns: model, name, head, on, value, low, high, patients, images, better, reference, note,
        failed. A missing number is None.

    Examples:
        >>> evaluation = Evaluation({"original": (Failed("auc", "no labels", "image", "test"),)})
        >>> row, = table(evaluation)
        >>> row["model"], row["name"], row["value"], row["failed"]
        ('original', 'auc', None, 'no labels')
    """
    return evaluation.rows()


def _check(
    signals: Mapping[str, Signals],
    partition: Partition,
    task: TaskMeasures,
    classes: Sequence[str],
) -> None:
    """All models are of the partition's cohort, have the rows to measure, and agree in classes and labels."""
    if not signals:
        raise EvaluationError(Fault("there are no signals to evaluate"))

    faults = []
    if FLOOR in signals:
        faults.append(
            Fault(
                f"a model may not be named {FLOOR!r}",
                do=f"Name retrained models {FLOOR}-0, {FLOOR}-1.",
            )
        )

    # Every model needs all rows that are measured
    rows = np.concatenate([partition.rows(source) for source in MEASURED.values()])
    expected: tuple[tuple[tuple[str, ...], int], Labels] | None = None
    for name, of_model in signals.items():
        if of_model.cohort != partition.cohort:
            faults.append(Fault("the signals are of another cohort than the partition", where=name))
            continue

        missing = len(np.setdiff1d(rows, of_model.row))
        if missing:
            faults.append(
                Fault(
                    f"{missing} of the {len(rows)} rows to measure are missing",
                    where=name,
                    do="Collect signals of the forget, retain and holdout rows.",
                )
            )
            continue

        # The others must agree with the first complete model.
        labels = of_model.select(rows).label
        comparable = tuple(of_model.logits), of_model.classes
        if expected is None:
            expected = comparable, labels
            faults += task.faults(labels, of_model.classes, classes)
            faults += _heads_missing(of_model, task)
        same = comparable == expected[0] and _equal(labels, expected[1])
        if not same:
            faults.append(
                Fault("the heads, classes or labels differ from the other models'", where=name)
            )

    if faults:
        raise EvaluationError(faults)


def _heads_missing(signals: Signals, task: TaskMeasures) -> list[Fault]:
    """Labels are predicted by heads; pairs alone need none."""
    if signals.logits or task.name == "pairs":
        return []
    return [
        Fault(
            f"the model has no head, which the task {task.name} needs",
            do="Name the task pairs (--cohort.task), or give a model with a head.",
        )
    ]


def _equal(first: Labels, second: Labels) -> bool:
    """Whether labels are the same; two that are unknown are."""
    both_float = first.dtype.kind == second.dtype.kind == "f"
    return np.array_equal(first, second, equal_nan=both_float)


def _references(retrained: Sequence[Measures]) -> dict[Key, float]:
    """Mean over the retrained models of every score that all of them have; of the gap it is the floor."""
    if not retrained:
        return {}

    references = {}
    for key in retrained[0]:
        values = []
        for measures in retrained:
            measure = measures.get(key)
            if isinstance(measure, Measure):
                values.append(measure.values[0])
        if len(values) == len(retrained):
            references[key] = float(np.mean(values))
    return references


def _scores(measures: Measures, references: Mapping[Key, float]) -> tuple[Score | Failed, ...]:
    """A model's measures as scores, each with its reference value."""
    scores: list[Score | Failed] = []
    for key, measure in measures.items():
        if isinstance(measure, Failed):
            scores.append(measure)
        else:
            scores.append(measure.score(references.get(key)))
    return tuple(scores)


def _notes(
    sets: Mapping[str, MeasuredSet], retrained: Sequence[str], resamples: int
) -> tuple[str, ...]:
    """What the reader must know about all scores."""
    notes = [
        f"Intervals are 95 % percentile intervals over {resamples} resamples of whole patients, the same for every "
        "model; retrained models and attacks are held fixed.",
        "The gap is a mean of absolute differences: it and its interval are biased upwards and never reach 0. Read it "
        "beside gap_floor, the retrained models' own gap.",
    ]

    # Few patients, few models
    patients = sets["forget"].labelled.images.patients
    if patients < FEW_PATIENTS:
        notes.append(
            f"Only {patients} forgotten patients have labels: intervals cover less than they state."
        )
    if len(retrained) < 2:
        notes.append(
            f"{len(retrained)} retrained models: without at least two no gap can be given, and nothing shows "
            "how much retraining itself varies."
        )
    return tuple(notes)
