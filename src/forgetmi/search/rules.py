"""The rules by which a tuning selects options: pure functions of saved signals; a smaller score is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import ORIGINAL, is_retrained
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation import suite
from forgetmi.evaluation.gaps import stayed
from forgetmi.evaluation.signals import Head, cross_entropy, log_probabilities
from forgetmi.evaluation.utility import macro_auc

HEADS: tuple[Head, ...] = ("image", "text")
LARGEST_AUC_LOSS = 0.02  # of validation AUC, either head


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
    """The rule "retraining": gap to retraining plus mean Jensen-Shannon divergence to it on the forgotten, image head.

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
    models: Mapping[str, Signals], partition: Partition
) -> dict[str, SelectionScore | str]:
    """The rule "validation": the forgotten should be predicted as well as validation patients of the same labels.

    Sum over both heads of the absolute difference between the mean cross-entropy on the forgotten and on validation
    patients reweighted to the forgotten's labels. A model that loses more than 0.02 of validation AUC in either head is
    refused; one that is no nearer than the original did not forget. No retrained model and no test patient is read.

    Args:
        models: "original" and the models to score; signals of `validation_rows` suffice.
        partition: Who is in which set; what earlier requests had forgotten is not read.

    Returns:
        The score of every model but the original, or why there is none.

    Raises:
        EvaluationError: No class is labelled both among the forgotten and in validation.
    """
    # What every model is compared with
    original = models[ORIGINAL]
    original_mismatch = sum(_mismatch(original, partition).values())
    original_auc = _validation_auc(original, partition)

    def score_of(name: str) -> SelectionScore:
        mismatch = _mismatch(models[name], partition)
        score = sum(mismatch.values())

        # Utility may fall by little only.
        auc = _validation_auc(models[name], partition)
        auc_lost = {head: original_auc[head] - auc[head] for head in HEADS}
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
    """One score of the image head."""
    # A score that failed stops this model alone
    score = evaluation.get(model, name, head="image", on=on)
    if not isinstance(score, Score):
        raise EvaluationError(Fault(f"{name} cannot be measured", where=model, why=score.reason))
    return score.value


def _mismatch(signals: Signals, partition: Partition) -> dict[str, float]:
    """Per head: |mean loss on the forgotten - mean loss on validation patients with their label shares|."""
    forget = _labelled(signals, partition.of_request().forget)
    validation = _labelled(signals, partition.validation)

    # Only classes that both sides have
    classes = np.intersect1d(forget.label, validation.label)
    if not len(classes):
        raise EvaluationError(
            Fault(
                "no class is labelled both among the forgotten and in validation",
                do="Keep more validation patients.",
            )
        )
    forget = forget.select(forget.row[np.isin(forget.label, classes)])
    validation = validation.select(validation.row[np.isin(validation.label, classes)])

    # Validation images weigh so that their labels are distributed as the forgotten's.
    weight_of_class = {}
    for number in classes:
        share = np.mean(forget.label == number)
        weight_of_class[number] = share / np.sum(validation.label == number)
    weight = np.array([weight_of_class[number] for number in validation.label])

    mismatch: dict[str, float] = {}
    for head in HEADS:
        forget_loss = _loss(forget, head).mean()
        validation_loss = (_loss(validation, head) * weight).sum()
        mismatch[head] = abs(float(forget_loss - validation_loss))
    return mismatch


def _loss(signals: Signals, head: Head) -> Floats:
    return cross_entropy(log_probabilities(signals, head), signals.label)


def _validation_auc(signals: Signals, partition: Partition) -> dict[Head, float]:
    """Per head: macro AUC on the labelled validation images."""
    validation = _labelled(signals, partition.validation)

    auc: dict[Head, float] = {}
    for head in HEADS:
        probabilities = np.exp(log_probabilities(validation, head))
        auc[head] = float(macro_auc(probabilities, validation.label)[0])
    return auc


def _labelled(signals: Signals, rows: Ints) -> Signals:
    """The signals of those of some rows that have a label."""
    # Unknown labels are -1
    chosen = signals.select(rows)
    return chosen.select(chosen.row[chosen.label >= 0])
