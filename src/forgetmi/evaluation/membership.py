"""Membership inference: whether forgotten patients look more like members than never-seen ones; needs nothing fitted.

The attacks are in `forgetmi.evaluation.attacks`, Forget-MI's own in `forgetmi.evaluation.attacks.svm_loss`.
"""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.statistics import weighted_auc


def split_patients(patient: Ints, *, seed: int) -> Ints:
    """Divide patients into two random halves; Int[n] of 0 and 1 for their images.

    Args:
        patient: Int[n] codes that do not depend on the identifier key.
        seed: The evaluation's seed.

    Raises:
        EvaluationError: Fewer than two patients.

    Examples:
        >>> halves = split_patients(np.array([7, 7, 8, 9, 9, 10]), seed=0)
        >>> int(halves[0]) == int(halves[1]), int(halves[3]) == int(halves[4])
        (True, True)
    """
    distinct, local = np.unique(patient, return_inverse=True)
    if len(distinct) < 2:
        raise EvaluationError(
            Fault("the attack needs at least two never-seen patients", why="each judges the other")
        )

    # Patients, not images, are divided
    generator = numpy_generator(seed, "evaluate", "membership", "halves")
    shuffled = generator.permutation(len(distinct))
    half = (shuffled >= len(distinct) // 2).astype(np.int64)
    return half[local]


def membership_auc(inside: Floats, outside: Floats, weights: Floats) -> Floats:
    """Threshold-free attack: probability that a sample of the first set looks more like a member than of the second.

    Args:
        inside: Float[n], larger = more like a member (a logit margin, or minus the loss). Above 0.5 = remembered;
            below 0.5 = over-forgotten, which gives the patient away as well.
        outside: Float[m], the same of never-seen images.
        weights: Float[b, n + m], those of the first set first.

    Returns:
        Float[b].

    Examples:
        >>> membership_auc(np.array([2.0, 3.0]), np.array([1.0, 2.5]), np.ones((1, 4)))
        array([0.75])
    """
    # The AUC of "is of the first set" against the score
    scores = np.concatenate([inside, outside])
    is_inside = np.arange(len(scores)) < len(inside)
    return weighted_auc(scores, is_inside, weights)
