"""Forgetting quality F of the NeurIPS 2023 unlearning competition (Triantafillou et al., "Are we making progress in
unlearning?", 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput

# Constants of the published code
DELTA = 1e-5  # of (epsilon, delta)-differential privacy
CAP = 50.0  # stands for an infinite privacy loss
PER_UNIT = 100  # thresholds per unit of the margin
BUFFER = 2.0  # margin by which an interval may exceed the narrow distribution
BUCKET = 0.5  # privacy loss that halves the points

USABLE = 64  # models a side


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

    Examples:
        >>> epsilon(np.array([5.0, 6.0, 7.0]), np.array([0.0, 1.0, 2.0]))
        50.0
        >>> epsilon(np.array([1.0, 1.0]), np.array([1.0, 1.0]))
        0.0
    """
    # Point masses, and one distribution much narrower than the other
    narrow, wide = sorted([float(np.ptp(unlearned)), float(np.ptp(retrained))])
    if wide == 0:
        return 0.0 if unlearned[0] == retrained[0] else CAP
    if narrow / wide < 0.01:
        return CAP

    # Rates of both errors, for every rule
    one_threshold = _one_threshold(unlearned, retrained)
    intervals = _intervals(unlearned, retrained)
    rates = np.concatenate([one_threshold, intervals], axis=1)
    missed, wrong = rates
    if ((missed == 0) & (wrong == 0)).any():
        return CAP

    missed, wrong = rates[:, (missed > 0) & (wrong > 0)]
    if not len(missed):
        return CAP

    losses = [_privacy_loss(wrong, missed), _privacy_loss(missed, wrong)]
    return float(np.clip(np.max(losses), 0, CAP))


def _privacy_loss(one_error: Floats, other_error: Floats) -> Floats:
    """log((1 - delta - one error) / other error) of each rule."""
    tiny = np.finfo(np.float64).tiny
    return np.log(np.maximum(1 - DELTA - one_error, tiny)) - np.log(other_error)


def _one_threshold(unlearned: Floats, retrained: Floats) -> Floats:
    """Float[2, t]: share of positives missed and of negatives taken for positives, for each threshold."""
    if np.median(retrained) > np.median(unlearned):
        positive, negative = retrained, unlearned
    else:
        positive, negative = unlearned, retrained

    low = min(unlearned.min(), retrained.min())
    high = max(unlearned.max(), retrained.max())
    thresholds = np.linspace(low, high, int(np.ceil((high - low) * PER_UNIT)))
    infinity = np.full(len(thresholds), np.inf)

    missed = 1 - _share_within(positive, thresholds, infinity)
    wrong = _share_within(negative, thresholds, infinity)
    return np.stack([missed, wrong])


def _intervals(unlearned: Floats, retrained: Floats) -> Floats:
    """Float[2, t]: the same for intervals around the distribution with the smaller range."""
    narrow, wide = sorted((unlearned, retrained), key=lambda values: float(np.ptp(values)))
    width = np.ptp(narrow)

    # Every right end, and for each of them every left end about one width before it
    start, end = narrow.min() + width - BUFFER, narrow.max() + BUFFER
    right = np.linspace(start, end, int(np.ceil((end - start) * PER_UNIT)))
    shift = np.linspace(-BUFFER, BUFFER, int(np.ceil(2 * BUFFER * PER_UNIT)))
    left = shift - width + right[:, None]
    rights = np.repeat(right, left.shape[1])

    missed = 1 - _share_within(narrow, left.ravel(), rights)
    wrong = _share_within(wide, left.ravel(), rights)
    return np.stack([missed, wrong])


def _share_within(values: Floats, low: Floats, high: Floats) -> Floats:
    """Share of values in [low, high]."""
    ordered = np.sort(values)
    up_to_high = np.searchsorted(ordered, high, "right")
    below_low = np.searchsorted(ordered, low, "left")
    return np.maximum(up_to_high - below_low, 0) / len(values)


def points(epsilons: Floats, models: int) -> Floats:
    """Points of each record, 1 for no difference down to 0: halved with every 0.5 of privacy loss.

    Args:
        epsilons: Float[p].
        models: Unlearned (= retrained) models; losses from ceil(log(models - 1)) on get no points.

    Examples:
        >>> points(np.array([0.0, 0.6, 1.0, 50.0]), models=64)
        array([1.  , 0.5 , 0.25, 0.  ])
    """
    largest = np.ceil(np.log(models - 1))
    return np.where(epsilons < largest, 2.0 ** -np.floor(epsilons / BUCKET), 0.0)


def forgetting_quality(unlearned: Floats, retrained: Floats) -> float:
    """F, the mean points of the forgotten records; 1 = unlearned and retrained models cannot be told apart.

    The maximum over rules is biased: with 16 to 512 models, two sets of retrained models reach about 0.2, not 1, so
    report F over its null.

    Args:
        unlearned, retrained: Float[m, p], margins, m >= 2.

    Examples:
        >>> never_seen = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> forgetting_quality(never_seen + 9.0, never_seen)
        0.0
    """
    records = range(unlearned.shape[1])
    losses = [epsilon(unlearned[:, record], retrained[:, record]) for record in records]
    return float(points(np.array(losses), len(unlearned)).mean())


def final_score(quality: float, *, retain: tuple[float, float], test: tuple[float, float]) -> float:
    """The competition's final score: F times the ratios of retain and test accuracy, unlearned over retrained.

    Args:
        quality: F.
        retain, test: Accuracy of the unlearned and of the retrained model, the latter > 0.

    Examples:
        >>> final_score(0.5, retain=(0.8, 0.8), test=(0.5, 1.0))
        0.25
    """
    return quality * (retain[0] / retain[1]) * (test[0] / test[1])


@dataclass(frozen=True)
class ForgettingQuality:
    """F as a ratio to its null, with patients as records; at least 64 unlearned and 64 retrained models.

    The null is F between the two halves of the retrained models; F itself rests on as many.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> ForgettingQuality().apply(toy_knowledge(memory=1.0)).details["f"]
        0.0
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        unlearned, retrained = knowledge.repeated_signals("forget")
        half = min(len(unlearned), len(retrained)) // 2
        if half < 2:
            raise EvaluationError(
                Fault("F needs at least four unlearned and four retrained models")
            )

        # The null compares the other half of the retrained models with the same half.
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
        return AttackOutput(
            value=quality / chance,
            counts={"forgotten": unlearned.shape[1], "models a side": half},
            details={"f": quality, "f_null": chance},
            note=f"{half} models a side{few}",
        )
