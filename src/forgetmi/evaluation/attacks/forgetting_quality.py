"""Forgetting quality F of the NeurIPS 2023 unlearning competition (Triantafillou et al., "Are we making progress in
unlearning?", 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found

DELTA, CAP, PER_UNIT, BUFFER, BUCKET = 1e-5, 50.0, 100, 2.0, 0.5
USABLE = 64


def epsilon(unlearned: Floats, retrained: Floats) -> float:
    """Largest privacy loss that a simple rule shows when it tells unlearned from retrained models by one record.

    Rules: one threshold (the side with the larger median is positive), or an interval around the distribution with
    the smaller range; thresholds 0.01 apart. A rule with no error at all is infinite; one with no error of one kind
    only is dropped. Deviations: equal point masses give 0 (the published code divides by 0), and where perfect
    separation leaves no rule the cap stands.

    Args:
        unlearned, retrained: Float[m], margins of one record under m models each.

    Returns:
        0..50.
    """
    ranges = sorted([float(np.ptp(unlearned)), float(np.ptp(retrained))])
    if ranges[1] == 0:
        return 0.0 if unlearned[0] == retrained[0] else CAP
    if ranges[0] / ranges[1] < 0.01:
        return CAP
    rates = np.concatenate(
        [_one_threshold(unlearned, retrained), _interval(unlearned, retrained)], axis=1
    )
    missed, wrong = rates
    if ((missed == 0) & (wrong == 0)).any():
        return CAP
    missed, wrong = rates[:, (missed > 0) & (wrong > 0)]
    if not len(missed):
        return CAP
    tiny = np.finfo(np.float64).tiny
    both = [
        np.log(np.maximum(1 - DELTA - a, tiny)) - np.log(b)
        for a, b in ((wrong, missed), (missed, wrong))
    ]
    return float(np.clip(np.max(both), 0, CAP))


def _shares(values: Floats, low: Floats, high: Floats) -> Floats:
    """Share of values in [low, high]."""
    ordered = np.sort(values)
    inside = np.searchsorted(ordered, high, "right") - np.searchsorted(ordered, low, "left")
    return np.maximum(inside, 0) / len(values)


def _one_threshold(unlearned: Floats, retrained: Floats) -> Floats:
    positive, negative = (
        (retrained, unlearned)
        if np.median(retrained) > np.median(unlearned)
        else (unlearned, retrained)
    )
    low, high = min(unlearned.min(), retrained.min()), max(unlearned.max(), retrained.max())
    at = np.linspace(low, high, int(np.ceil((high - low) * PER_UNIT)))
    end = np.full(len(at), np.inf)
    return np.stack([1 - _shares(positive, at, end), _shares(negative, at, end)])


def _interval(unlearned: Floats, retrained: Floats) -> Floats:
    narrow, wide = sorted((unlearned, retrained), key=lambda values: float(np.ptp(values)))
    width = np.ptp(narrow)
    start, end = narrow.min() + width - BUFFER, narrow.max() + BUFFER
    right = np.linspace(start, end, int(np.ceil((end - start) * PER_UNIT)))
    left = (
        np.linspace(-BUFFER, BUFFER, int(np.ceil(2 * BUFFER * PER_UNIT))) - width + right[:, None]
    )
    ends = np.repeat(right, left.shape[1])
    return np.stack([1 - _shares(narrow, left.ravel(), ends), _shares(wide, left.ravel(), ends)])


def points(epsilons: Floats, models: int) -> Floats:
    """Points of each record, 1 for no difference down to 0: halved with every 0.5 of privacy loss.

    Args:
        epsilons: Float[p].
        models: Unlearned (= retrained) models; losses from ceil(log(models - 1)) on get no points.
    """
    return np.where(
        epsilons < np.ceil(np.log(models - 1)), 2.0 ** -np.floor(epsilons / BUCKET), 0.0
    )


def forgetting_quality(unlearned: Floats, retrained: Floats) -> float:
    """F, the mean points of the forgotten records; 1 = unlearned and retrained models cannot be told apart.

    The maximum over rules is biased: with 16 to 512 models, two sets of retrained models reach about 0.2, not 1, so
    report F over its null.

    Args:
        unlearned, retrained: Float[m, p], margins, m >= 2.
    """
    losses = [epsilon(unlearned[:, at], retrained[:, at]) for at in range(unlearned.shape[1])]
    return float(points(np.array(losses), len(unlearned)).mean())


def final_score(quality: float, *, retain: tuple[float, float], test: tuple[float, float]) -> float:
    """The competition's final score: F times the ratios of retain and test accuracy, unlearned over retrained.

    Args:
        quality: F.
        retain, test: Accuracy of the unlearned and of the retrained model, the latter > 0.
    """
    return quality * (retain[0] / retain[1]) * (test[0] / test[1])


@dataclass(frozen=True)
class ForgettingQuality:
    """F as a ratio to its null, with patients as records; at least 64 unlearned and 64 retrained models.

    The null is F between the two halves of the retrained models; F itself rests on as many.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="forgetting_quality",
        title="Forgetting quality F",
        source="Triantafillou et al., 2024",
        measures="F over the value retrained models reach among themselves",
        direction="apart",
        reference="theory",
        forgotten=1.0,
        needs=frozenset({"repeats"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        unlearned, retrained = knowledge.repeated("forget")
        half = min(len(unlearned), len(retrained)) // 2
        if half < 2:
            raise EvaluationError(
                Fault("F needs at least four unlearned and four retrained models")
            )
        quality = forgetting_quality(unlearned[:half], retrained[:half])
        chance = forgetting_quality(retrained[half : 2 * half], retrained[:half])
        if chance == 0:
            raise EvaluationError(
                Fault(
                    "the null of F is 0, so no ratio to it can be given",
                    why="too few models",
                    do="Use more models.",
                )
            )
        few = f"; at least {USABLE} are wanted" if half < USABLE else ""
        return Found(
            value=quality / chance,
            counts={"forgotten": unlearned.shape[1], "models a side": half},
            details={"f": quality, "f_null": chance},
            note=f"{half} models a side{few}",
        )
