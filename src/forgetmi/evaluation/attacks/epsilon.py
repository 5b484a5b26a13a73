"""Lower bounds on the privacy loss epsilon that an attack has shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import binom

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.tpr import clopper_pearson

LARGEST_EPSILON = 50.0
PRECISION = 1e-9  # of epsilon in `one_run`


def two_worlds(
    *, true_positives: int, false_positives: int, runs: int, copies: int = 1, level: float = 0.95
) -> float:
    """Epsilon shown by a fixed rule over runs with and runs without the target (Jagielski et al., NeurIPS 2020).

    Exact bounds on both rates at a total error of 1 - level; where the complements of the rates give the larger
    ratio, they are used. The threshold must come from other runs: the published code takes the best on the same runs.

    Args:
        true_positives, false_positives: Runs that the rule flags, with and without the target.
        runs: Runs of each kind, >= 1.
        copies: How often the target was inserted; group privacy divides by it. One patient as a unit: 1.
        level: Confidence, in (0, 1).

    Returns:
        >= 0; at most about 3.3 with 100 runs, however good the attack.

    Examples:
        >>> round(two_worlds(true_positives=100, false_positives=0, runs=100), 2)
        3.28
        >>> two_worlds(true_positives=50, false_positives=50, runs=100)
        0.0
    """
    lower, _ = clopper_pearson(true_positives, runs, level=level)
    _, upper = clopper_pearson(false_positives, runs, level=level)

    # A rule that mostly flags runs without the target is as good the other way round.
    if lower + upper > 1:
        lower, upper = 1 - upper, 1 - lower

    if lower <= 0:
        return 0.0
    return max(0.0, float(np.log(lower / upper)) / copies)


def one_run(
    *, canaries: int, guesses: int, correct: int, delta: float = 0.0, level: float = 0.95
) -> float:
    """Epsilon shown by guessing coin flips in a single run (Steinke, Nasr and Jagielski, NeurIPS 2023).

    Only valid where an independent fair coin decided each canary's inclusion, and the number of guesses was fixed
    beforehand. The term with delta, which several ports drop, is kept.

    Args:
        canaries: m, patients whose inclusion a coin decided.
        guesses: r, guesses made, 0..m.
        correct: v, right guesses, 0..r.
        delta: Of the privacy guarantee, 0..1.
        level: Confidence, in (0, 1).

    Returns:
        0..50, the largest epsilon that this many right guesses refute.

    Raises:
        EvaluationError: There are more right guesses than guesses, or more guesses than canaries.

    Examples:
        >>> round(one_run(canaries=100, guesses=50, correct=50), 2)
        2.78
        >>> one_run(canaries=100, guesses=50, correct=25)
        0.0
    """
    if not 0 <= correct <= guesses <= canaries:
        raise EvaluationError(
            Fault("right guesses, guesses and canaries must not decrease in this order")
        )

    def is_refuted(epsilon: float) -> bool:
        p_value = one_run_p_value(
            canaries=canaries, guesses=guesses, correct=correct, epsilon=epsilon, delta=delta
        )
        return p_value < 1 - level

    if not is_refuted(0.0):
        return 0.0

    # Bisection between the largest epsilon known to be refuted and the smallest not known to be
    refuted, possible = 0.0, LARGEST_EPSILON
    while possible - refuted > PRECISION:
        middle = (refuted + possible) / 2
        if is_refuted(middle):
            refuted = middle
        else:
            possible = middle
    return refuted


def one_run_p_value(
    *, canaries: int, guesses: int, correct: int, epsilon: float, delta: float = 0.0
) -> float:
    """Probability of at least that many right guesses under (epsilon, delta)-differential privacy; see `one_run`.

    Examples:
        >>> one_run_p_value(canaries=4, guesses=2, correct=2, epsilon=0.0)
        0.25
    """
    # Without delta, each guess is right with this chance at most.
    chance = 1 / (1 + np.exp(-epsilon))
    by_luck = float(binom.sf(correct - 1, guesses, chance))
    if delta == 0 or correct == 0:
        return by_luck

    # Delta may give away some canaries; the worst number of them counts.
    given_away = np.arange(1, correct + 1)
    at_most = binom.cdf(correct - 1, guesses, chance)
    at_most_without = binom.cdf(correct - given_away - 1, guesses, chance)
    extra = at_most - at_most_without
    return min(1.0, by_luck + 2 * canaries * delta * float((extra / given_away).max()))


@dataclass(frozen=True)
class EpsilonTwoWorlds:
    """Epsilon shown on the whole request by repeated unlearning against repeated retraining.

    The signal is the forgotten patients' mean; the threshold comes from every second model, the rates from the rest.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> output = EpsilonTwoWorlds().apply(toy_knowledge(memory=1.0))
        >>> output.counts, output.details["true_positives"]
        ({'unlearned': 6, 'retrained': 6}, 6)
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="epsilon_two_worlds",
        title="Epsilon, two worlds",
        source="Jagielski et al., NeurIPS 2020",
        measures="95 % lower bound of epsilon",
        direction="higher",
        reference="theory",
        forgotten=0.0,
        needs=frozenset({"repeats"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        unlearned, retrained = knowledge.repeated_signals("forget")
        unlearned, retrained = unlearned.mean(1), retrained.mean(1)

        runs = min(len(unlearned), len(retrained)) // 2
        if runs < 1:
            raise EvaluationError(
                Fault("at least two unlearned and two retrained models are needed")
            )

        # Models 0, 2, 4 ... give the threshold, models 1, 3, 5 ... the rates.
        threshold = _best_threshold(unlearned[: 2 * runs : 2], retrained[: 2 * runs : 2])
        true_positives = int((unlearned[1 : 2 * runs : 2] > threshold).sum())
        false_positives = int((retrained[1 : 2 * runs : 2] > threshold).sum())

        bound = two_worlds(
            true_positives=true_positives, false_positives=false_positives, runs=runs
        )
        highest = two_worlds(true_positives=runs, false_positives=0, runs=runs)
        return AttackOutput(
            value=bound,
            counts={"unlearned": runs, "retrained": runs},
            unit="models",
            details={
                "true_positives": true_positives,
                "false_positives": false_positives,
                "highest_possible": highest,
            },
        )


def _best_threshold(positive: Floats, negative: Floats) -> float:
    """The threshold with the largest difference of rates."""
    thresholds = np.sort(np.concatenate([positive, negative]))
    true_rate = (positive[:, None] > thresholds).mean(0)
    false_rate = (negative[:, None] > thresholds).mean(0)
    return float(thresholds[np.argmax(true_rate - false_rate)])


@dataclass(frozen=True)
class EpsilonOneRun:
    """Epsilon shown by guessing which canary patients were trained on and then unlearned.

    Canaries are drawn by fair coins before training (`forgetmi cohort canaries`). A quarter of them with the highest
    signal is guessed "in", a quarter with the lowest "out": fixed beforehand.

    Args:
        delta: See `one_run`.
        share: Of the canaries guessed at each end, in (0, 0.5].

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> output = EpsilonOneRun().apply(toy_knowledge(memory=1.0))
        >>> output.counts["guesses"], output.details["correct"], round(output.value, 2)
        (16, 16, 1.58)
    """

    delta: float = 1e-5
    share: float = 0.25

    info: ClassVar[AttackInfo] = AttackInfo(
        name="epsilon_one_run",
        title="Epsilon, one run",
        source="Steinke et al., NeurIPS 2023",
        measures="95 % lower bound of epsilon",
        direction="higher",
        reference="theory",
        forgotten=0.0,
        needs=frozenset({"canaries"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        code, signal = knowledge.canary_signal()
        was_included = np.asarray(knowledge.canaries)[code] == 1

        # Guess "out" for the lowest signals and "in" for the highest.
        guesses_per_end = int(self.share * len(code))
        order = np.argsort(signal, kind="stable")
        guessed_out = order[:guesses_per_end]
        guessed_in = order[len(order) - guesses_per_end :]

        correct = int(was_included[guessed_in].sum() + (~was_included[guessed_out]).sum())
        guesses = 2 * guesses_per_end
        bound = one_run(canaries=len(code), guesses=guesses, correct=correct, delta=self.delta)
        return AttackOutput(
            value=bound,
            counts={"canaries": len(code), "guesses": guesses},
            details={"correct": correct, "delta": self.delta},
            note="valid only if fair coins decided which canaries were trained on",
        )
