"""The rules by which a tuning selects options: pure functions of saved signals; a smaller score is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.labels import known
from forgetmi.core.model_names import ORIGINAL, is_retrained
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Score
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation import suite
from forgetmi.evaluation.gaps import main_head, stayed
from forgetmi.evaluation.signals import Head, has_inputs, predictions
from forgetmi.evaluation.statistics import once
from forgetmi.evaluation.tasks import measures_of

LARGEST_AUC_LOSS = 0.02  # of validation AUC (of values, explained variance), any head


@dataclass(frozen=True)
class SelectionScore:
    """How good a model is by a rule.

    Args:
        score: To be minimised.
        parts: What it is made of.
        refused: Why this model may not be chosen; empty = it may.
        stayed: Whether it ended where the original was.
    """

    score: float
    parts: dict[str, float]
    refused: str = ""
    stayed: bool = False

    def plain(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "score": self.score,
            "parts": self.parts,
            "refused": self.refused,
            "stayed": self.stayed,
        }


def against_retrains(
    models: Mapping[str, Signals],
    partition: Partition,
    *,
    task: str,
    seed: int,
) -> dict[str, SelectionScore | str]:
    """The rule "retraining": gap to retraining plus mean Jensen-Shannon divergence to it on the forgotten, first head.

    It reads retrained models and test patients, so it belongs on cohorts that are never reported.

    Args:
        models: "original", "retrain-0" ... (two or more) and the models to score.
        partition: Who is in which set.
        task: Name of the cohort's task.
        seed: Root seed of the attack's splits.

    Returns:
        The score of every model that is neither the original nor retrained, or why there is none.
    """
    # Without intervals, which the rule does not read
    evaluation = suite.evaluate(models, partition, task=task, seed=seed, resamples=0)

    def score_of(name: str) -> SelectionScore:
        gap = _value(evaluation, name, "gap")
        jsf = _value(evaluation, name, "jsf", on="forget")
        parts = {"gap": gap, "jsf": jsf}
        return SelectionScore(sum(parts.values()), parts, stayed=stayed(evaluation, name))

    names = [name for name in models if name != ORIGINAL and not is_retrained(name)]
    return {name: _or_reason(score_of, name) for name in names}


def validation_rows(partition: Partition) -> Ints:
    """The rows whose signals `against_validation` needs."""
    return np.sort(np.concatenate([partition.of_request().forget, partition.validation]))


def against_validation(
    models: Mapping[str, Signals], partition: Partition, *, task: str = "classes"
) -> dict[str, SelectionScore | str]:
    """The rule "validation": the forgotten should be predicted as well as validation patients of the same labels.

    Sum over the heads of the absolute difference between the mean loss on the forgotten and on validation
    patients reweighted to the forgotten's labels. A model that loses more than 0.02 of validation AUC in any head is
    refused; one that is no nearer than the original did not forget. No retrained model and no test patient is read.

    Args:
        models: "original" and the models to score; signals of `validation_rows` suffice.
        partition: Who is in which set; what earlier requests had forgotten is not read.
        task: Name of the cohort's task.

    Returns:
        The score of every model but the original, or why there is none.

    Raises:
        EvaluationError: No class is labelled both among the forgotten and in validation, or the models have no heads.
    """
    measures = measures_of(task)
    # What every model is compared with
    original = models[ORIGINAL]
    original_mismatch = sum(_mismatch(original, partition, measures).values())
    original_auc = _validation_auc(original, partition, measures)

    def score_of(name: str) -> SelectionScore:
        mismatch = _mismatch(models[name], partition, measures)
        score = sum(mismatch.values())

        # Utility may fall by little only.
        auc = _validation_auc(models[name], partition, measures)
        auc_lost = {head: original_auc[head] - auc[head] for head in original_auc}
        reasons = []
        for head, loss in auc_lost.items():
            if loss > LARGEST_AUC_LOSS:
                reasons.append(f"loses {loss:.3f} of validation AUC ({head})")

        parts = dict(mismatch)
        parts |= {f"auc_lost_{head}": loss for head, loss in auc_lost.items()}
        return SelectionScore(
            score, parts, refused="; ".join(reasons), stayed=score >= original_mismatch
        )

    names = [name for name in models if name != ORIGINAL]
    return {name: _or_reason(score_of, name) for name in names}


def _or_reason(score_of: Callable[[str], SelectionScore], name: str) -> SelectionScore | str:
    """A model's score, or in words why it has none."""
    try:
        return score_of(name)
    except EvaluationError as error:
        return "; ".join(str(fault) for fault in error.faults)


