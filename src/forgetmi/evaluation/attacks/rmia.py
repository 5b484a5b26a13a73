"""RMIA, the robust attack with few reference models (Zarifzadeh et al., "Low-Cost High-Power Membership Inference
Attacks", ICML 2024)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.partition import SetName
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.matching import match
from forgetmi.evaluation.membership import membership_auc, split_patients
from forgetmi.evaluation.statistics import once

_TIE = 1e-12
POPULATION = 100
SWEEP = tuple(round(0.1 * step, 1) for step in range(11))


def prior(outside: Floats, a: float) -> Floats:
    """p(x) from models that never saw x: half of (1 + a) times their mean, plus half of (1 - a).

    Args:
        outside: Float[m, n], probability of the true class.
        a: 0..1, how close the mean with x in training is to the mean without (1) or to certainty (0).
    """
    return ((1 + a) * outside.mean(0) + (1 - a)) / 2


def rmia(
    *,
    target: Floats,
    outside: Floats,
    population: Floats,
    population_outside: Floats,
    weights: Floats | None = None,
    gamma: float = 1.0,
    a: float = 0.3,
) -> Floats:
    """Share of a population that a record beats in how much the attacked model raises its probability.

    Deviation: ratios equal to 1e-12 count half (the code's strict comparison gives 0 where nothing was learnt).

    Args:
        target: Float[x], probability of the true class under the attacked model, in (0, 1].
        outside: Float[m, x], the same under m >= 1 models that never saw the records.
        population: Float[z], of never-seen records under the attacked model; none of them among the x.
        population_outside: Float[m, z], of the same under the m models.
        weights: Float[z], e.g. to match the classes of x; None = equal.
        gamma: How much larger the ratio must be, > 0.
        a: See `prior`.

    Returns:
        Float[x], 0..1, larger = more like a member.
    """
    tiny = np.finfo(np.float64).tiny
    ratio = np.log(np.maximum(target, tiny)) - np.log(prior(outside, a))
    other = np.log(np.maximum(population, tiny)) - np.log(prior(population_outside, a))
    share = np.full(len(other), 1 / len(other)) if weights is None else weights / weights.sum()
    lead = ratio[:, None] - other - np.log(gamma)
    return np.where(np.abs(lead) <= _TIE, 0.5, lead > 0) @ share


@dataclass(frozen=True)
class Rmia:
    """RMIA with the retrained models as references: the strongest attack that needs no shadow models.

    Without any retrained model, shadow models stand in, each for the patients it left out. The record is the
    patient (mean probability of the true class). The population is the extra reference patients where there are at
    least 100; otherwise the never-seen patients judge each other half by half, so that none is both asked and
    population. The population is weighted to the labels of the forgotten patients.

    Args:
        gamma: See `rmia`.
        a: See `rmia`; without a paired model it cannot be tuned, so the values 0 to 1 are reported as well.
    """

    gamma: float = 1.0
    a: float = 0.3

    info: ClassVar[AttackInfo] = AttackInfo(
        name="rmia",
        title="RMIA, offline",
        source="Zarifzadeh et al., ICML 2024",
        measures="AUC of forgotten against never-seen patients",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset({"references"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        forget, never_seen = (
            _probabilities(knowledge, "forget"),
            _probabilities(knowledge, "holdout"),
        )
        if len(knowledge.rows("reference")) and len(knowledge.patients("reference")) >= POPULATION:
            judges, on = _probabilities(knowledge, "reference"), "reference"
            folds = [(np.arange(judges.shape[1]), np.arange(never_seen.shape[1]))]
        else:
            judges, on = never_seen, "holdout"
            half = split_patients(knowledge.patients("holdout").code, seed=knowledge.seed)
            folds = [(np.flatnonzero(half == one), np.flatnonzero(half != one)) for one in (0, 1)]
        wanted, held = knowledge.patients("forget"), knowledge.patients(on)

        def scores(a: float) -> tuple[Floats, Floats]:
            members, others = np.zeros(forget.shape[1]), np.zeros(never_seen.shape[1])
            for judging, asked in folds:
                labels = (wanted.label, held.label[judging])
                options = {
                    "population": judges[0, judging],
                    "population_outside": judges[1:, judging],
                    "weights": match(label=labels).weights,
                    "gamma": self.gamma,
                    "a": a,
                }
                members += rmia(target=forget[0], outside=forget[1:], **options) / len(folds)
                others[asked] = rmia(
                    target=never_seen[0, asked], outside=never_seen[1:, asked], **options
                )
            return members, others

        found = compare(
            *scores(self.a),
            seed=knowledge.seed,
            note=(
                f"population of {min(len(judging) for judging, _ in folds)} patients, "
                f"{len(forget) - 1} reference models"
            ),
        )
        sweep = {f"auc_a_{a:g}": _auc(*scores(a)) for a in SWEEP}
        return replace(found, details={**found.details, **sweep})


def _probabilities(knowledge: AdversaryKnowledge, on: SetName) -> Floats:
    """Float[1 + m, p]: of the true class, under the attacked model and those that never saw the patients."""
    return np.concatenate(
        [knowledge.probability(knowledge.audited, on)[None], knowledge.outside(on)]
    )


def _auc(members: Floats, never_seen: Floats) -> float:
    return float(membership_auc(members, never_seen, once(len(members) + len(never_seen)))[0])
