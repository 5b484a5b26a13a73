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
from forgetmi.core.partition import SetName
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.svm_loss import MAX_IMAGES_PER_SIDE, SVM_C

Classifier = Literal["svm", "logistic"]
Feature = Literal["confidence", "correctness", "entropy", "modified_entropy", "probabilities"]
FEATURES: tuple[Feature, ...] = (
    "confidence",
    "correctness",
    "entropy",
    "modified_entropy",
    "probabilities",
)


def entropy(log_probability: Floats) -> Floats:
    """Shannon entropy of each prediction, in nats; Float[n].

    Examples:
        >>> entropy(np.log([[0.5, 0.5], [0.25, 0.75]])).round(3)
        array([0.693, 0.562])
    """
    return -(np.exp(log_probability) * log_probability).sum(1)


def modified_entropy(log_probability: Floats, label: Ints) -> Floats:
    """Modified entropy (Song and Mittal 2021): 0 for a sure and right prediction, large for a sure and wrong one.

    -(1 - p_y) log p_y - sum over the other classes of p_c log(1 - p_c). A widely copied implementation indexes the
    labels of the whole batch for every image and takes log p where log(1 - p) is meant.

    Args:
        log_probability: Float[n, k].
        label: Int[n].

    Examples:
        >>> log_probability = np.log([[0.99, 0.01], [0.01, 0.99]])
        >>> modified_entropy(log_probability, np.array([0, 0])).round(3)
        array([0.   , 9.118])
    """
    probability = np.exp(log_probability)
    images = np.arange(len(label))

    # The true class
    right = -(1 - probability[images, label]) * log_probability[images, label]

    # The other classes
    others = np.maximum(1 - probability, np.finfo(np.float64).tiny)
    wrong = -probability * np.log(others)
    wrong[images, label] = 0
    return right + wrong.sum(1)


def feature(name: Feature, log_probability: Floats, label: Ints) -> Floats:
    """What an attack reads of each image: Float[n, 1], or Float[n, k] for the probabilities.

    Examples:
        >>> feature("confidence", np.log([[0.25, 0.75]]), np.array([1]))
        array([[0.75]])
    """
    if name == "confidence":
        values = np.exp(log_probability[np.arange(len(label)), label])
    elif name == "correctness":
        values = (log_probability.argmax(1) == label).astype(np.float64)
    elif name == "entropy":
        values = entropy(log_probability)
    elif name == "modified_entropy":
        values = modified_entropy(log_probability, label)
    else:
        values = np.exp(log_probability)
    return values.reshape(len(label), -1)


def member_fraction(
    *,
    retain: Floats,
    never_seen: Floats,
    queries: Floats,
    classifier: Classifier,
    seed: int,
) -> float:
    """Share of the queried images that an attack trained on retained against never-seen images takes for members.

    "svm" (l1-sparse, SalUn): a support vector machine, C = 3, radial kernel, gamma = 1 / number of features, on equal
    sides. "logistic" (SSD): logistic regression on all retained images, classes weighted equally. Deviations: sides
    are drawn at random, not the first ones; at most 2,000 images a side for the machine.

    Args:
        retain, never_seen, queries: Float[n, d] features.
        classifier: Which.
        seed: Of the subsample.

    Raises:
        EvaluationError: A set is empty.

    Examples:
        >>> member_fraction(
        ...     retain=np.array([[0.9], [0.8], [0.95]]),
        ...     never_seen=np.array([[0.2], [0.1], [0.3]]),
        ...     queries=np.array([[0.85], [0.15]]),
        ...     classifier="svm",
        ...     seed=0,
        ... )
        0.5
    """
    if not (len(retain) and len(never_seen) and len(queries)):
        raise EvaluationError(Fault("a set has no labelled images"))

    # The machine takes equally many images of both sides, the regression takes all.
    size = None
    if classifier == "svm":
        size = min(len(retain), len(never_seen), MAX_IMAGES_PER_SIDE)

    # The choice of rows depends on the seed and the side alone
    members = _subsample(retain, size, seed, 0)
    others = _subsample(never_seen, size, seed, 1)

    # Fit on both sides, then query
    features = np.concatenate([members, others])
    is_member = np.repeat([1, 0], [len(members), len(others)])
    if classifier == "svm":
        attack = SVC(C=SVM_C, kernel="rbf", gamma="auto")
    else:
        attack = LogisticRegression(class_weight="balanced")
    attack.fit(features, is_member)
    return float(np.mean(attack.predict(queries)))


def _subsample(values: Floats, size: int | None, seed: int, side: int) -> Floats:
    """So many rows at random, None = all; the choice does not depend on the order of the records."""
    ordered = values[np.lexsort(values.T)]
    if size is None:
        return ordered
    generator = numpy_generator(seed, "attacks", "efficacy", side)
    return generator.choice(ordered, size, replace=False, axis=0)


def _attack(
    knowledge: AdversaryKnowledge, name: Feature, classifier: Classifier
) -> tuple[float, dict[str, int]]:
    """The share of forgotten images taken for members by one feature, and how many images there are."""

    def features_of(set_name: SetName) -> Floats:
        log_probability = knowledge.log_probabilities(knowledge.audited, set_name)
        return feature(name, log_probability, knowledge.label(set_name))

    # Retained images are members, held-out ones are not
    retain = features_of("retain")
    never_seen = features_of("holdout")
    forget = features_of("forget")

    members = member_fraction(
        retain=retain,
        never_seen=never_seen,
        queries=forget,
        classifier=classifier,
        seed=knowledge.seed,
    )
    counts = {"forgotten": len(forget), "never seen": len(never_seen), "retained": len(retain)}
    return members, counts


@dataclass(frozen=True)
class MiaEfficacy:
    """Share of forgotten images taken for NON-members: higher = better hidden; 1 minus the member fraction.

    Perfect forgetting is the retrained models' value, not 1.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> MiaEfficacy().apply(toy_knowledge(memory=1.0)).value
        0.0
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        # One attack per feature; confidence is the headline
        efficacy: dict[str, float] = {}
        counts: dict[str, int] = {}
        for name in FEATURES:
            members, counts = _attack(knowledge, name, "svm")
            efficacy[name] = 1 - members

        return AttackOutput(
            value=efficacy["confidence"],
            counts=counts,
            unit="images",
            details=efficacy,
            note="by confidence; for comparison with published tables",
        )


@dataclass(frozen=True)
class EntropyMia:
    """Share of forgotten images taken for MEMBERS by their entropy: lower = better hidden; see `MiaEfficacy`.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> EntropyMia().apply(toy_knowledge(memory=1.0)).value
        1.0
    """

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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        # The entropy attack takes all retained images
        members, counts = _attack(knowledge, "entropy", "logistic")
        return AttackOutput(
            value=members,
            counts=counts,
            unit="images",
            details={"efficacy": 1 - members},
            note="for comparison with published tables",
        )
