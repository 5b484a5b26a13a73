"""By what rule a tuning chooses: pure functions of saved signals; smaller is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import is_retrained
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation import suite
from forgetmi.evaluation.gaps import stayed
from forgetmi.evaluation.signals import Head, cross_entropy, log_probabilities
from forgetmi.evaluation.utility import macro_auc

OWN_HEADS: tuple[Head, ...] = ("image", "text")
LARGEST_LOSS = 0.02  # of validation AUC, either head


@dataclass(frozen=True)
class Judgement:
    """What a rule says about one model.

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
    ordinal: bool,
    seed: int,
) -> dict[str, Judgement | str]:
    """The rule "shipped": gap to retraining plus mean Jensen-Shannon divergence to it on the forgotten, image head.

    It reads retrained models and test patients, so it belongs on cohorts that are never reported.

    Args:
        models: "original", "retrain-0" ... (two or more) and the models to judge.
        partition: Who is in which set.
        ordinal: Whether the classes are grades.
        seed: Root seed of the attack's splits.

    Returns:
        A judgement of every model that is neither the original nor retrained, or why there is none.
    """
    evaluation = suite.evaluate(models, partition, ordinal=ordinal, seed=seed, resamples=0)

    def judge(name: str) -> Judgement:
        parts = {
            "gap": _value(evaluation, name, "gap"),
            "jsf": _value(evaluation, name, "jsf", on="forget"),
        }
        return Judgement(sum(parts.values()), parts, stayed=stayed(evaluation, name))

    return {
        name: _or_reason(judge, name)
        for name in models
        if name != "original" and not is_retrained(name)
    }


def own_rows(partition: Partition) -> Ints:
    """The rows whose signals `against_validation` needs."""
    return np.sort(np.concatenate([partition.of_request().forget, partition.validation]))


def against_validation(
    models: Mapping[str, Signals], partition: Partition
) -> dict[str, Judgement | str]:
    """The rule "own": the forgotten should be predicted as well as validation patients of the same labels, no better.

    Sum over both heads of the absolute difference between the mean cross-entropy on the forgotten and on validation
    patients reweighted to the forgotten's labels. A model that loses more than 0.02 of validation AUC in either head is
    refused; one that is no nearer than the original did not forget. No retrained model and no test patient is read.

    Args:
        models: "original" and the models to judge; signals of `own_rows` suffice.
        partition: Who is in which set; what earlier requests had forgotten is not looked at.

    Returns:
        A judgement of every model but the original, or why there is none.

    Raises:
        EvaluationError: No class is labelled both among the forgotten and in validation.
    """
    start, before = (
        _mismatch(models["original"], partition),
        _validation_auc(models["original"], partition),
    )

    def judge(name: str) -> Judgement:
        parts, after = _mismatch(models[name], partition), _validation_auc(models[name], partition)
        lost = {head: before[head] - after[head] for head in OWN_HEADS}
        refused = "; ".join(
            f"loses {loss:.3f} of validation AUC ({head})"
            for head, loss in lost.items()
            if loss > LARGEST_LOSS
        )
        score = sum(parts.values())
        return Judgement(
            score,
            {**parts, **{f"auc_lost_{head}": loss for head, loss in lost.items()}},
            refused,
            stayed=score >= sum(start.values()),
        )

    return {name: _or_reason(judge, name) for name in models if name != "original"}


def _or_reason(judge: Callable[[str], Judgement], name: str) -> Judgement | str:
    try:
        return judge(name)
    except EvaluationError as error:
        return "; ".join(str(fault) for fault in error.faults)


def _value(evaluation: Evaluation, model: str, name: str, *, on: str = "") -> float:
    score = evaluation.get(model, name, head="image", on=on)
    if not isinstance(score, Score):
        raise EvaluationError(Fault(f"{name} cannot be measured", where=model, why=score.reason))
    return score.value


def _mismatch(signals: Signals, partition: Partition) -> dict[str, float]:
    """Per head: |mean loss on the forgotten - mean loss on validation patients with their label shares|."""
    forgotten, never = (
        _labelled(signals, rows) for rows in (partition.of_request().forget, partition.validation)
    )
    classes = np.intersect1d(forgotten.label, never.label)
    if not len(classes):
        raise EvaluationError(
            Fault(
                "no class is labelled both among the forgotten and in validation",
                do="Keep more validation patients.",
            )
        )
    forgotten, never = (
        one.select(one.row[np.isin(one.label, classes)]) for one in (forgotten, never)
    )
    share = {c: np.mean(forgotten.label == c) / np.sum(never.label == c) for c in classes}
    weight = np.array([share[c] for c in never.label])
    return {
        head: abs(float(_loss(forgotten, head).mean() - (_loss(never, head) * weight).sum()))
        for head in OWN_HEADS
    }


def _loss(signals: Signals, head: Any) -> Floats:
    return cross_entropy(log_probabilities(signals, head), signals.label)


def _validation_auc(signals: Signals, partition: Partition) -> dict[str, float]:
    never = _labelled(signals, partition.validation)
    return {
        head: float(macro_auc(np.exp(log_probabilities(never, head)), never.label)[0])
        for head in OWN_HEADS
    }


def _labelled(signals: Signals, rows: Any) -> Signals:
    chosen = signals.select(rows)
    return chosen.select(chosen.row[chosen.label >= 0])
