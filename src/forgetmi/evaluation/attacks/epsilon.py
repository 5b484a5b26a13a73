"""Lower bounds on the privacy loss epsilon that an attack has shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import binom

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.attacks.tpr import clopper_pearson

MOST = 50.0


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
    """
    lower = clopper_pearson(true_positives, runs, level=level)[0]
    upper = clopper_pearson(false_positives, runs, level=level)[1]
    if lower + upper > 1:
        lower, upper = 1 - upper, 1 - lower
    return max(0.0, float(np.log(lower / upper)) / copies) if lower > 0 else 0.0


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
    """
    if not 0 <= correct <= guesses <= canaries:
        raise EvaluationError(
            Fault("right guesses, guesses and canaries must not decrease in this order")
        )

    def refutes(epsilon: float) -> bool:
        return (
            one_run_p_value(
                canaries=canaries, guesses=guesses, correct=correct, epsilon=epsilon, delta=delta
            )
            < 1 - level
        )

    if not refutes(0.0):
        return 0.0
    refuted, open_ = 0.0, MOST
    while open_ - refuted > 1e-9:
        middle = (refuted + open_) / 2
        refuted, open_ = (middle, open_) if refutes(middle) else (refuted, middle)
    return refuted


def one_run_p_value(
    *, canaries: int, guesses: int, correct: int, epsilon: float, delta: float = 0.0
) -> float:
    """Probability of at least that many right guesses under (epsilon, delta)-differential privacy; see `one_run`."""
    chance = 1 / (1 + np.exp(-epsilon))
    by_luck = float(binom.sf(correct - 1, guesses, chance))
    if delta == 0 or correct == 0:
        return by_luck
    fewer = np.arange(1, correct + 1)
    extra = binom.cdf(correct - 1, guesses, chance) - binom.cdf(
        correct - fewer - 1, guesses, chance
    )
    return min(1.0, by_luck + 2 * canaries * delta * float((extra / fewer).max()))


@dataclass(frozen=True)
class EpsilonTwoWorlds:
    """Epsilon shown on the whole request by repeated unlearning against repeated retraining.

    The signal is the forgotten patients' mean; the threshold comes from every second model, the rates from the rest.
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

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        unlearned, retrained = (stack.mean(1) for stack in knowledge.repeated("forget"))
        runs = min(len(unlearned), len(retrained)) // 2
        if runs < 1:
            raise EvaluationError(
                Fault("at least two unlearned and two retrained models are needed")
            )
        fitted = [values[: 2 * runs : 2] for values in (unlearned, retrained)]
        threshold = _best_threshold(*fitted)
        true, false = (
            int((values[1 : 2 * runs : 2] > threshold).sum()) for values in (unlearned, retrained)
        )
        bound = two_worlds(true_positives=true, false_positives=false, runs=runs)
        return Found(
            value=bound,
            counts={"unlearned": runs, "retrained": runs},
            unit="models",
            details={
                "true_positives": true,
                "false_positives": false,
                "highest_possible": two_worlds(true_positives=runs, false_positives=0, runs=runs),
            },
        )


def _best_threshold(positive: Floats, negative: Floats) -> float:
    """The threshold with the largest difference of rates."""
    at = np.sort(np.concatenate([positive, negative]))
    rates = [(values[:, None] > at).mean(0) for values in (positive, negative)]
    return float(at[np.argmax(rates[0] - rates[1])])


@dataclass(frozen=True)
class EpsilonOneRun:
    """Epsilon shown by guessing which canary patients were trained on and then unlearned.

    Canaries are drawn by fair coins before training (`forgetmi cohort canaries`). A quarter of them with the highest
    signal is guessed "in", a quarter with the lowest "out": fixed beforehand.

    Args:
        delta: See `one_run`.
        share: Of the canaries guessed at each end, in (0, 0.5].
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

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        code, signal = knowledge.canary_signal()
        included = np.asarray(knowledge.canaries)[code] == 1
        each = int(self.share * len(code))
        order = np.argsort(signal, kind="stable")
        correct = int(included[order[len(order) - each :]].sum() + (~included[order[:each]]).sum())
        bound = one_run(canaries=len(code), guesses=2 * each, correct=correct, delta=self.delta)
        return Found(
            value=bound,
            counts={"canaries": len(code), "guesses": 2 * each},
            details={"correct": correct, "delta": self.delta},
            note="valid only if fair coins decided which canaries were trained on",
        )
