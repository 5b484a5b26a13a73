"""Tug-of-war and the average gap: accuracies against those of retrained models (Zhao et al., "What Makes Unlearning
Hard and What to Do About It", NeurIPS 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.partition import SetName
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.distance import symmetric_kl

SETS: tuple[SetName, ...] = ("forget", "retain", "holdout")


def tug_of_war(model: Floats, retrained: Floats) -> float:
    """Product over the sets of 1 - |difference of accuracies|; 1 = as retrained, on every set.

    Args:
        model, retrained: Float[s], accuracies 0..1 on forget, retain and test. For the variant with membership,
            the first is MIA-efficacy.

    Examples:
        >>> tug_of_war(np.array([1.0, 0.75, 0.5]), np.array([0.5, 0.75, 0.5]))
        0.5
    """
    return float(np.prod(1 - np.abs(np.asarray(model) - np.asarray(retrained))))


def average_gap(model: Floats, retrained: Floats) -> float:
    """Mean absolute difference of any metrics from a retrained model's (SalUn); 0 = as retrained.

    Examples:
        >>> average_gap(np.array([1.0, 0.75]), np.array([0.5, 0.75]))
        0.25
    """
    return float(np.abs(np.asarray(model) - np.asarray(retrained)).mean())


def prediction_change(first: Floats, second: Floats) -> float:
    """Share of images whose most probable class differs between two models.

    Args:
        first, second: Float[n, k], probabilities, their logarithms, or logits.

    Examples:
        >>> prediction_change(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.8, 0.2], [0.7, 0.3]]))
        0.5
    """
    return float((first.argmax(1) != second.argmax(1)).mean())


@dataclass(frozen=True)
class TugOfWar:
    """Tug-of-war against each retrained model, averaged; the retrained models' own value is the ceiling.

    Equal accuracies do not mean equal predictions: the details hold the share of changed predictions and the
    symmetric divergence.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> round(TugOfWar().apply(toy_knowledge(memory=1.0)).value, 2)
        0.6
        >>> round(TugOfWar().apply(toy_knowledge(memory=0.0)).value, 2)
        0.84
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="tow",
        title="Tug-of-war (ToW)",
        source="Zhao et al., NeurIPS 2024",
        measures="closeness of three accuracies to retraining, 1 = equal",
        direction="apart",
        reference="retrained",
        forgotten=1.0,
        needs=frozenset({"retrained", "retain rows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        # Accuracies of the attacked and of every retrained model
        model = _accuracies(knowledge, knowledge.audited)
        retrained = [_accuracies(knowledge, other) for other in knowledge.retrained]

        # Averaged over the retrained models
        value = float(np.mean([tug_of_war(model, other) for other in retrained]))
        details = {"gap": float(np.mean([average_gap(model, other) for other in retrained]))}
        if knowledge.measures.one_class:
            details |= _prediction_details(knowledge, "forget")
            details |= _prediction_details(knowledge, "holdout")

        # Images of each set, and models
        counts = {name: len(knowledge.rows(name)) for name in SETS}
        counts["retrained models"] = len(retrained)
        return AttackOutput(value=value, unit="images", counts=counts, details=details)


def _accuracies(knowledge: AdversaryKnowledge, model: Signals) -> Floats:
    """Float[3]: share of right predictions on each of `SETS`."""
    accuracies = []
    for name in SETS:
        right = knowledge.correct(model, name)
        if right is None:
            raise EvaluationError(Fault(f"the task {knowledge.task} has no accuracy"))
        accuracies.append(right.mean())
    return np.array(accuracies)


def _prediction_details(knowledge: AdversaryKnowledge, set_name: SetName) -> dict[str, float]:
    """How far the predictions on a set are from each retrained model's, averaged over these."""
    # Predictions may differ where accuracies agree
    audited = knowledge.log_probabilities(knowledge.audited, set_name)

    changes, divergences = [], []
    for model in knowledge.retrained:
        retrained = knowledge.log_probabilities(model, set_name)
        changes.append(prediction_change(audited, retrained))
        divergences.append(symmetric_kl(audited, retrained).mean())

    return {
        f"prediction_change_{set_name}": float(np.mean(changes)),
        f"symmetric_kl_{set_name}": float(np.mean(divergences)),
    }
