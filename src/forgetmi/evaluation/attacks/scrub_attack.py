"""SCRUB's membership attack (Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import derive, numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput

FOLDS = 5
CLIP = 100.0  # losses beyond this count as this


def scrub_attack(
    *,
    forget: Floats,
    never_seen: Floats,
    forget_patient: Ints,
    never_seen_patient: Ints,
    seed: int,
    two_sided: bool = True,
) -> float:
    """Accuracy of telling forgotten from never-seen images by their loss; 0.5 = they cannot be told apart.

    Logistic regression, five folds, equal sides (the larger is subsampled), losses clipped to 100. Deviations:
    folds hold whole patients (the published notebook splits images, so that a patient is in training and test), and
    the distance from the training folds' median joins the loss, so that too high a loss is detected as well.

    Args:
        forget, never_seen: Cross-entropies per image.
        forget_patient, never_seen_patient: Patient codes of the images.
        seed: Of subsample and folds.
        two_sided: Whether to add the distance from the median; False = the published attack's feature.

    Raises:
        EvaluationError: A side has fewer patients than folds.

    Examples:
        >>> scrub_attack(
        ...     forget=np.full(10, 0.1),
        ...     never_seen=np.full(10, 2.0),
        ...     forget_patient=np.arange(10),
        ...     never_seen_patient=np.arange(10),
        ...     seed=0,
        ... )
        1.0
    """
    _check_patients(forget_patient, never_seen_patient)

    # Equal sides; the same code may be a patient of both, so that groups are numbered apart.
    size = min(len(forget), len(never_seen))
    forget_loss, forget_owner = _subsample(forget, forget_patient, size, seed, 0)
    other_loss, other_owner = _subsample(never_seen, never_seen_patient, size, seed, 1)
    loss = np.concatenate([forget_loss, other_loss])
    group = np.concatenate([2 * forget_owner, 2 * other_owner + 1])
    is_member = np.repeat([1, 0], size)

    fold_seed = derive(seed, "attacks", "scrub", "folds") % 2**32
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=fold_seed)

    is_right = []
    for train, test in folds.split(loss[:, None], is_member, group):
        # Standardised on the training folds
        middle, spread = np.median(loss[train]), loss[train].std() or 1.0
        features = [(loss - middle) / spread]
        if two_sided:
            features.append(np.abs(loss - middle) / spread)
        table = np.column_stack(features)

        attack = LogisticRegression().fit(table[train], is_member[train])
        is_right.append(attack.predict(table[test]) == is_member[test])
    return float(np.concatenate(is_right).mean())


def _check_patients(forget: Ints, never_seen: Ints) -> None:
    """Each side has a patient for every fold."""
    short = []
    if len(np.unique(forget)) < FOLDS:
        short.append("forgotten")
    if len(np.unique(never_seen)) < FOLDS:
        short.append("never-seen")

    if short:
        raise EvaluationError(
            Fault(
                f"fewer than {FOLDS} patients are {' and '.join(short)}",
                why="each fold needs whole patients of both sides",
            )
        )


def _subsample(
    losses: Floats, patient: Ints, size: int, seed: int, side: int
) -> tuple[Floats, Ints]:
    """So many clipped losses and their patients; the choice does not depend on the order of the records."""
    order = np.lexsort((patient, losses))
    generator = numpy_generator(seed, "attacks", "scrub", side)
    taken = generator.choice(order, size, replace=False)
    return np.clip(losses[taken], -CLIP, CLIP), patient[taken]


@dataclass(frozen=True)
class ScrubAttack:
    """SCRUB's attack on images; never-seen images are those of the forgotten images' classes.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> round(ScrubAttack().apply(toy_knowledge(memory=1.0)).value, 2)
        0.83
        >>> round(ScrubAttack().apply(toy_knowledge(memory=0.0)).value, 2)
        0.5
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="scrub",
        title="SCRUB's membership attack",
        source="Kurmanji et al., NeurIPS 2023",
        measures="accuracy of telling forgotten from never-seen images, either way",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset(),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        patient = knowledge.partition.patient
        forget = knowledge.rows("forget")

        # Never-seen images of the forgotten images' classes
        same_class = np.isin(knowledge.group("holdout"), knowledge.group("forget"))
        never_seen = knowledge.rows("holdout")[same_class]

        accuracy = scrub_attack(
            forget=knowledge.loss(knowledge.audited, "forget"),
            never_seen=knowledge.loss(knowledge.audited, "holdout")[same_class],
            forget_patient=patient[forget],
            never_seen_patient=patient[never_seen],
            seed=knowledge.seed,
        )

        size = min(len(forget), len(never_seen))
        return AttackOutput(
            value=accuracy,
            counts={"forgotten": size, "never seen": size},
            unit="images",
            details={"hidden": 1 - abs(accuracy - 0.5) / 0.5},
            note="" if size >= 100 else "fewer than 100 images a side",
        )
