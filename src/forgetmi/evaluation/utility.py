"""How well a model predicts: AUC, F1, accuracy and, for grades, pairwise and ordinal AUC and the error of severity.

Every metric takes probabilities Float[n, k], labels Int[n] (0..k-1; images without a label are left out before) and
weights Float[b, n] (None = each image once), and returns Float[b], NaN where it is undefined under these weights.
Definitions follow the evaluation of the Forget-MI release (arXiv 2506.23145, its folder evaluation/), with two
deviations: nothing is rounded, and a macro AUC runs over the classes that are present instead of being undefined when
one is absent.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.statistics import mean_defined, once, ratio, weighted_auc, weighted_mean


def auc_per_class(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """One-vs-rest AUC of each class from its probability, ties counted as half.

    Returns:
        Float[b, k], NaN for a class that is absent or alone.
    """
    weights = once(len(label)) if weights is None else weights
    classes = range(probabilities.shape[1])
    return np.stack(
        [weighted_auc(probabilities[:, c], label == c, weights) for c in classes], axis=1
    )


def macro_auc(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean of `auc_per_class` over the classes present.

    Raises:
        EvaluationError: Fewer than two classes are present.
    """
    if len(np.unique(label)) < 2:
        raise EvaluationError(Fault("fewer than two classes are among the labelled images"))
    return mean_defined(auc_per_class(probabilities, label, weights))


def _counts(
    probabilities: Floats, label: Ints, weights: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Per class: weight predicted right, weight labelled so, weight predicted so; Float[b, k] each."""
    weights = once(len(label)) if weights is None else weights
    names = np.eye(probabilities.shape[1])
    truth, guess = names[label], names[probabilities.argmax(1)]
    return weights @ (truth * guess), weights @ truth, weights @ guess


def macro_f1(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean F1 of the most probable class, over the classes present among labels or predictions.

    A class that is predicted but never true counts with 0 (scikit-learn's default, as in the release).
    """
    right, truth, guess = _counts(probabilities, label, weights)
    return mean_defined(ratio(2 * right, truth + guess))


def accuracy(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Share of images whose most probable class is the true one."""
    right, truth, _ = _counts(probabilities, label, weights)
    return ratio(right.sum(1), truth.sum(1))


def pairwise_auc(
    probabilities: Floats, label: Ints, weights: Floats | None = None
) -> dict[tuple[int, int], Floats]:
    """AUC of class j against class i on the images of these two, scored by p_j / (p_i + p_j), for each i < j.

    Returns:
        Pair to Float[b], NaN where one of the two is absent.
    """
    weights = once(len(label)) if weights is None else weights
    found = {}
    for i, j in combinations(range(probabilities.shape[1]), 2):
        at = np.flatnonzero((label == i) | (label == j))
        p_i, p_j = probabilities[at, i], probabilities[at, j]
        score = np.nan_to_num(
            ratio(p_j, p_i + p_j), nan=0.5
        )  # both probabilities underflow: no preference
        found[i, j] = weighted_auc(score, label[at] == j, weights[:, at])
    return found


def ordinal_auc(
    probabilities: Floats, label: Ints, weights: Floats | None = None
) -> dict[int, Floats]:
    """AUC of "grade above k", scored by the sum of the probabilities above k, for k = 0 .. classes - 2.

    Returns:
        Threshold to Float[b], NaN where no image is above or none is below.
    """
    weights = once(len(label)) if weights is None else weights
    return {
        k: weighted_auc(probabilities[:, k + 1 :].sum(1), label > k, weights)
        for k in range(probabilities.shape[1] - 1)
    }


def mean_pairwise_auc(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean of `pairwise_auc` over the pairs present."""
    return mean_defined(
        np.stack(list(pairwise_auc(probabilities, label, weights).values()), axis=1)
    )


def mean_ordinal_auc(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean of `ordinal_auc` over the thresholds that split the images."""
    return mean_defined(np.stack(list(ordinal_auc(probabilities, label, weights).values()), axis=1))


def severity_mse(probabilities: Floats, label: Ints, weights: Floats | None = None) -> Floats:
    """Mean squared difference between the expected grade (sum of k p_k) and the label."""
    expected = probabilities @ np.arange(probabilities.shape[1])
    return weighted_mean((expected - label) ** 2, once(len(label)) if weights is None else weights)
