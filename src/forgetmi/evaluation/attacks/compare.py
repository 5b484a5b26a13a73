"""From one score per patient to what a report shows of an attack."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.base import Found
from forgetmi.evaluation.attacks.tpr import tpr_at_fpr
from forgetmi.evaluation.membership import membership_auc
from forgetmi.evaluation.statistics import draws, interval, join, resample_patients

RESAMPLES = 1000


def compare(members: Floats, never_seen: Floats, *, seed: int, note: str = "") -> Found:
    """AUC of forgotten against never-seen patients with a bootstrap interval, and rates at few false positives.

    Args:
        members, never_seen: One score per patient, larger = more like a member.
        seed: Seed of the resamples.
        note: What the reader must know.

    Raises:
        EvaluationError: Scores are not finite, or a side is empty.
    """
    if not (np.isfinite(members).all() and np.isfinite(never_seen).all()):
        raise EvaluationError(Fault("some patients' scores are not finite"))
    samples = [
        resample_patients(
            np.arange(len(scores)),
            resamples=RESAMPLES,
            generator=numpy_generator(seed, "attacks", "bootstrap", side),
        )
        for side, scores in (("forget", members), ("never seen", never_seen))
    ]
    values = draws(join(*samples), lambda weights: membership_auc(members, never_seen, weights))
    bounds, why = interval(values, patients=min(len(members), len(never_seen)))
    auc = float(values[0])
    details = {"leakage": max(auc, 1 - auc), "smallest_fpr": 1 / len(never_seen)}
    for name, rate in (("at_10_percent_fpr", 0.1), ("at_no_false_positive", 0.0)):
        if rate == 0 or rate * len(never_seen) >= 1:
            point = tpr_at_fpr(members, never_seen, rate)
            low, high = point.tpr_interval
            details |= {f"tpr_{name}": point.tpr, f"tpr_{name}_low": low, f"tpr_{name}_high": high}
    return Found(
        value=auc,
        counts={"forgotten": len(members), "never seen": len(never_seen)},
        interval=bounds,
        details=details,
        scores={"forgotten": members, "never seen": never_seen},
        note="; ".join(text for text in (note, why) if text),
    )
