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
from forgetmi.evaluation.attacks.base import AttackInfo, Found

FOLDS, CLIP = 5, 100.0


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
    the distance from the training folds' median joins the loss, so that too high a loss is found as well.

    Args:
        forget, never_seen: Cross-entropies per image.
        forget_patient, never_seen_patient: Patient codes of the images.
        seed: Of subsample and folds.
        two_sided: Whether to add the distance from the median; False = the published attack's feature.

    Raises:
        EvaluationError: A side has fewer patients than folds.
    """
    short = [
        name
        for name, patient in (("forgotten", forget_patient), ("never-seen", never_seen_patient))
        if len(np.unique(patient)) < FOLDS
    ]
    if short:
        raise EvaluationError(
            Fault(
                f"fewer than {FOLDS} patients are {' and '.join(short)}",
                why="each fold needs whole patients of both sides",
            )
        )
    size = min(len(forget), len(never_seen))
    loss, patient = [], []
    for side, (values, owner) in enumerate(
        ((forget, forget_patient), (never_seen, never_seen_patient))
    ):
        order = np.lexsort(
            (owner, values)
        )  # the subsample must not depend on the order of the records
        taken = numpy_generator(seed, "attacks", "scrub", side).choice(order, size, replace=False)
        loss.append(np.clip(values[taken], -CLIP, CLIP))
        patient.append(2 * owner[taken] + side)
    x, group, member = np.concatenate(loss), np.concatenate(patient), np.repeat([1, 0], size)
    folds = StratifiedGroupKFold(
        FOLDS, shuffle=True, random_state=derive(seed, "attacks", "scrub", "folds") % 2**32
    )
    hits = []
    for train, test in folds.split(x[:, None], member, group):
        middle, spread = np.median(x[train]), x[train].std() or 1.0
        feature = np.column_stack(
            [(x - middle) / spread] + ([np.abs(x - middle) / spread] if two_sided else [])
        )
        attack = LogisticRegression().fit(feature[train], member[train])
        hits.append(attack.predict(feature[test]) == member[test])
    return float(np.concatenate(hits).mean())


@dataclass(frozen=True)
class ScrubAttack:
    """SCRUB's attack on images; never-seen images are those of the forgotten images' classes."""

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

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        patient = knowledge.partition.patient
        same = np.isin(knowledge.label("holdout"), knowledge.label("forget"))
        forget, never_seen = knowledge.rows("forget"), knowledge.rows("holdout")[same]
        accuracy = scrub_attack(
            forget=knowledge.loss(knowledge.audited, "forget"),
            never_seen=knowledge.loss(knowledge.audited, "holdout")[same],
            forget_patient=patient[forget],
            never_seen_patient=patient[never_seen],
            seed=knowledge.seed,
        )
        size = min(len(forget), len(never_seen))
        return Found(
            value=accuracy,
            counts={"forgotten": size, "never seen": size},
            unit="images",
            details={"hidden": 1 - abs(accuracy - 0.5) / 0.5},
            note="" if size >= 100 else "fewer than 100 images a side",
        )
