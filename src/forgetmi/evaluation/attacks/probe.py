"""A linear probe on frozen embeddings: what a new last layer can still read off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.attacks.embeddings import patient_embeddings

FOLDS = 5
PENALTY = 1.0  # of the ridge, per record


def folds(members: int, others: int, *, seed: int) -> Ints:
    """Int[members + others] of 0..4: patients of each side dealt to five folds of nearly equal size.

    Examples:
        >>> np.bincount(folds(10, 20, seed=0))
        array([6, 6, 6, 6, 6])
    """
    member_order = numpy_generator(seed, "attacks", "probe", "members").permutation(members)
    other_order = numpy_generator(seed, "attacks", "probe", "others").permutation(others)
    return np.concatenate([member_order % FOLDS, other_order % FOLDS])


def linear_probe(embedding: Floats, member: np.ndarray, fold: Ints) -> Floats:
    """Scores of a ridge-regularised linear classifier for records it was not fitted on.

    Least squares on targets of +1 and -1, both sides weighted equally, embeddings standardised on the training folds,
    penalty 1 per record. Deviation from the usual logistic probe: the closed form, which has no tuning and is the
    same on every machine. Scores are centred on each fold's never-seen patients: pooling folds as they come puts the
    AUC of nothing at all below 0.5, because a fold with high members leaves low ones to train on.

    Args:
        embedding: Float[p, d], one record per patient.
        member: Bool[p].
        fold: Int[p]; no patient is in two folds.

    Returns:
        Float[p], larger = more like a member.

    Raises:
        EvaluationError: Fewer than two patients a side outside some fold, or a fold without never-seen ones.

    Examples:
        >>> embedding = np.array([[1.0], [1.1], [0.9], [1.0], [-1.0], [-1.1], [-0.9], [-1.0]])
        >>> member = embedding[:, 0] > 0
        >>> scores = linear_probe(embedding, member, np.arange(8) % 2)
        >>> bool(scores[member].min() > scores[~member].max())
        True
    """
    score = np.zeros(len(member))
    for number in np.unique(fold):
        train, test = fold != number, fold == number
        score[test] = _fold_scores(embedding, member, train, test)
    return score


def _fold_scores(
    embedding: Floats, member: np.ndarray, train: np.ndarray, test: np.ndarray
) -> Floats:
    """Scores of one fold's patients by a probe fitted on the other folds."""
    members, others = member[train].sum(), (~member[train]).sum()
    if min(members, others) < 2 or member[test].all():
        raise EvaluationError(Fault("the probe needs more patients on each side"))

    # Standardise on the training folds, then put the middle between both sides at 0.
    centre, spread = embedding[train].mean(0), embedding[train].std(0)
    x = (embedding - centre) / np.where(spread > 0, spread, 1)
    middle = (x[train][member[train]].mean(0) + x[train][~member[train]].mean(0)) / 2
    x = x - middle

    # Both sides weigh as much, however many patients each has.
    target = np.where(member, 1.0, -1.0)[train]
    weight = np.where(member, 0.5 / members, 0.5 / others)[train]
    weighted = (x[train] * weight[:, None]).T

    # Ridge regression in closed form
    dimensions = x.shape[1]
    gram = weighted @ x[train] + PENALTY * np.eye(dimensions) * dimensions / train.sum()
    score = x[test] @ np.linalg.solve(gram, weighted @ target)

    return score - score[~member[test]].mean()


@dataclass(frozen=True)
class LinearProbe:
    """Can a linear classifier tell forgotten from never-seen patients by their mean embedding? Five folds of patients.

    A method that only changes the last layer leaves the embedding, and this value, as they were. The channel chooses
    the embedding; both heads together use the joint one.

    Examples:
        >>> from dataclasses import replace
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> output = LinearProbe().apply(replace(toy_knowledge(memory=1.0), channel="both"))
        >>> output.value
        1.0
        >>> output.note
        '4 dimensions, 5 folds of patients'
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="linear_probe",
        title="Linear probe on frozen embeddings",
        source="Alain and Bengio 2016",
        measures="AUC of forgotten against never-seen patients, out of fold",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset(),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        (members,) = patient_embeddings(knowledge, "forget")
        (others,) = patient_embeddings(knowledge, "holdout")
        if min(len(members), len(others)) < FOLDS:
            raise EvaluationError(
                Fault(
                    f"fewer than {FOLDS} patients on one side",
                    why="each fold needs whole patients of both sides",
                )
            )

        embedding = np.concatenate([members, others])
        is_member = np.arange(len(embedding)) < len(members)
        fold = folds(len(members), len(others), seed=knowledge.seed)
        score = linear_probe(embedding, is_member, fold)

        return compare(
            score[: len(members)],
            score[len(members) :],
            seed=knowledge.seed,
            note=f"{members.shape[1]} dimensions, {FOLDS} folds of patients",
        )
