"""MIA-efficacy (Jia et al., "Model Sparsity Can Simplify Machine Unlearning", NeurIPS 2023; Fan et al., SalUn, 2024)
and the entropy attack (Golatkar et al. 2020; Chundawat et al., Bad Teaching, 2023; Foster et al., SSD, 2024).

The two are read in opposite directions. Both are here to compare with published tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.membership import PER_SIDE

Feature = Literal["confidence", "correctness", "entropy", "modified_entropy", "probabilities"]
FEATURES: tuple[Feature, ...] = (
    "confidence",
    "correctness",
    "entropy",
    "modified_entropy",
    "probabilities",
)


def entropy(log_probability: Floats) -> Floats:
    """Shannon entropy of each prediction, in nats; Float[n]."""
    return -(np.exp(log_probability) * log_probability).sum(1)


def modified_entropy(log_probability: Floats, label: Ints) -> Floats:
    """Modified entropy (Song and Mittal 2021): 0 for a sure and right prediction, large for a sure and wrong one.

    -(1 - p_y) log p_y - sum over the other classes of p_c log(1 - p_c). A widely copied implementation indexes the
    labels of the whole batch for every image and takes log p where log(1 - p) is meant.

    Args:
        log_probability: Float[n, k].
        label: Int[n].
    """
    probability, at = np.exp(log_probability), np.arange(len(label))
    right = -(1 - probability[at, label]) * log_probability[at, label]
    wrong = -probability * np.log(np.maximum(1 - probability, np.finfo(np.float64).tiny))
    wrong[at, label] = 0
    return right + wrong.sum(1)


def feature(name: Feature, log_probability: Floats, label: Ints) -> Floats:
    """What an attack looks at, Float[n, 1], or Float[n, k] for the probabilities."""
    at = np.arange(len(label))
    values = {
        "confidence": lambda: np.exp(log_probability[at, label]),
        "correctness": lambda: (log_probability.argmax(1) == label).astype(np.float64),
        "entropy": lambda: entropy(log_probability),
        "modified_entropy": lambda: modified_entropy(log_probability, label),
        "probabilities": lambda: np.exp(log_probability),
    }[name]()
    return values.reshape(len(label), -1)


def member_fraction(
    *,
    retain: Floats,
    never_seen: Floats,
    asked: Floats,
    classifier: Literal["svm", "logistic"],
    seed: int,
) -> float:
    """Share of the asked images that an attack trained on retained against never-seen images takes for members.

    "svm" (l1-sparse, SalUn): a support vector machine, C = 3, radial kernel, gamma = 1 / number of features, on equal
    sides. "logistic" (SSD): logistic regression on all retained images, classes weighted equally. Deviations: sides
    are drawn at random, not the first ones; at most 2,000 images a side for the machine.

    Args:
        retain, never_seen, asked: Float[n, d] features.
        classifier: Which.
        seed: Of the subsample.

    Raises:
        EvaluationError: A set is empty.
    """
    if not (len(retain) and len(never_seen) and len(asked)):
        raise EvaluationError(Fault("a set has no labelled images"))
    size = min(len(retain), len(never_seen), PER_SIDE) if classifier == "svm" else None
    sides = []
    for side, values in enumerate((retain, never_seen)):
        ordered = values[
            np.lexsort(values.T)
        ]  # the subsample must not depend on the order of the records
        generator = numpy_generator(seed, "attacks", "efficacy", side)
        sides.append(
            ordered if size is None else generator.choice(ordered, size, replace=False, axis=0)
        )
    x, y = np.concatenate(sides), np.repeat([1, 0], [len(side) for side in sides])
    attack = (
        SVC(C=3.0, kernel="rbf", gamma="auto")
        if classifier == "svm"
        else LogisticRegression(class_weight="balanced")
    )
    return float(attack.fit(x, y).predict(asked).mean())


def _attack(
    knowledge: AdversaryKnowledge, name: Feature, classifier: Literal["svm", "logistic"]
) -> tuple[float, dict[str, int]]:
    retain, never_seen, asked = (
        feature(name, knowledge.log_probabilities(knowledge.audited, on), knowledge.label(on))
        for on in ("retain", "holdout", "forget")
    )
    counts = {"forgotten": len(asked), "never seen": len(never_seen), "retained": len(retain)}
    return member_fraction(
        retain=retain,
        never_seen=never_seen,
        asked=asked,
        classifier=classifier,
        seed=knowledge.seed,
    ), counts


@dataclass(frozen=True)
class MiaEfficacy:
    """Share of forgotten images taken for NON-members: higher = better hidden; 1 minus the member fraction.

    Perfect forgetting is the retrained models' value, not 1.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="mia_efficacy",
        title="MIA-efficacy",
        source="Jia et al., NeurIPS 2023; Fan et al., ICLR 2024",
        measures="share of forgotten images taken for non-members",
        direction="lower",
        reference="retrained",
        forgotten=None,
        needs=frozenset({"retain rows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        found = {name: _attack(knowledge, name, "svm") for name in FEATURES}
        efficacy = {name: 1 - members for name, (members, _) in found.items()}
        return Found(
            value=efficacy["confidence"],
            counts=found["confidence"][1],
            unit="images",
            details=efficacy,
            note="by confidence; for comparison with published tables",
        )


@dataclass(frozen=True)
class EntropyMia:
    """Share of forgotten images taken for MEMBERS by their entropy: lower = better hidden; see `MiaEfficacy`."""

    info: ClassVar[AttackInfo] = AttackInfo(
        name="entropy_mia",
        title="Entropy attack",
        source="Golatkar et al. 2020; Foster et al. 2024",
        measures="share of forgotten images taken for members",
        direction="higher",
        reference="retrained",
        forgotten=None,
        needs=frozenset({"retain rows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        members, counts = _attack(knowledge, "entropy", "logistic")
        return Found(
            value=members,
            counts=counts,
            unit="images",
            details={"efficacy": 1 - members},
            note="for comparison with published tables",
        )
