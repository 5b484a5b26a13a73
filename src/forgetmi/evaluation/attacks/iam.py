"""IAM, interpolated approximate measurement (Wang et al., "Towards Lifecycle Unlearning Commitment Management",
2025)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput

# The paper's two small constants; they keep both logarithms finite.
_EPS1, _EPS2 = 1e-2, 1e-5


def transform(probability: Floats) -> Floats:
    """IAM's signal of the true class's probability, scaled so that 0 and 1 keep their places.

    Examples:
        >>> transform(np.array([0.0, 0.5, 1.0])).round(3)
        array([0.   , 0.397, 1.   ])
    """

    def raw(probability: Floats) -> Floats:
        return -np.log(_EPS1 - np.log(_EPS2 + probability))

    low, high = raw(np.zeros(1)), raw(np.ones(1))
    return (raw(probability) - low) / (high - low)


def iam(
    *,
    unlearned: Floats,
    original: Floats,
    outside: Floats,
    steps: int = 100,
    spread: Literal["pooled", "record"] = "pooled",
) -> Floats:
    """How far each record has moved from "trained on" to "never trained on": 1 = unlearned, 0 = as before.

    Signals of models that never saw the record are interpolated towards the original model's; a Gumbel distribution
    fitted by moments at each step says how far along the unlearned model still is, and steps weigh by how near the
    original they are. Heuristic: read it against a retrained model's score. The weights are shifted by one step
    against the distributions, as in the published code.

    Args:
        unlearned, original: Float[p], transformed signals.
        outside: Float[m, p], m >= 1 models that never saw the records.
        steps: Interpolation points, >= 3.
        spread: Standard deviation over models and records together, or of each record (needs several models).

    Returns:
        Float[p], 0..1.

    Examples:
        One record is as in the original, the other as if it had never been seen.

        >>> outside = np.array([[0.1, 0.1], [0.2, 0.2]])
        >>> original = np.array([0.9, 0.9])
        >>> score = iam(unlearned=np.array([0.9, 0.1]), original=original, outside=outside)
        >>> bool(score[0] < 0.2), bool(score[1] > 0.8)
        (True, True)
    """
    alpha = np.linspace(0, 1, steps)
    centre, gap = outside.mean(0), original - outside.mean(0)

    score = np.zeros(len(unlearned))
    for position, weight in pairwise(alpha):
        # Signals this far along the way from "never trained on" (0) to "trained on" (1)
        mixed = outside + position * (original - outside)
        sigma = mixed.std() if spread == "pooled" else mixed.std(0)

        # A Gumbel distribution with the same mean and standard deviation
        scale = np.maximum(sigma, 1e-10) * np.sqrt(6) / np.pi
        location = centre + position * gap - np.euler_gamma * scale
        exponent = np.clip(-(unlearned - location) / scale, -700, 700)
        score += weight * np.exp(-np.exp(exponent))

    return 1 - score / alpha[1:].sum()


@dataclass(frozen=True)
class Iam:
    """IAM with the retrained models as those that never saw the patients; a triage that needs no extra training.

    Without any retrained model, shadow models stand in, each for the patients it left out.

    Its value is the mean over the forgotten patients. A patient whom the original knows no better than the retrained
    models do has nothing to unlearn: the score is undefined there, and such patients are left out and counted.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> round(Iam().apply(toy_knowledge(memory=1.0)).value, 2)
        0.08
        >>> round(Iam().apply(toy_knowledge(memory=0.0)).value, 2)
        0.97
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="iam",
        title="IAM",
        source="Wang et al., 2025",
        measures="mean unlearning score of the forgotten patients, 1 = unlearned, 0 = as before",
        direction="lower",
        reference="retrained",
        forgotten=None,
        needs=frozenset({"original", "references"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        unlearned = transform(knowledge.probability(knowledge.audited, "forget"))
        original = transform(knowledge.probability(knowledge.signals["original"], "forget"))
        outside = transform(knowledge.outside_probability("forget"))
        score = iam(unlearned=unlearned, original=original, outside=outside)

        # Defined where the original's signal stands out of the scatter of models that never saw the patient
        scatter = outside.std(0).mean() if len(outside) > 1 else outside.std()
        is_defined = original - outside.mean(0) > scatter
        defined = score[is_defined]
        if not len(defined):
            raise EvaluationError(
                Fault(
                    "the original knows none of the forgotten patients better than retrained "
                    "models do",
                    why="there was nothing to unlearn",
                )
            )

        return AttackOutput(
            value=float(defined.mean()),
            counts={"forgotten": len(defined), "undefined": int((~is_defined).sum())},
            details={"lowest": float(defined.min())},
            scores={"forgotten": np.where(is_defined, 1 - score, 0.0)},
            note=f"{len(outside)} reference models",
        )
