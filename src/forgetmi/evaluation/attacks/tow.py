"""Tug-of-war and the average gap: accuracies against those of retrained models (Zhao et al., "What Makes Unlearning
Hard and What to Do About It", NeurIPS 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.partition import SetName
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.distance import symmetric_kl

SETS: tuple[SetName, ...] = ("forget", "retain", "holdout")


def tug_of_war(model: Floats, retrained: Floats) -> float:
    """Product over the sets of 1 - |difference of accuracies|; 1 = as retrained, on every set.

    Args:
        model, retrained: Float[s], accuracies 0..1 on forget, retain and test. For the variant with membership,
            the first is MIA-efficacy.
    """
    return float(np.prod(1 - np.abs(np.asarray(model) - np.asarray(retrained))))


def average_gap(model: Floats, retrained: Floats) -> float:
    """Mean absolute difference of any metrics from a retrained model's (SalUn); 0 = as retrained."""
    return float(np.abs(np.asarray(model) - np.asarray(retrained)).mean())


def prediction_change(one: Floats, two: Floats) -> float:
    """Share of images whose most probable class differs between two models.

    Args:
        one, two: Float[n, k], probabilities, their logarithms, or logits.
    """
    return float((one.argmax(1) != two.argmax(1)).mean())


@dataclass(frozen=True)
class TugOfWar:
    """Tug-of-war against each retrained model, averaged; the retrained models' own value is the ceiling.

    Equal accuracies do not mean equal predictions: the details hold the share of changed predictions and the
    symmetric divergence.
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

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        said = {on: knowledge.log_probabilities(knowledge.audited, on) for on in SETS}

        def accuracies(model: Signals) -> Floats:
            return np.array(
                [
                    (knowledge.log_probabilities(model, on).argmax(1) == knowledge.label(on)).mean()
                    for on in SETS
                ]
            )

        own = accuracies(knowledge.audited)
        others = [accuracies(model) for model in knowledge.retrained]
        details = {"gap": float(np.mean([average_gap(own, other) for other in others]))}
        for on in ("forget", "holdout"):
            pairs = [
                (said[on], knowledge.log_probabilities(model, on)) for model in knowledge.retrained
            ]
            details[f"prediction_change_{on}"] = float(
                np.mean([prediction_change(*pair) for pair in pairs])
            )
            details[f"symmetric_kl_{on}"] = float(
                np.mean([symmetric_kl(*pair).mean() for pair in pairs])
            )
        return Found(
            value=float(np.mean([tug_of_war(own, other) for other in others])),
            unit="images",
            counts={on: len(said[on]) for on in SETS} | {"retrained models": len(others)},
            details=details,
        )
