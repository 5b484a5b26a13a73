"""A linear probe on frozen embeddings: what a new last layer can still read off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.attacks.compare import compare

FOLDS, PENALTY = 5, 1.0


def folds(members: int, others: int, *, seed: int) -> Ints:
    """Int[members + others] of 0..4: patients of each side dealt to five folds of nearly equal size."""
    return np.concatenate(
        [
            numpy_generator(seed, "attacks", "probe", side).permutation(count) % FOLDS
            for side, count in (("members", members), ("others", others))
        ]
    )


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
    """
    score = np.zeros(len(member))
    for one in np.unique(fold):
        train, test = fold != one, fold == one
        if min(member[train].sum(), (~member[train]).sum()) < 2 or member[test].all():
            raise EvaluationError(Fault("the probe needs more patients on each side"))
        centre, spread = embedding[train].mean(0), embedding[train].std(0)
        x = (embedding - centre) / np.where(spread > 0, spread, 1)
        side = np.where(member, 1.0, -1.0)
        weight = np.where(member, 0.5 / member[train].sum(), 0.5 / (~member[train]).sum())[train]
        middle = (x[train][member[train]].mean(0) + x[train][~member[train]].mean(0)) / 2
        x = x - middle
        gram = (x[train] * weight[:, None]).T @ x[train] + PENALTY * np.eye(x.shape[1]) * x.shape[
            1
        ] / train.sum()
        score[test] = x[test] @ np.linalg.solve(gram, (x[train] * weight[:, None]).T @ side[train])
        score[test] -= score[test & ~member].mean()
    return score


@dataclass(frozen=True)
class LinearProbe:
    """Can a linear classifier tell forgotten from never-seen patients by their mean embedding? Five folds of patients.

    A method that only changes the last layer leaves the embedding, and this value, as they were. The channel chooses
    the embedding; both heads together use the joint one.
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

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        members, others = (_embedding(knowledge, on) for on in ("forget", "holdout"))
        if min(len(members), len(others)) < FOLDS:
            raise EvaluationError(
                Fault(
                    f"fewer than {FOLDS} patients on one side",
                    why="each fold needs whole patients of both sides",
                )
            )
        score = linear_probe(
            np.concatenate([members, others]),
            np.arange(len(members) + len(others)) < len(members),
            folds(len(members), len(others), seed=knowledge.seed),
        )
        return compare(
            score[: len(members)],
            score[len(members) :],
            seed=knowledge.seed,
            note=f"{members.shape[1]} dimensions, {FOLDS} folds of patients",
        )


def _embedding(knowledge: AdversaryKnowledge, on: Literal["forget", "holdout"]) -> Floats:
    """Float[p, d], mean over each patient's images."""
    found: Signals = knowledge.audited.select(knowledge.rows(on))
    values = {
        "image": found.image_embedding,
        "text": found.text_embedding,
        "both": found.joint_embedding,
        "link": found.joint_embedding,
    }[knowledge.channel]
    if values is None:
        raise EvaluationError(Fault("the model has no such embedding", why="e.g. an ensemble"))
    if not np.isfinite(values).all():
        raise EvaluationError(Fault("some embeddings are not finite", why="the model diverged"))
    return knowledge.patients(on).mean(values.T.astype(np.float64)).T
