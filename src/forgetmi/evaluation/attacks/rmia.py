"""RMIA, the robust attack with few reference models (Zarifzadeh et al., "Low-Cost High-Power Membership Inference
Attacks", ICML 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.partition import SetName
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.matching import match
from forgetmi.evaluation.membership import membership_auc, split_patients
from forgetmi.evaluation.statistics import once

_TIE = 1e-12
_MOST_PAIRS = 2**26  # of a record and a member of the population, that are compared one by one
POPULATION = 100  # reference patients from which on they alone are the population
SWEEP = tuple(round(0.1 * step, 1) for step in range(11))  # values of a that are reported


def prior(outside: Floats, a: float) -> Floats:
    """p(x) from models that never saw x: half of (1 + a) times their mean, plus half of (1 - a).

    Args:
        outside: Float[m, n], probability of the true class.
        a: 0..1, how close the mean with x in training is to the mean without (1) or to certainty (0).

    Examples:
        >>> prior(np.array([[0.2], [0.4]]), a=1.0).round(3)
        array([0.3])
        >>> prior(np.array([[0.2], [0.4]]), a=0.0).round(3)
        array([0.65])
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

    Examples:
        The attacked model is sure of the first record alone; nobody else is.

        >>> rmia(
        ...     target=np.array([0.9, 0.3]),
        ...     outside=np.array([[0.3, 0.3]]),
        ...     population=np.array([0.3, 0.3]),
        ...     population_outside=np.array([[0.3, 0.3]]),
        ... )
        array([1. , 0.5])
    """
    # Logarithm of how much the attacked model raises each record's probability
    tiny = np.finfo(np.float64).tiny
    ratio = np.log(np.maximum(target, tiny)) - np.log(prior(outside, a))
    population_ratio = np.log(np.maximum(population, tiny)) - np.log(prior(population_outside, a))

    # Weighted share of the population that each record beats
    if len(ratio) * len(population_ratio) > _MOST_PAIRS:
        return _beaten(ratio - np.log(gamma), population_ratio, _shares(weights, len(population)))
    lead = ratio[:, None] - population_ratio - np.log(gamma)
    beats = np.where(np.abs(lead) <= _TIE, 0.5, lead > 0)
    return beats @ _shares(weights, len(population))


def _beaten(ratio: Floats, population: Floats, shares: Floats) -> Floats:
    """The same to rounding, of so many that their pairs would fill the memory: by sums over the sorted population."""
    order = np.argsort(population)
    sums = np.concatenate([[0.0], np.cumsum(shares[order])])
    below = sums[np.searchsorted(population[order], ratio - _TIE, "left")]
    not_above = sums[np.searchsorted(population[order], ratio + _TIE, "right")]
    return (below + not_above) / 2


def _shares(weights: Floats | None, count: int) -> Floats:
    """Weights that sum to 1; equal ones where none are given."""
    if weights is None:
        return np.full(count, 1 / count)
    return weights / weights.sum()


@dataclass(frozen=True)
class Rmia:
    """RMIA with the retrained models as references: the strongest attack that needs no shadow models.

    Without any retrained model, shadow models stand in, each for the patients it left out. The record is the
    patient (mean probability of the true class). The population is the extra reference patients where there are at
    least 100; otherwise the never-seen patients judge each other half by half, so that none is both attacked and
    population. The population is weighted to the labels of the forgotten patients.

    Args:
        gamma: See `rmia`.
        a: See `rmia`; without a paired model it cannot be tuned, so the values 0 to 1 are reported as well.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> round(Rmia().apply(toy_knowledge(memory=1.0)).value, 2)
        0.84
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        forget = _probabilities(knowledge, "forget")
        never_seen = _probabilities(knowledge, "holdout")
        population = _population(knowledge, never_seen)
        forget_label = knowledge.patients("forget").label

        def scores(a: float) -> tuple[Floats, Floats]:
            members = np.zeros(forget.shape[1])
            others = np.zeros(never_seen.shape[1])
            for judging, judged in population.folds:
                labels = (forget_label, population.label[judging])
                options = {
                    "population": population.probability[0, judging],
                    "population_outside": population.probability[1:, judging],
                    "weights": match(label=labels).weights,
                    "gamma": self.gamma,
                    "a": a,
                }

                # Every fold judges the forgotten; their scores are averaged.
                member_scores = rmia(target=forget[0], outside=forget[1:], **options)
                members += member_scores / len(population.folds)

                # A never-seen patient is judged by the fold it is not in.
                others[judged] = rmia(
                    target=never_seen[0, judged], outside=never_seen[1:, judged], **options
                )
            return members, others

        members, others = scores(self.a)
        smallest = min(len(judging) for judging, _ in population.folds)
        models = len(forget) - 1
        note = f"population of {smallest} patients, {models} reference models"
        output = compare(members, others, seed=knowledge.seed, note=note)

        details = dict(output.details)
        for a in SWEEP:
            details[f"auc_a_{a:g}"] = _auc(*scores(a))
        return replace(output, details=details)


@dataclass(frozen=True, eq=False)
class _Population:
    """The patients that judge.

    Args:
        probability: Float[1 + m, z], as `_probabilities`.
        label: Int[z].
        folds: Which of the z judge which of the never-seen patients; every fold judges the forgotten.
    """

    probability: Floats
    label: Ints
    folds: Sequence[tuple[Ints, Ints]]


def _population(knowledge: AdversaryKnowledge, never_seen: Floats) -> _Population:
    """The reference patients where there are enough, else both halves of the never-seen patients."""
    has_reference = len(knowledge.rows("reference")) > 0
    if has_reference and len(knowledge.patients("reference")) >= POPULATION:
        probability = _probabilities(knowledge, "reference")
        everybody = (np.arange(probability.shape[1]), np.arange(never_seen.shape[1]))
        return _Population(probability, knowledge.patients("reference").label, [everybody])

    patients = knowledge.patients("holdout")
    half = split_patients(patients.code, seed=knowledge.seed)
    folds = [
        (np.flatnonzero(half == 0), np.flatnonzero(half != 0)),
        (np.flatnonzero(half == 1), np.flatnonzero(half != 1)),
    ]
    return _Population(never_seen, patients.label, folds)


def _probabilities(knowledge: AdversaryKnowledge, set_name: SetName) -> Floats:
    """Float[1 + m, p]: of the true class, under the attacked model and those that never saw the patients."""
    attacked = knowledge.probability(knowledge.audited, set_name)[None]
    return np.concatenate([attacked, knowledge.outside_probability(set_name)])


def _auc(members: Floats, never_seen: Floats) -> float:
    weights = once(len(members) + len(never_seen))
    return float(membership_auc(members, never_seen, weights)[0])
