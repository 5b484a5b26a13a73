"""From one score per patient to what a report shows of an attack."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.base import AttackOutput
from forgetmi.evaluation.attacks.tpr import tpr_at_fpr
from forgetmi.evaluation.membership import membership_auc
from forgetmi.evaluation.statistics import (
    PatientSample,
    draws,
    interval,
    join,
    resample_patients,
)

RESAMPLES = 1000
# Name in the details: the false-positive rate at which true positives are reported; 0 = no false positive.
FALSE_POSITIVE_RATES = {"at_10_percent_fpr": 0.1, "at_no_false_positive": 0.0}


def compare(members: Floats, never_seen: Floats, *, seed: int, note: str = "") -> AttackOutput:
    """AUC of forgotten against never-seen patients with a bootstrap interval, and rates at few false positives.

    Args:
        members, never_seen: One score per patient, larger = more like a member.
        seed: Seed of the resamples.
        note: What the reader must know.

    Raises:
        EvaluationError: Scores are not finite, or a side is empty.

    Examples:
        >>> output = compare(np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0, 2.5]), seed=0)
        >>> round(output.value, 3)
        0.889
        >>> round(output.details["tpr_at_no_false_positive"], 3)
        0.667
    """
    if not (np.isfinite(members).all() and np.isfinite(never_seen).all()):
        raise EvaluationError(Fault("some patients' scores are not finite"))

    # AUC on the data (element 0) and on every resample of patients
    both = join(_resampled(members, "forget", seed), _resampled(never_seen, "never seen", seed))
    aucs = draws(both, lambda weights: membership_auc(members, never_seen, weights))
    bounds, why = interval(aucs, patients=min(len(members), len(never_seen)))
    auc = float(aucs[0])

    # An AUC below 0.5 gives patients away as well as one above.
    details = {"leakage": max(auc, 1 - auc), "smallest_fpr": 1 / len(never_seen)}
    for name, rate in FALSE_POSITIVE_RATES.items():
        details |= _true_positives(members, never_seen, name, rate)

    # The caller's note, and why there is no interval
    notes = [text for text in (note, why) if text]
    return AttackOutput(
        value=auc,
        counts={"forgotten": len(members), "never seen": len(never_seen)},
        interval=bounds,
        details=details,
        scores={"forgotten": members, "never seen": never_seen},
        note="; ".join(notes),
    )


def _resampled(scores: Floats, side: str, seed: int) -> PatientSample:
    """Patients of one side, drawn with replacement; one score per patient."""
    return resample_patients(
        np.arange(len(scores)),
        resamples=RESAMPLES,
        generator=numpy_generator(seed, "attacks", "bootstrap", side),
    )


def _true_positives(
    members: Floats, never_seen: Floats, name: str, rate: float
) -> dict[str, float]:
    """The true-positive rate with its interval; nothing where so few patients cannot show such a rate."""
    if rate > 0 and rate * len(never_seen) < 1:
        return {}

    point = tpr_at_fpr(members, never_seen, rate)
    low, high = point.tpr_interval
    return {f"tpr_{name}": point.tpr, f"tpr_{name}_low": low, f"tpr_{name}_high": high}