def _value(evaluation: Evaluation, model: str, name: str, *, on: str = "") -> float:
    """One score of the first head."""
    # A score that failed stops this model alone
    score = evaluation.get(model, name, head=main_head(evaluation), on=on)
    if not isinstance(score, Score):
        raise EvaluationError(Fault(f"{name} cannot be measured", where=model, why=score.reason))
    return score.value


def _mismatch(signals: Signals, partition: Partition, task: TaskMeasures) -> dict[str, float]:
    """Per head: |mean loss on the forgotten - mean loss on validation patients with their label shares|."""
    if not signals.logits:
        raise EvaluationError(
            Fault(
                'the rule "validation" compares what heads predict, and the models have none',
                do='Choose the rule "retraining".',
            )
        )
    mismatch: dict[str, float] = {}
    for head in signals.logits:
        mismatch[head] = _mismatch_of_head(signals, head, partition, task)
    return mismatch


def _mismatch_of_head(
    signals: Signals, head: Head, partition: Partition, task: TaskMeasures
) -> float:
    forget = _labelled(signals, head, partition.of_request().forget)
    validation = _labelled(signals, head, partition.validation)

    # What labels have in common, formed over both sides at once
    group = task.groups(np.concatenate([forget.label, validation.label]))
    of_forget, of_validation = group[: len(forget)], group[len(forget) :]

    # Only classes that both sides have
    classes = np.intersect1d(of_forget, of_validation)
    if not len(classes):
        raise EvaluationError(
            Fault(
                "no class is labelled both among the forgotten and in validation",
                do="Keep more validation patients.",
            )
        )
    shared, of_both = np.isin(of_forget, classes), np.isin(of_validation, classes)
    forget, of_forget = forget.select(forget.row[shared]), of_forget[shared]
    validation, of_validation = validation.select(validation.row[of_both]), of_validation[of_both]

    # Validation images weigh so that their labels are distributed as the forgotten's.
    weight_of_class = {}
    for number in classes:
        share = np.mean(of_forget == number)
        weight_of_class[number] = share / np.sum(of_validation == number)
    weight = np.array([weight_of_class[number] for number in of_validation])

    forget_loss = _loss(forget, head, task).mean()
    validation_loss = (_loss(validation, head, task) * weight).sum()
    return abs(float(forget_loss - validation_loss))


def _loss(signals: Signals, head: Head, task: TaskMeasures) -> Floats:
    return task.loss(predictions(signals, head, task), signals.label)


def _validation_auc(
    signals: Signals, partition: Partition, task: TaskMeasures
) -> dict[Head, float]:
    """Per head: the task's first headline metric, mostly AUC, on the labelled validation images."""
    auc: dict[Head, float] = {}
    for head in signals.logits:
        validation = _labelled(signals, head, partition.validation)
        predicted = predictions(validation, head, task)
        metric = task.score(task.headline[0], predicted, validation.label)
        auc[head] = float(metric(once(len(validation)))[0])
    return auc


def _labelled(signals: Signals, head: Head, rows: Ints) -> Signals:
    """The signals of those of some rows that have a label and what a head reads."""
    chosen = signals.select(rows)
    return chosen.select(chosen.row[known(chosen.label) & has_inputs(chosen, head)])
