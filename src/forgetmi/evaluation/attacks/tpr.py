"""True-positive rate at a fixed false-positive rate, over patients, with exact intervals."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from scipy.stats import beta

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault

PER_RATE = 10  # never-seen patients wanted per 1 / false-positive rate
ROUNDING = 1e-9  # so that e.g. 0.1 * 30 patients are 3, not 2


def clopper_pearson(hits: int, of: int, *, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a rate (Clopper and Pearson 1934).

    Args:
        hits: 0..of.
        of: >= 1.
        level: Coverage, in (0, 1).

    Examples:
        >>> low, high = clopper_pearson(5, 10)
        >>> round(low, 3), round(high, 3)
        (0.187, 0.813)
    """
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, of - hits + 1))
    high = 1.0 if hits == of else float(beta.ppf(1 - tail, hits + 1, of - hits))
    return low, high


@dataclass(frozen=True)
class OperatingPoint:
    """An attack at one threshold.

    Args:
        target_fpr: The false-positive rate that must not be exceeded; 0 = no false positive at all.
        false_positives, never_seen: How many of the never-seen patients are above the threshold.
        true_positives, members: How many of the members are.
        stable: Whether there are at least 10 / target_fpr never-seen patients; below, the rate is not to be quoted.
    """

    target_fpr: float
    false_positives: int
    never_seen: int
    true_positives: int
    members: int
    stable: bool

    @property
    def tpr(self) -> float:
        """Share of members flagged."""
        return self.true_positives / self.members

    @property
    def tpr_interval(self) -> tuple[float, float]:
        """Its 95 % interval over patients, at this threshold."""
        return clopper_pearson(self.true_positives, self.members)

    @property
    def fpr_interval(self) -> tuple[float, float]:
        """95 % interval of the false-positive rate."""
        return clopper_pearson(self.false_positives, self.never_seen)


def smallest_fpr(never_seen: int) -> float:
    """The smallest false-positive rate other than 0 that this many patients can show.

    Examples:
        >>> smallest_fpr(50)
        0.02
    """
    return 1 / never_seen


def tpr_at_fpr(members: Floats, never_seen: Floats, fpr: float) -> OperatingPoint:
    """How many members an attacker identifies who accepts this share of false accusations (Carlini et al. 2022).

    The threshold is a never-seen patient's score and only scores above it count, so the rate is never exceeded;
    nothing is interpolated.

    Args:
        members, never_seen: Float[f], Float[m], one score per patient, larger = more like a member.
        fpr: 0..1; 0 = no false positive.

    Raises:
        EvaluationError: A side is empty, or the rate is below what this many patients can show.

    Examples:
        >>> point = tpr_at_fpr(np.array([2.0, 3.0]), np.array([0.0, 1.0, 1.5, 2.5]), 0.0)
        >>> point.true_positives, point.false_positives, point.tpr
        (1, 0, 0.5)
    """
    if not len(members) or not len(never_seen):
        raise EvaluationError(Fault("both sides need at least one patient"))
    if 0 < fpr < smallest_fpr(len(never_seen)):
        raise EvaluationError(
            Fault(
                f"a false-positive rate of {fpr:g} cannot be seen with {len(never_seen)} patients",
                do=f"Ask for 0 or at least {smallest_fpr(len(never_seen)):.3g}.",
            )
        )

    # The threshold is the score below which the allowed false positives end.
    allowed = floor(fpr * len(never_seen) + ROUNDING)
    if allowed >= len(never_seen):
        threshold = -np.inf
    else:
        descending = np.sort(never_seen)[::-1]
        threshold = descending[allowed]

    return OperatingPoint(
        target_fpr=fpr,
        false_positives=int((never_seen > threshold).sum()),
        never_seen=len(never_seen),
        true_positives=int((members > threshold).sum()),
        members=len(members),
        stable=fpr == 0 or len(never_seen) >= PER_RATE / fpr - ROUNDING,
    )
